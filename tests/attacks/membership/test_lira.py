"""LiRA (online): golden values, a loop over records, and what theory says about it."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm

from attacks.errors import DataError, ShapeError, UsageError
from attacks.membership import _gaussians, lira
from attacks.membership._classifier import Shadows
from attacks.observations import Classes, Floor, Logits, ShadowConfidence, ShadowKeep
from attacks.statistics import auc
from tests.attacks.membership.synthetic import CLASSIFIER, SEEDS, SIZES
from tests.attacks.membership.synthetic_classifier import pairs

ONE_QUERY = lira.LiraConfig()


def answers(target, shadows, keep, queries=1):
    """Observations of a model with two classes: the first logit is phi."""
    target, shadows = np.asarray(target, float), np.asarray(shadows, float)
    logits = np.stack([target, np.zeros_like(target)], axis=-1)
    return {
        Classes(): np.zeros(len(target), dtype=int),
        Logits(queries=queries): logits,
        ShadowConfidence(queries=queries): shadows,
        ShadowKeep(): np.asarray(keep, bool),
    }


def golden(ddof):
    shadows = np.array([3, 4, 5, 0, 1, 2])[None, :, None]
    keep = np.array([[1, 1, 1, 0, 0, 0]])
    return answers([[3.5]], shadows, keep), dataclasses.replace(ONE_QUERY, ddof=ddof)


def draw(seed, n, m=8, queries=1):
    rng = np.random.default_rng(seed)
    keep = pairs(n, m, rng)
    shadows = rng.normal(0, 1, (n, m, queries)) + 2 * keep[:, :, None]
    return answers(rng.normal(1, 1, (n, queries)), shadows, keep, queries)


def spread_of_all(values, keep, side, ddof):
    """Pooled deviation within records, over all records, of one side and query."""
    squares, freedom = 0.0, 0
    for row, kept in zip(values, keep, strict=True):
        own = row[kept == side]
        squares += sum((own - np.mean(own)) ** 2)
        freedom += len(own) - ddof
    return np.sqrt(squares / freedom)


def loop(observations, config):
    """Record by record and query by query, with scipy's densities."""
    queries = config.queries
    phi = observations[Logits(queries=queries)][:, :, 0]
    shadows, keep = observations[ShadowConfidence(queries=queries)], observations[ShadowKeep()]
    middle = np.median if config.center == "median" else np.mean
    scores = []
    for i in range(len(phi)):
        terms = []
        for q in range(queries):
            log_densities = []
            for side in (True, False):
                own = shadows[i, keep[i] == side, q]
                spread = spread_of_all(shadows[:, :, q], keep, side, config.ddof)
                if config.variance == "per_record":
                    spread = max(np.std(own, ddof=config.ddof), 1e-3 * spread)
                if config.variance == "uncentred":
                    spread = np.std(shadows[:, :, q][keep])
                log_densities.append(norm.logpdf(phi[i, q], middle(own), spread))
            terms.append(log_densities[0] - log_densities[1])
        scores.append(np.mean(terms))
    return np.array(scores)


@pytest.mark.parametrize("variance", ["pooled", "per_record"])
@pytest.mark.parametrize(("ddof", "expected"), [(0, 4.5), (1, 3.0)])
def test_golden_values(variance, ddof, expected):
    observations, config = golden(ddof)
    config = dataclasses.replace(config, variance=variance)
    assert lira.score(observations, config)[0] == pytest.approx(expected, abs=1e-12)


@given(
    seed=SEEDS,
    n=SIZES,
    queries=st.integers(1, 3),
    variance=st.sampled_from(["pooled", "per_record", "uncentred"]),
    center=st.sampled_from(["mean", "median"]),
    ddof=st.integers(0, 1),
)
def test_equals_a_loop_over_records(seed, n, queries, variance, center, ddof):
    config = lira.LiraConfig(queries, variance, center, ddof)
    observations = draw(seed, n, queries=queries)
    np.testing.assert_allclose(
        lira.score(observations, config), loop(observations, config), rtol=1e-10, atol=1e-10
    )


@given(seed=SEEDS, variance=st.sampled_from(["pooled", "per_record", "uncentred"]))
def test_the_unit_and_the_origin_of_phi_do_not_matter(seed, variance):
    config = dataclasses.replace(ONE_QUERY, variance=variance)
    before = draw(seed, 20)
    moved = answers(
        3 * before[Logits()][:, :, 0] - 7, 3 * before[ShadowConfidence()] - 7, before[ShadowKeep()]
    )
    np.testing.assert_allclose(
        lira.score(moved, config), lira.score(before, config), rtol=1e-7, atol=1e-7
    )


def test_coinciding_gaussians_say_nothing():
    rng = np.random.default_rng(0)
    one_side = rng.normal(size=(9, 4, 1))
    shadows = np.concatenate([one_side, one_side], axis=1)
    keep = np.tile([1, 1, 1, 1, 0, 0, 0, 0], (9, 1))
    for variance in ("pooled", "per_record", "uncentred"):
        config = dataclasses.replace(ONE_QUERY, variance=variance)
        assert np.all(lira.score(answers(rng.normal(size=(9, 1)), shadows, keep), config) == 0)


def test_equal_variances_make_the_score_linear():
    phi = np.linspace(-4, 4, 9)[:, None]
    shadows = np.tile(np.array([3.0, 4, 5, 0, 1, 2])[None, :, None], (9, 1, 1))
    keep = np.tile([1, 1, 1, 0, 0, 0], (9, 1))
    scores = lira.score(answers(phi, shadows, keep), ONE_QUERY)
    spread = np.std([0, 1, 2])
    expected = (4 - 1) / spread**2 * (phi[:, 0] - (4 + 1) / 2)
    np.testing.assert_allclose(scores, expected, atol=1e-12)


@pytest.mark.parametrize(("d", "expected"), [(1, 0.760250), (2, 0.921350)])
def test_auc_on_gaussians_is_that_of_the_theory(d, expected):
    rng = np.random.default_rng(d)
    n, m = 20_000, 64
    ease = rng.normal(0, 3, (n, 1))
    keep = pairs(n, m, rng)
    shadows = ease + d * keep + rng.normal(size=(n, m))
    is_member = rng.random(n) < 0.5
    target = ease[:, 0] + d * is_member + rng.normal(size=n)
    config = dataclasses.replace(ONE_QUERY, variance="pooled")
    scores = lira.score(answers(target[:, None], shadows[:, :, None], keep), config)
    assert expected == pytest.approx(norm.cdf(d / np.sqrt(2)), abs=1e-6)
    found = auc(scores[is_member], scores[~is_member])
    # means of 32 models a side cost a little of the AUC
    assert found.value == pytest.approx(expected, abs=0.01)


def test_the_spread_of_each_record_is_trusted_from_64_models_on():
    for m, variance in ((62, "pooled"), (64, "per_record")):
        observations = draw(3, 12, m=m)
        named = dataclasses.replace(ONE_QUERY, variance=variance)
        found = lira.score(observations, ONE_QUERY)
        assert np.array_equal(found, lira.score(observations, named))
        assert named.variance != ONE_QUERY.variance


def test_a_constant_statistic_is_given_a_floor():
    rng = np.random.default_rng(4)
    keep = pairs(30, 8, rng)
    shadows = rng.normal(size=(30, 8, 1))
    shadows[0] = 1.5
    pair = _gaussians.fit(Shadows(shadows, keep), variance="per_record", center="mean", ddof=0)
    pooled = _gaussians.fit(Shadows(shadows, keep), variance="pooled", center="mean", ddof=0)
    assert pair.outside.spread[0, 0] == pytest.approx(1e-3 * pooled.outside.spread[0, 0])
    config = dataclasses.replace(ONE_QUERY, variance="per_record")
    scores = lira.score(answers(rng.normal(size=(30, 1)), shadows, keep), config)
    assert np.all(np.isfinite(scores))


def test_one_pair_of_models_ranks_by_the_distance_from_the_middle():
    observations = draw(5, 12, m=2)
    phi = observations[Logits()][:, 0, 0]
    shadows, keep = observations[ShadowConfidence()][:, :, 0], observations[ShadowKeep()]
    inside, outside = (np.where(k, shadows, 0).sum(axis=1) for k in (keep, ~keep))
    expected = (inside - outside) * (phi - (inside + outside) / 2)
    for variance in ("auto", "pooled", "per_record"):
        config = dataclasses.replace(ONE_QUERY, variance=variance)
        order = np.argsort(lira.score(observations, config))
        assert np.array_equal(order, np.argsort(expected))


def test_spreads_of_in_and_out_are_their_own():
    """What is certain without the record and uncertain with it is decided by both spreads."""
    shadows = np.array([-6.0, 6.0, -0.1, 0.1])[None, :, None]
    keep = np.array([[1, 1, 0, 0]])
    far, near = (lira.score(answers([[v]], shadows, keep), ONE_QUERY)[0] for v in (3.0, 0.0))
    assert far > 0 > near
    uncentred = dataclasses.replace(ONE_QUERY, variance="uncentred")
    assert lira.score(answers([[3.0]], shadows, keep), uncentred)[0] == 0


@pytest.mark.parametrize("fill", [True, False])
def test_a_record_without_in_or_out_models_is_an_error(fill):
    observations = draw(6, 5)
    observations[ShadowKeep()][[1, 3]] = fill
    with pytest.raises(DataError, match="2 of 5 records .* all 8 shadow models or of none"):
        lira.score(observations, ONE_QUERY)


def test_sets_of_other_shadow_models_are_refused():
    observations = draw(7, 5)
    observations[ShadowKeep()] = observations[ShadowKeep()][:, :6]
    with pytest.raises(ShapeError, match=r"\(5, 8\) records and models, and shadow_keep \(5, 6\)"):
        lira.score(observations, ONE_QUERY)


def test_asks_for_what_the_target_can_answer():
    assert lira.default_config(CLASSIFIER).queries == 2
    assert lira.requests(ONE_QUERY) == (
        Classes(),
        Floor(),
        Logits(),
        ShadowConfidence(),
        ShadowKeep(),
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"variance": "fixed"}, "auto, pooled, per_record, uncentred, got 'fixed'"),
        ({"center": "mode"}, "mean or median, got 'mode'"),
        ({"ddof": 2}, "0 or 1, got 2"),
        ({"queries": 0}, "queries must be above 0"),
    ],
)
def test_refuses_a_wrong_configuration(options, message):
    with pytest.raises(UsageError, match=message):
        lira.LiraConfig(**options)
