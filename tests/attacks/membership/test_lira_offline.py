"""LiRA (offline): golden values, scipy's distribution, one side only."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import norm

from attacks.errors import DataError, UsageError
from attacks.membership import lira_offline
from attacks.observations import Logits, ShadowConfidence, ShadowKeep
from tests.attacks.membership.synthetic import CLASSIFIER, SEEDS, SIZES
from tests.attacks.membership.test_lira import answers, draw, golden, spread_of_all

CONFIG = lira_offline.LiraOfflineConfig()


@pytest.mark.parametrize(("ddof", "expected"), [(0, -0.0011004288), (1, -0.0062290255)])
def test_golden_values(ddof, expected):
    observations, _ = golden(ddof)
    config = dataclasses.replace(CONFIG, ddof=ddof)
    assert lira_offline.score(observations, config)[0] == pytest.approx(expected, abs=1e-10)


@given(
    seed=SEEDS,
    n=SIZES,
    queries=st.integers(1, 3),
    variance=st.sampled_from(["pooled", "per_record", "uncentred"]),
    center=st.sampled_from(["mean", "median"]),
    ddof=st.integers(0, 1),
)
def test_equals_a_loop_over_records(seed, n, queries, variance, center, ddof):
    config = lira_offline.LiraOfflineConfig(queries, variance, center, ddof)
    observations = draw(seed, n, queries=queries)
    phi = observations[Logits(queries=queries)][:, :, 0]
    shadows, keep = observations[ShadowConfidence(queries=queries)], observations[ShadowKeep()]
    middle = np.median if center == "median" else np.mean
    expected = []
    for i in range(n):
        terms = []
        for q in range(queries):
            own = shadows[i, ~keep[i], q]
            spread = spread_of_all(shadows[:, :, q], keep, False, ddof)
            if variance == "per_record":
                spread = max(np.std(own, ddof=ddof), 1e-3 * spread)
            if variance == "uncentred":
                spread = np.std(shadows[:, :, q][keep])
            terms.append(norm.logcdf(phi[i, q], middle(own), spread))
        expected.append(np.mean(terms))
    scores = lira_offline.score(observations, config)
    np.testing.assert_allclose(scores, expected, rtol=1e-9, atol=1e-12)


def test_is_one_sided():
    """A confidence far below that of OUT models is no sign of membership."""
    shadows = np.tile(np.array([3.0, 4, 5, 0, 1, 2])[None, :, None], (3, 1, 1))
    keep = np.tile([1, 1, 1, 0, 0, 0], (3, 1))
    low, middle, high = lira_offline.score(answers([[-9], [1], [11]], shadows, keep), CONFIG)
    assert low < middle < high


def test_certain_members_do_not_tie():
    """The probability itself is 1 from 8.3 standard deviations on."""
    shadows = np.tile(np.array([3.0, 5, -1, 1])[None, :, None], (3, 1, 1))
    keep = np.tile([1, 1, 0, 0], (3, 1))
    scores = lira_offline.score(answers([[9], [15], [30]], shadows, keep), CONFIG)
    assert scores[0] < scores[1] < scores[2] < 0
    assert len(set(np.exp(scores))) == 1


def test_models_with_the_record_play_no_part():
    observations = draw(1, 9)
    other = dict(observations)
    shadows, keep = observations[ShadowConfidence()], observations[ShadowKeep()]
    other[ShadowConfidence()] = np.where(keep[:, :, None], 99.0, shadows)
    for variance in ("pooled", "per_record"):
        config = dataclasses.replace(CONFIG, variance=variance)
        found = lira_offline.score(other, config)
        assert np.array_equal(found, lira_offline.score(observations, config))


def test_a_record_that_every_model_saw_is_an_error():
    observations = draw(2, 4)
    observations[ShadowKeep()][0] = True
    with pytest.raises(DataError, match="1 of 4 records"):
        lira_offline.score(observations, CONFIG)


def test_defaults_and_wrong_settings():
    assert lira_offline.default_config(CLASSIFIER).queries == 2
    with pytest.raises(UsageError, match="ddof must be 0 or 1"):
        lira_offline.LiraOfflineConfig(ddof=-1)
