"""AUC, its limits at the edge, paired differences and the thinned curve."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from sklearn.metrics import roc_auc_score

from attacks.errors import ShapeError
from attacks.statistics.auc import (
    auc,
    paired_difference,
    placements,
    roc_curve,
    score_distribution,
)
from attacks.statistics.rates import clopper_pearson
from tests.attacks.statistics.draws import at_most, tied_scores


def _psi(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return (x[:, None] > y) + 0.5 * (x[:, None] == y)


def test_golden_with_a_tie() -> None:
    estimate = auc([4, 6, 7, 3], [1, 2, 3, 5])
    assert estimate.value == 0.84375
    assert estimate.variance == pytest.approx(0.0227865, abs=5e-8)


def test_golden_interval_stays_inside_one() -> None:
    estimate = auc([0.9, 0.8, 0.7, 0.6, 0.55], [0.65, 0.5, 0.4, 0.3, 0.2])
    assert estimate.value == pytest.approx(0.92)
    assert np.sqrt(estimate.variance) == pytest.approx(0.0938083, abs=5e-8)
    interval = estimate.interval()
    logit = np.log(0.92 / 0.08) + 1.959964 * 0.0938083 / (0.92 * 0.08) * np.array([-1, 1])
    np.testing.assert_allclose([interval.low, interval.high], 1 / (1 + np.exp(-logit)), rtol=1e-5)
    assert interval.high < 1


@settings(deadline=None)
@given(tied_scores(), tied_scores())
def test_equals_sklearn_and_the_psi_matrix(x: np.ndarray, y: np.ndarray) -> None:
    labels = np.repeat([1, 0], [x.size, y.size])
    estimate, psi = auc(x, y), _psi(x, y)
    assert estimate.value == pytest.approx(roc_auc_score(labels, np.concatenate([x, y])))
    parts = placements(x, y)
    np.testing.assert_allclose(parts.members, psi.mean(axis=1), atol=1e-12)
    np.testing.assert_allclose(parts.nonmembers, psi.mean(axis=0), atol=1e-12)
    if min(x.size, y.size) > 1:
        v10, v01 = psi.mean(axis=1), psi.mean(axis=0)
        expected = v10.var(ddof=1) / x.size + v01.var(ddof=1) / y.size
        assert estimate.variance == pytest.approx(expected, abs=1e-12)


@settings(deadline=None)
@given(tied_scores(), tied_scores())
def test_invariances_and_order_of_limits(x: np.ndarray, y: np.ndarray) -> None:
    estimate, stretched, swapped = auc(x, y), auc(np.exp(x), np.exp(y)), auc(y, x)
    assert stretched == estimate
    assert swapped.value == pytest.approx(1 - estimate.value)
    assert swapped.variance == pytest.approx(estimate.variance, abs=1e-12)
    low, high = estimate.lower(0.05), estimate.upper(0.05)
    assert 0 <= low <= estimate.value <= high <= 1
    assert low < high
    assert swapped.upper(0.05) == pytest.approx(1 - low, abs=1e-9)
    # A test at the limit of an interval has the p-value of that limit.
    if low > 0:
        assert estimate.p_above(low) == pytest.approx(0.05, rel=1e-6)
    if high < 1:
        assert estimate.p_below(high) == pytest.approx(0.05, rel=1e-6)
    assert estimate.p_above(0.5) + estimate.p_below(0.5) == pytest.approx(1)


def test_interval_lies_on_the_side_of_the_estimate() -> None:
    """An interval for 1 - AUC, as one peer's bootstrap gives, would not hold the estimate."""
    rng = np.random.default_rng(1)
    interval = auc(rng.normal(1.8, 1, 200), rng.normal(0, 1, 200)).interval()
    assert interval.value == pytest.approx(0.9, abs=0.03)
    assert 0.8 < interval.low < interval.value < interval.high < 0.97


@pytest.mark.parametrize("n", [1, 2, 10, 600])
def test_auc_of_one_keeps_a_lower_limit_below_one(n: int) -> None:
    estimate = auc(np.arange(n) + 10.0 * n, np.arange(n))
    assert estimate.value == 1
    assert estimate.variance == 0
    z2 = 1.959964**2
    assert estimate.interval().low == pytest.approx(n / (n + z2), rel=1e-6)
    assert estimate.interval().high == 1
    assert 0 < estimate.p_above(0.5) < 0.5
    mirrored = auc(np.arange(n), np.arange(n) + 10.0 * n)
    assert mirrored.interval().high == pytest.approx(z2 / (n + z2), rel=1e-6)


@pytest.mark.parametrize("n", [5, 15, 40])
def test_coverage_where_auc_is_often_one(n: int) -> None:
    """At AUC .99 small samples often separate: Wald limits would be a point at 1."""
    rng, runs, truth = np.random.default_rng(n), 1500, 0.99
    shift = np.sqrt(2) * 2.326348
    estimates = [auc(rng.normal(shift, 1, n), rng.normal(0, 1, n)) for _ in range(runs)]
    assert np.mean([e.value == 1 for e in estimates]) > 0.02
    assert np.mean([e.lower(0.025) > truth for e in estimates]) <= at_most(0.025, runs)


def test_all_scores_equal() -> None:
    estimate = auc(np.zeros(50), np.zeros(70))
    assert estimate.value == 0.5
    assert estimate.interval().low == pytest.approx(1 - estimate.interval().high)
    assert 0.3 < estimate.interval().low < 0.4
    assert estimate.p_above(0.5) == 0.5


def test_limit_outside_the_unit_interval_is_an_error() -> None:
    with pytest.raises(ValueError, match="inside"):
        auc([1, 2], [1, 3]).p_above(1.0)


def test_null_coverage_and_variance() -> None:
    rng, n = np.random.default_rng(5), 500
    estimates = [auc(rng.normal(size=n), rng.normal(size=n)) for _ in range(400)]
    covered = [e.lower(0.025) <= 0.5 <= e.upper(0.025) for e in estimates]
    assert 0.92 <= np.mean(covered) <= 0.98
    assert np.sqrt(np.mean([e.variance for e in estimates])) == pytest.approx(0.0182665, rel=0.01)


@settings(deadline=None)
@given(tied_scores(8), tied_scores(8))
def test_paired_difference_equals_the_covariance_formula(x: np.ndarray, y: np.ndarray) -> None:
    rng = np.random.default_rng(x.size * 10 + y.size)
    second = (rng.permutation(x), rng.permutation(y))
    result = paired_difference((x, second[0]), (y, second[1]))
    gap = _psi(x, y) - _psi(*second)
    assert result.value == pytest.approx(gap.mean(), abs=1e-12)
    if min(x.size, y.size) > 1:
        columns = [
            np.cov(np.stack([_psi(x, y).mean(axis=a), _psi(*second).mean(axis=a)])) for a in (1, 0)
        ]
        variance = sum(
            (c[0, 0] + c[1, 1] - 2 * c[0, 1]) / n
            for c, n in zip(columns, (x.size, y.size), strict=True)
        )
        half = 1.959964 * np.sqrt(max(variance, 0))
        assert result.high - result.value == pytest.approx(half, abs=1e-6)


def test_paired_difference_uses_the_pairing() -> None:
    rng = np.random.default_rng(2)
    x, y = rng.normal(0.5, 1, 300), rng.normal(0, 1, 300)
    noisy = (x + rng.normal(0, 0.3, 300), y + rng.normal(0, 0.3, 300))
    paired = paired_difference((x, noisy[0]), (y, noisy[1]))
    alone = auc(x, y).interval()
    assert paired.high - paired.low < 0.6 * (alone.high - alone.low)
    same = paired_difference((x, x * 2), (y, y * 2))
    assert (same.value, same.low, same.high, same.p_value) == (0, 0, 0, 1)
    with pytest.raises(ShapeError, match="differ in length"):
        paired_difference((x, x[1:]), (y, y))


@settings(deadline=None)
@given(tied_scores(), tied_scores())
def test_roc_curve_encloses_the_auc(x: np.ndarray, y: np.ndarray) -> None:
    points = roc_curve(x, y)
    fpr, tpr = [p.fpr for p in points], [p.tpr for p in points]
    assert (fpr[0], tpr[0], fpr[-1], tpr[-1]) == (0, 0, 1, 1)
    assert np.trapezoid(tpr, fpr) == pytest.approx(auc(x, y).value)
    for p in points:
        threshold_set = [s for s in np.append(y, np.inf) if np.mean(y >= s) == p.fpr]
        assert threshold_set or p.fpr in fpr
        band = clopper_pearson(round(p.tpr * x.size), x.size)
        assert (p.tpr_low, p.tpr_high) == (pytest.approx(band.low), pytest.approx(band.high))


def test_roc_curve_is_thinned_evenly() -> None:
    rng = np.random.default_rng(4)
    x, y = rng.normal(0.5, 1, 20_000), rng.normal(0, 1, 20_000)
    points = roc_curve(x, y)
    assert 200 < len(points) <= 400
    fpr, tpr = np.array([(p.fpr, p.tpr) for p in points]).T
    assert np.all(np.diff(fpr) >= 0)
    assert np.all(np.diff(tpr) >= 0)
    assert np.trapezoid(tpr, fpr) == pytest.approx(auc(x, y).value, abs=1e-3)
    assert np.sum((fpr > 0) & (fpr < 0.001)) >= 10
    assert np.max(np.diff(fpr)) < 0.03
    exact = [np.mean(x >= np.quantile(y, 1 - f)) for f in fpr[1:-1]]
    np.testing.assert_allclose(tpr[1:-1], exact, atol=2e-3)


@settings(deadline=None)
@given(tied_scores(), tied_scores())
def test_distribution_equals_counting(x: np.ndarray, y: np.ndarray) -> None:
    points = score_distribution(x, y)
    assert [p.score for p in points] == sorted(set(x) | set(y), reverse=True)
    assert [p.members for p in points] == [float((x >= p.score).mean()) for p in points]
    assert [p.nonmembers for p in points] == [float((y >= p.score).mean()) for p in points]


def test_distribution_is_thinned_and_keeps_the_ends() -> None:
    rng = np.random.default_rng(2)
    x, y = rng.normal(size=5_000), np.append(rng.normal(size=5_000), 40.0)
    points = score_distribution(x, y)
    assert 3 <= len(points) <= 80
    assert points[0].score == 40
    assert points[-1].score == min(x.min(), y.min())
    assert points[-1].members == points[-1].nonmembers == 1
