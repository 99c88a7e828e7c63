"""Wilson's interval, and Newcombe's interval of a difference of shares."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import optimize, stats

from attacks.errors import ShapeError
from attacks.statistics.differences import newcombe, wilson


@given(st.integers(1, 60), st.data(), st.sampled_from([0.8, 0.95, 0.99]))
def test_wilson_equals_scipy(n: int, data: st.DataObject, confidence: float) -> None:
    k = data.draw(st.integers(0, n))
    expected = stats.binomtest(k, n).proportion_ci(confidence, method="wilson")
    interval = wilson(k / n, n, confidence=confidence)
    np.testing.assert_allclose([interval.low, interval.high], expected, atol=1e-12)


def test_wilson_solves_its_equation_for_a_mean_too() -> None:
    q, n, z = 0.137, 9, stats.norm.isf(0.025)

    def excess(p: float) -> float:
        return abs(q - p) - z * np.sqrt(p * (1 - p) / n)

    roots = optimize.brentq(excess, 1e-9, q), optimize.brentq(excess, q, 1 - 1e-9)
    np.testing.assert_allclose(wilson(q, n), roots, rtol=1e-9)


def test_limits_at_the_edge_are_exact() -> None:
    n = np.arange(1, 200)
    assert np.all(wilson(np.zeros(199), n).low == 0)
    assert np.all(wilson(np.ones(199), n).high == 1)
    both = newcombe(np.ones(199), n, np.ones(199), n)
    assert np.all((both.low < 0) & (both.high > 0))
    assert np.all(newcombe(np.ones(199), n, np.zeros(199), n).high == 1)
    with pytest.raises(ShapeError, match="at least one trial"):
        wilson(0.5, 0)


def test_newcombe_equals_an_obvious_version() -> None:
    for k1, n1, k2, n2 in ((7, 9, 2, 11), (0, 8, 8, 8), (8, 8, 8, 30), (3, 40, 30, 41)):
        p, q = k1 / n1, k2 / n2
        l1, u1 = stats.binomtest(k1, n1).proportion_ci(method="wilson")
        l2, u2 = stats.binomtest(k2, n2).proportion_ci(method="wilson")
        low = p - q - ((p - l1) ** 2 + (u2 - q) ** 2) ** 0.5
        high = p - q + ((u1 - p) ** 2 + (q - l2) ** 2) ** 0.5
        np.testing.assert_allclose(newcombe(p, n1, q, n2), [low, high], atol=1e-12)


@given(st.integers(1, 30), st.integers(1, 30), st.data())
def test_newcombe_is_ordered_inside_and_antisymmetric(
    n1: int, n2: int, data: st.DataObject
) -> None:
    p, q = data.draw(st.integers(0, n1)) / n1, data.draw(st.integers(0, n2)) / n2
    low, high = newcombe(p, n1, q, n2)
    assert -1 <= low <= p - q <= high <= 1
    assert low < high
    mirrored = newcombe(q, n2, p, n1)
    np.testing.assert_allclose([-mirrored.high, -mirrored.low], [low, high], atol=1e-12)


@pytest.mark.parametrize(("n1", "n2"), [(8, 8), (20, 60), (64, 64)])
def test_newcombe_covers_about_as_often_as_it_says(n1: int, n2: int) -> None:
    """Exact coverage by enumeration: near 95 % on average, and nowhere far below.

    It is lowest where one share is near 1 and the other near 0; a
    Wald interval drops below three quarters there.
    """
    k1, k2 = np.arange(n1 + 1)[:, None], np.arange(n2 + 1)[None, :]
    interval = newcombe(k1 / n1, n1, k2 / n2, n2)
    wald = 1.96 * np.sqrt(
        k1 / n1 * (1 - k1 / n1) / n1 + k2 / n2 * (1 - k2 / n2) / n2 + np.zeros_like(k1 * k2)
    )
    covered, covered_by_wald = [], []
    for p in (0.02, 0.2, 0.5, 0.9, 0.99):
        for q in (0.01, 0.1, 0.5, 0.8):
            chance = stats.binom.pmf(k1, n1, p) * stats.binom.pmf(k2, n2, q)
            covered.append(chance[(interval.low <= p - q) & (p - q <= interval.high)].sum())
            covered_by_wald.append(chance[np.abs(k1 / n1 - k2 / n2 - (p - q)) <= wald].sum())
    assert min(covered) > 0.84
    assert np.mean(covered) > 0.95
    assert min(covered_by_wald) < 0.75


def test_a_tiny_error_is_kept_where_nothing_differs() -> None:
    """The corrected limits of many pairs: false alarms at level 1e-4, by enumeration."""
    n = 64
    k1, k2 = np.arange(n + 1)[:, None], np.arange(n + 1)[None, :]
    low = newcombe(k1 / n, n, k2 / n, n, confidence=1 - 1e-4).low
    for p in (0.02, 0.1, 0.3, 0.5, 0.7, 0.95):
        chance = stats.binom.pmf(k1, n, p) * stats.binom.pmf(k2, n, p)
        assert chance[low > 0].sum() <= 1e-4


def test_values_between_0_and_1_are_covered_with_room() -> None:
    rng, n, runs = np.random.default_rng(0), 16, 4000
    x, y = rng.beta(2, 2, (runs, n)).mean(axis=1), rng.beta(1, 3, (runs, n)).mean(axis=1)
    interval = newcombe(x, n, y, n)
    assert np.mean((interval.low <= 0.25) & (interval.high >= 0.25)) > 0.99


def test_correlated_pairs_are_covered_only_with_their_correlation() -> None:
    """Twins of which exactly one is right: the difference varies twice as much."""
    rng, pairs, runs = np.random.default_rng(1), 64, 4000
    x = rng.random((runs, pairs)) < 0.5
    share = x.mean(axis=1)
    apart = newcombe(share, pairs, 1 - share, pairs)
    together = newcombe(share, pairs, 1 - share, pairs, correlation=-1)
    assert np.mean((apart.low <= 0) & (apart.high >= 0)) < 0.88
    assert 0.93 < np.mean((together.low <= 0) & (together.high >= 0)) < 0.985
    width = newcombe(0.5, 64, 0.5, 64, correlation=1)
    assert width.high - width.low == pytest.approx(0, abs=1e-12)
