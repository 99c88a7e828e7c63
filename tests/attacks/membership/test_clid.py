"""CLiD threshold: twin, scikit-learn's scaler, and its card's checks on arrays."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score
from sklearn.preprocessing import RobustScaler

from attacks.errors import UsageError
from attacks.membership import _conditional, clid
from attacks.observations import Calibration, NoiseError, calls_per_record
from tests.attacks.membership.synthetic import (
    LARGE_TEXT,
    PIXEL,
    SEEDS,
    SIZES,
    SMALL_TEXT,
    UNCAPTIONED,
    calibration,
    observe,
)

CONFIG = clid.ClidConfig(timesteps=(90, 110), conditions=("first", "null"))


def naive_terms(observations, n, config=CONFIG):
    """(D, L) of each record by loops."""
    terms = []
    for i in range(n):
        gaps, errors = [], []
        for t in config.timesteps:
            error = observations[NoiseError(t=t)][i]
            errors.append(error)
            for condition in config.conditions:
                gaps.append(observations[NoiseError(t=t, condition=condition)][i] - error)
        terms.append([sum(gaps) / len(gaps), -sum(errors) / len(errors)])
    return np.array(terms).reshape(n, 2)


@given(seed=SEEDS, n=SIZES, alpha=st.floats(0, 1), ties=st.booleans())
def test_equals_loops_and_scikit_learn_s_scaler(seed, n, alpha, ties):
    config = dataclasses.replace(CONFIG, alpha=alpha)
    rng = np.random.default_rng(seed)
    part = calibration(clid.requests(config), rng, n=12)
    observations = observe(clid.requests(config), n, rng, ties=ties)
    scaler = RobustScaler().fit(naive_terms(part.observations, 12))
    scaled = scaler.transform(naive_terms(observations, n))
    expected = alpha * scaled[:, 0] + (1 - alpha) * scaled[:, 1]
    np.testing.assert_allclose(clid.score(observations, config, part), expected, atol=1e-9)


@given(values=st.lists(st.integers(-5, 5), min_size=1, max_size=9))
def test_scaling_of_ties_equals_scikit_learn(values):
    column = np.array(values, dtype=float)
    expected = RobustScaler().fit_transform(column[:, None])[:, 0]
    np.testing.assert_allclose(clid.fit_scaling(column)(column), expected, atol=1e-12)


def test_the_centre_of_the_text_is_an_option():
    scaling = clid.fit_scaling(np.array([0.0, 1.0, 8.0]), "mean")
    assert scaling == (3.0, 4.0)
    assert clid.fit_scaling(np.array([0.0, 1.0, 8.0])).center == 1.0


@settings(max_examples=20, deadline=None)
@given(seed=SEEDS, leaks=st.booleans())
def test_alpha_has_the_best_auc_of_the_grid(seed, leaks):
    rng = np.random.default_rng(seed)
    is_member = rng.permutation(20) < 10
    terms = rng.normal(0, 1, (20, 2)) + leaks * is_member[:, None]
    grid = np.linspace(0, 1, 11)
    aucs = [roc_auc_score(is_member, a * terms[:, 0] + (1 - a) * terms[:, 1]) for a in grid]
    alpha = clid.fit_alpha(*terms.T, is_member, n_alphas=11)
    assert alpha in grid
    assert aucs[int(np.argmin(abs(grid - alpha)))] == pytest.approx(max(aucs), abs=1e-12)


def test_alpha_is_the_middle_of_equally_good_ones():
    is_member = np.arange(20) < 10
    separated = is_member.astype(float)
    assert clid.fit_alpha(separated, separated, is_member, n_alphas=11) == 0.5


def test_alpha_leans_to_the_term_that_tells():
    rng = np.random.default_rng(0)
    is_member = np.arange(400) < 200
    telling, noise = is_member + rng.normal(0, 1, 400), rng.normal(0, 1, 400)
    assert clid.fit_alpha(telling, noise, is_member, n_alphas=101) > 0.7
    assert clid.fit_alpha(noise, telling, is_member, n_alphas=101) < 0.3


def test_conditions_equal_to_the_caption_give_no_discrepancy():
    errors = np.random.default_rng(0).random((2, 6))
    observations = {
        request: errors[CONFIG.timesteps.index(request.t)] for request in clid.requests(CONFIG)
    }
    terms = _conditional.likelihoods(observations, CONFIG.timesteps, CONFIG.conditions)
    assert np.array_equal(terms.discrepancies, np.zeros((6, 2)))


def test_swapping_caption_and_empty_text_negates_the_discrepancy():
    timesteps, conditions = (100,), ("null",)
    caption, null = _conditional.errors(timesteps, conditions)
    first, second = np.random.default_rng(0).random((2, 6))
    one = _conditional.likelihoods({caption: first, null: second}, timesteps, conditions)
    other = _conditional.likelihoods({caption: second, null: first}, timesteps, conditions)
    assert np.array_equal(one.discrepancies, -other.discrepancies)


def test_alpha_zero_ranks_by_loss_and_alpha_one_by_discrepancy():
    rng = np.random.default_rng(0)
    part = calibration(clid.requests(CONFIG), rng)
    observations = observe(clid.requests(CONFIG), 30, rng)
    terms = naive_terms(observations, 30)
    for alpha, column in ((0.0, 1), (1.0, 0)):
        config = dataclasses.replace(CONFIG, alpha=alpha)
        scores = clid.score(observations, config, part)
        assert np.array_equal(np.argsort(scores), np.argsort(terms[:, column]))


def test_the_scale_comes_from_the_calibration_part_alone():
    rng = np.random.default_rng(0)
    part = calibration(clid.requests(CONFIG), rng)
    observations = observe(clid.requests(CONFIG), 30, rng)
    inflated = {r: np.append(errors, 1e6) for r, errors in observations.items()}
    scores = clid.score(observations, CONFIG, part)
    np.testing.assert_allclose(clid.score(inflated, CONFIG, part)[:30], scores, rtol=1e-12)


def test_defaults_of_the_paper():
    large, small = clid.default_config(LARGE_TEXT), clid.default_config(SMALL_TEXT)
    assert large.timesteps == (440, 450, 460)
    assert small.timesteps == (90, 100, 110)
    assert large.conditions == ("first", "middle", "last", "null")
    assert calls_per_record(clid.requests(large)) == 15
    null_only = dataclasses.replace(large, conditions=("null",))
    assert calls_per_record(clid.requests(null_only)) == 6


def test_is_for_captioned_records_of_text_models():
    assert clid.applicable(LARGE_TEXT) is None
    assert "text-conditional" in clid.applicable(PIXEL)
    assert "caption" in clid.applicable(UNCAPTIONED)


def test_refuses_members_without_nonmembers_by_count():
    observations = observe(clid.requests(CONFIG), 4, np.random.default_rng(0))
    part = Calibration(observations, np.array([True, True, True, False]))
    with pytest.raises(Exception, match="got 3 and 1"):
        clid.score(observations, CONFIG, part)


@pytest.mark.parametrize(
    "options",
    [
        {"conditions": ()},
        {"conditions": ("frist",)},
        {"timesteps": ()},
        {"alpha": 1.5},
        {"center": "mode"},
        {"n_alphas": 0},
    ],
)
def test_refuses_a_wrong_configuration(options):
    with pytest.raises(UsageError):
        clid.ClidConfig(**options)
