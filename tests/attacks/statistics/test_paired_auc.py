"""Paired differences of AUCs: twins, edges, coverage."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from attacks.errors import DataError, ShapeError
from attacks.statistics.auc import auc, paired_difference
from attacks.statistics.paired_auc import paired_aucs
from tests.attacks.statistics.draws import at_most


def _naive(x: list[np.ndarray], y: list[np.ndarray]) -> tuple[float, float]:
    """Difference and standard error from the whole matrix of comparisons (DeLong 1988)."""
    psi = [(a[:, None] > b) + 0.5 * (a[:, None] == b) for a, b in zip(x, y, strict=True)]
    inside = np.cov([p.mean(axis=1) for p in psi])
    outside = np.cov([p.mean(axis=0) for p in psi])
    s = inside / len(x[0]) + outside / len(y[0])
    return psi[1].mean() - psi[0].mean(), float(np.sqrt(max(s[0, 0] + s[1, 1] - 2 * s[0, 1], 0)))


@settings(deadline=None, max_examples=60)
@given(st.integers(2, 9), st.integers(2, 9), st.integers(1, 3), st.integers(0, 2**32 - 1))
def test_equals_the_matrix_of_comparisons(n1: int, n0: int, k: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    x, y = rng.integers(0, 5, (2, k, n1)), rng.integers(0, 5, (2, k, n0))
    found = paired_aucs((x[0], y[0]), (x[1], y[1]))
    for i in range(k):
        value, se = _naive([x[0, i], x[1, i]], [y[0, i], y[1, i]])
        assert found.before[i] == pytest.approx(auc(x[0, i], y[0, i]).value)
        assert found.value[i] == pytest.approx(value, abs=1e-12)
        if 0 < found.before[i] < 1 and 0 < found.after[i] < 1:
            assert found.low[i] == pytest.approx(max(value - 1.959964 * se, -1), abs=1e-6)
            assert found.high[i] == pytest.approx(min(value + 1.959964 * se, 1), abs=1e-6)
        assert -1 <= found.low[i] <= found.value[i] <= found.high[i] <= 1


def test_agrees_with_the_difference_of_one_attack_and_changes_sign() -> None:
    rng = np.random.default_rng(3)
    x, y = rng.normal(0.4, 1, (2, 4, 60)), rng.normal(0, 1, (2, 4, 80))
    found, turned = (paired_aucs((x[a], y[a]), (x[b], y[b])) for a, b in ((0, 1), (1, 0)))
    for i in range(4):
        one = paired_difference((x[1, i], x[0, i]), (y[1, i], y[0, i]))
        got = (found.value[i], found.low[i], found.high[i], found.p_value[i])
        assert got == pytest.approx(tuple(one), abs=1e-12)
    np.testing.assert_allclose(turned.low, -found.high)
    np.testing.assert_allclose(turned.p_value, found.p_value)


def test_limits_are_near_those_of_a_bootstrap_over_records() -> None:
    rng = np.random.default_rng(5)
    n = 150
    common = rng.normal(size=2 * n)
    before = common + rng.normal(size=2 * n) + np.repeat([1.2, 0], n)
    after = common + rng.normal(size=2 * n) + np.repeat([0.3, 0], n)
    found = paired_aucs((before[None, :n], before[None, n:]), (after[None, :n], after[None, n:]))
    drawn = []
    for _ in range(600):
        i, j = rng.integers(0, n, n), n + rng.integers(0, n, n)
        drawn.append(auc(after[i], after[j]).value - auc(before[i], before[j]).value)
    low, high = np.quantile(drawn, [0.025, 0.975])
    assert found.low[0] == pytest.approx(low, abs=0.015)
    assert found.high[0] == pytest.approx(high, abs=0.015)
    assert found.high[0] < 0


def test_the_same_scores_differ_by_exactly_nothing() -> None:
    rng = np.random.default_rng(7)
    x, y = rng.normal(size=(2, 20)), rng.normal(size=(2, 30))
    x[1] += 100  # complete separation too
    found = paired_aucs((x, y), (np.exp(x / 50), np.exp(y / 50)))
    for limit in (found.value, found.low, found.high):
        np.testing.assert_array_equal(limit, 0)
    np.testing.assert_array_equal(found.p_value, 1)


def test_at_the_edge_the_interval_keeps_a_width() -> None:
    """Two models that both separate the sample need not do so beyond it."""
    rng = np.random.default_rng(8)
    x, y = 9 + rng.normal(size=(2, 1, 40)), rng.normal(size=(2, 1, 40))
    same = paired_aucs((x[0], y[0]), (x[1], y[1]))
    assert same.value[0] == 0
    assert same.low[0] < -0.05 < 0.05 < same.high[0]
    assert same.p_value[0] > 0.9
    lost = paired_aucs((x[0], y[0]), (x[1] - 9, y[1]))
    assert lost.high[0] < 0
    assert lost.p_value[0] < 1e-4


@pytest.mark.parametrize("confidence", [0.8, 0.95, 0.99])
def test_p_value_and_interval_agree_at_the_edge(confidence: float) -> None:
    rng = np.random.default_rng(9)
    for shift in (1.0, 1.6, 2.5):
        x, y = rng.normal(size=(1, 25)) + shift, rng.normal(size=(1, 25))
        found = paired_aucs((x + 50, y), (x, y), confidence=confidence)
        excludes = found.high[0] < 0 or found.low[0] > 0
        assert excludes == (found.p_value[0] <= 1 - confidence)


@pytest.mark.parametrize("shift", [0.0, 0.8])
def test_null_coverage(shift: float) -> None:
    """Two equal models with common noise: 0 is left out in at most 5 % of runs, or so."""
    rng = np.random.default_rng(11)
    runs, n1, n0 = 1500, 120, 150
    common = rng.normal(size=(runs, n1 + n0)) + shift * (np.arange(n1 + n0) < n1)
    own = rng.normal(size=(2, runs, n1 + n0))
    a, b = common + own[0], common + own[1]
    found = paired_aucs((a[:, :n1], a[:, n1:]), (b[:, :n1], b[:, n1:]))
    missed = float(np.mean((found.low > 0) | (found.high < 0)))
    assert 0.03 < missed < at_most(0.06, runs)
    assert np.mean(found.p_value <= 0.05) == missed


def test_refuses_what_does_not_pair() -> None:
    x, y = np.zeros((1, 3)), np.zeros((1, 3))
    with pytest.raises(ShapeError, match="differ in shape"):
        paired_aucs((x, y), (np.zeros((1, 4)), y))
    with pytest.raises(ShapeError, match="n >= 2"):
        paired_aucs((x[:, :1], y), (x[:, :1], y))
    with pytest.raises(DataError, match="NaN"):
        paired_aucs((x * np.nan, y), (x, y))
