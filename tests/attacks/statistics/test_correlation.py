"""Spearman's correlation and its interval."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from attacks.errors import DataError, ShapeError
from attacks.statistics.correlation import spearman


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), min_size=10, max_size=40))
def test_equals_scipy_with_ties(pairs: list[tuple[int, int]]) -> None:
    x, y = np.array(pairs, dtype=float).T
    result = spearman(x, y)
    if np.ptp(x) == 0 or np.ptp(y) == 0:
        assert result.value is None
        assert "equal" in str(result.reason)
        return
    assert result.value == pytest.approx(stats.spearmanr(x, y).statistic, abs=1e-12)
    assert result.low is not None
    assert result.high is not None
    assert -1 <= result.low <= result.value <= result.high <= 1
    assert result.low < result.high
    stretched = spearman(np.exp(x), y**3)
    assert stretched == result
    mirrored = spearman(-x, y)
    assert mirrored.value == pytest.approx(-result.value, abs=1e-12)
    assert mirrored.low == pytest.approx(-result.high, abs=1e-12)


def test_golden_interval_of_the_statpsych_manual() -> None:
    """The example of `ci.spear` in the R package of one of the formula's authors."""
    y = [21, 4, 9, 12, 35, 18, 10, 22, 24, 1, 6, 8, 13, 16, 19]
    x = [67, 28, 30, 28, 52, 40, 25, 37, 44, 10, 14, 20, 28, 40, 51]
    result = spearman(y, x)
    figures = [result.value, result.low, result.high]
    np.testing.assert_allclose(figures, [0.8699639, 0.5840951, 0.9638297], atol=5e-8)


@pytest.mark.parametrize("rho", [0.0, 0.3, 0.7, 0.9])
@pytest.mark.parametrize("n", [20, 200])
def test_interval_covers(rho: float, n: int) -> None:
    rng, runs, covered = np.random.default_rng(n), 1000, 0
    truth = 6 / np.pi * np.arcsin(rho / 2)  # Spearman of a bivariate normal distribution
    for _ in range(runs):
        x = rng.normal(size=n)
        result = spearman(x, rho * x + np.sqrt(1 - rho**2) * rng.normal(size=n))
        covered += (result.low or 0) <= truth <= (result.high or 0)
    assert 0.92 < covered / runs < 0.985


def test_a_perfect_correlation_keeps_a_lower_limit_below_one() -> None:
    for n in (10, 1000):
        result = spearman(np.arange(n), np.arange(n) * 2.0)
        assert result.value == pytest.approx(1, abs=1e-12)
        assert 0.9 < (result.low or 0) < 1
        assert result.high == pytest.approx(1, abs=1e-12)


def test_what_cannot_be_correlated() -> None:
    assert "too few" in str(spearman(np.arange(9.0), np.arange(9.0)).reason)
    with pytest.raises(ShapeError, match="differ in length"):
        spearman(np.arange(10.0), np.arange(11.0))
    with pytest.raises(DataError, match="NaN"):
        spearman(np.full(10, np.nan), np.arange(10.0))
