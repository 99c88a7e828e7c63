"""Replication: null, planted, exact tests, and nothing fitted on what is reported."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from attacks.errors import DataError, ShapeError, UnderPowered
from attacks.extraction.rates import rates_by_copies
from attacks.extraction.replication import (
    excess_p_value,
    replication,
    similarity_threshold,
    summarise,
)
from tests.attacks.statistics.draws import at_most


@settings(max_examples=50, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1), n=st.integers(1, 60), fpr=st.sampled_from([0.01, 0.1, 0.3, 0.9])
)
def test_threshold_equals_a_sorted_list(seed, n, fpr):
    values = np.random.default_rng(seed).integers(0, 9, n).astype(float)
    found = similarity_threshold(values, fpr)
    rank = max(int(fpr * (n + 1) + 1e-9), 1)
    assert found.value == sorted(values, reverse=True)[rank - 1]
    assert found.fpr == pytest.approx(max(fpr, 1 / (n + 1)))


def test_a_new_held_out_picture_exceeds_the_threshold_as_seldom_as_promised():
    rng = np.random.default_rng(0)
    runs = 4000
    draws = rng.standard_normal((runs, 50))
    hits = [draws[i, 0] > similarity_threshold(draws[i, 1:], 0.1).value for i in range(runs)]
    assert 0.07 < np.mean(hits) <= at_most(0.1, runs)


def test_nothing_is_claimed_where_generations_are_like_held_out_pictures():
    rng = np.random.default_rng(1)
    p_values = []
    for _ in range(300):
        own, background = rng.standard_normal(200), rng.standard_normal(200)
        found = replication(own, background, is_fit=rng.random(200) < 0.5, fpr=0.05)
        p_values.append(found.p_value)
        assert found.n_fit + found.n_background == 200
    assert np.mean(np.array(p_values) <= 0.05) <= at_most(0.05, 300)


def test_planted_copies_are_counted():
    rng = np.random.default_rng(2)
    own = np.concatenate([rng.normal(0.3, 0.05, 180), rng.normal(0.95, 0.01, 20)])
    background = rng.normal(0.3, 0.05, 400)
    found = replication(own, background)
    assert 20 <= found.n_above <= 26
    assert found.share.low > found.background_share.value
    assert found.excess.low > 0
    assert found.p_value < 1e-3
    assert found.generated.highest > found.background.highest
    # zeros in place of the similarities: nothing is above
    assert replication(np.zeros(200), background).n_above == 0


def test_the_half_that_sets_the_threshold_is_not_reported():
    """Raising a picture of the fitted half moves tau, never the background's own figures."""
    rng = np.random.default_rng(3)
    own, background = rng.random(50), rng.random(60)
    is_fit = np.arange(60) < 30
    before = replication(own, background, is_fit=is_fit, fpr=0.01)
    changed = background.copy()
    changed[4] = 2.0
    after = replication(own, changed, is_fit=is_fit, fpr=0.01)
    assert after.tau == 2.0
    assert after.background == before.background
    assert before.background == summarise(background[30:])
    assert before.n_background == 30


def test_a_given_threshold_uses_all_held_out_pictures():
    rng = np.random.default_rng(4)
    own, background = rng.random(40), rng.random(30)
    found = replication(own, background, tau=0.5)
    assert found.n_background == 30
    assert found.n_fit == 0
    assert found.fpr is None
    assert found.n_above == (own > 0.5).sum()


@given(n=st.integers(1, 30), m=st.integers(1, 30), a=st.floats(0, 1), b=st.floats(0, 1))
def test_p_value_is_fisher_s(n, m, a, b):
    k, j = int(a * n), int(b * m)
    expected = stats.fisher_exact([[k, n - k], [j, m - j]], alternative="greater").pvalue
    assert excess_p_value(k, n, j, m) == pytest.approx(expected, rel=1e-9, abs=1e-12)


def test_p_value_is_what_permuting_labels_gives():
    rng = np.random.default_rng(5)
    above = np.array([True] * 9 + [False] * 31)
    observed = 7  # of the first 20
    permuted = rng.permuted(np.tile(above, (20000, 1)), axis=1)[:, :20].sum(axis=1)
    assert excess_p_value(7, 20, 2, 20) == pytest.approx(np.mean(permuted >= observed), abs=0.01)


def test_too_few_held_out_pictures_are_refused():
    with pytest.raises(UnderPowered, match="20 or more"):
        replication(np.zeros(5), np.zeros(19))
    with pytest.raises(UnderPowered, match="one side"):
        replication(np.zeros(5), np.zeros(30), is_fit=np.ones(30, bool))
    with pytest.raises(ShapeError):
        replication(np.zeros(5), np.zeros(30), is_fit=np.ones(29, bool))
    with pytest.raises(DataError):
        replication(np.array([np.nan]), np.zeros(30))


def test_rates_by_copies():
    multiplicity = np.array([1] * 50 + [2] * 4 + [5, 9, 10, 99, 100, 4000])
    copied = np.zeros(60, bool)
    copied[[0, 50, 58, 59]] = True
    rates = rates_by_copies(multiplicity, copied)
    counts = {one.copies: (one.n_records, one.n_copied) for one in rates}
    assert counts == {
        "1": (50, 1), "2": (4, 1), "3 to 9": (2, 0), "10 to 99": (2, 0), "100 or more": (2, 2),
    }  # fmt: skip
    for one in rates:
        exact = stats.binomtest(one.n_copied, one.n_records).proportion_ci(0.99, "exact")
        assert one.share.low == pytest.approx(exact.low)
        assert one.share.high == pytest.approx(exact.high)


def test_zero_of_n_keeps_an_upper_limit():
    (one,) = rates_by_copies(np.ones(100, int), np.zeros(100, bool))
    assert one.share.low == 0
    assert one.share.high == pytest.approx(1 - 0.025 ** (1 / 100))
    assert rates_by_copies(np.array([], int), np.array([], bool)) == ()
    with pytest.raises(ShapeError):
        rates_by_copies(np.array([0]), np.array([True]))
