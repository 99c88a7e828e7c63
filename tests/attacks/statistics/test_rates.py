"""Exact rates, and bounds of TPR at a fixed FPR."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn.metrics import roc_curve as sklearn_roc

from attacks.errors import DataError, ShapeError
from attacks.statistics import rates
from attacks.statistics.identified import tail_probability
from tests.attacks.statistics.draws import at_most, tied_scores


@pytest.mark.parametrize(
    ("k", "n", "low", "high"),
    [
        (0, 10, 0, 0.308497),
        (0, 100, 0, 0.036217),
        (0, 1000, 0, 0.003682),
        (0, 10000, 0, 0.000369),
        (1, 1000, 2.5e-5, 0.005559),
        (5, 1000, 0.001625, 0.011629),
        (10, 1000, 0.004806, 0.018313),
        (10, 10000, 0.000480, 0.001838),
        (50, 1000, 0.037335, 0.065390),
        (84, 1000, 0.067553, 0.102943),
    ],
)
def test_clopper_pearson_golden(k: int, n: int, low: float, high: float) -> None:
    interval = rates.clopper_pearson(k, n)
    np.testing.assert_allclose([interval.low, interval.high], [low, high], atol=6e-7)


def test_zero_of_n_golden() -> None:
    np.testing.assert_allclose(
        rates.upper_limit([0, 0], [100, 1000], alpha=0.05), [0.0295130, 0.0029912], atol=5e-8
    )
    certified = [n for n in range(2900, 3100) if rates.upper_limit(0, n, alpha=0.05) <= 0.001]
    assert certified[0] == 2995


@settings(deadline=None)
@given(st.integers(1, 60), st.data(), st.sampled_from([0.8, 0.95, 0.99]))
def test_clopper_pearson_equals_scipy(n: int, data: st.DataObject, confidence: float) -> None:
    k = data.draw(st.integers(0, n))
    expected = stats.binomtest(k, n).proportion_ci(confidence, method="exact")
    interval = rates.clopper_pearson(k, n, confidence=confidence)
    np.testing.assert_allclose([interval.low, interval.high], expected, atol=1e-9)


@pytest.mark.parametrize("n", [1, 7, 50])
def test_clopper_pearson_covers_everywhere(n: int) -> None:
    counts = np.arange(n + 1)
    interval = rates.clopper_pearson(counts, n)
    for p in np.linspace(0.001, 0.999, 97):
        covered = (interval.low <= p) & (p <= interval.high)
        assert stats.binom.pmf(counts, n, p)[covered].sum() >= 0.95


@pytest.mark.parametrize(
    ("n", "fpr", "r", "r_fail", "median", "high"),
    [
        (200, 0.01, 6, None, 0.055, 0.099),
        (600, 0.01, 12, 2, 0.034, 0.052),
        (1000, 0.01, 18, 4, 0.026, 0.039),
        (5000, 0.01, 65, 37, 0.016, 0.021),
        (200, 0.001, 2, None, 0.026, 0.062),
        (600, 0.001, 3, None, 0.012, 0.026),
        (1000, 0.001, 4, None, 0.0084, 0.017),
        (5000, 0.001, 11, 1, 0.0035, 0.0057),
    ],
)
def test_ranks_and_bounds_of_a_clean_target(
    n: int, fpr: float, r: int, r_fail: int | None, median: float, high: float
) -> None:
    assert rates.pass_rank(n, fpr).rank == r
    assert rates.fail_rank(n, fpr) == r_fail
    # On a clean target k = K_r has a known law: its quantiles are exact, no simulation needed.
    cdf = 1 - tail_probability(np.arange(1, n), r, n, n)
    for quantile, expected in ((0.5, median), (0.95, high)):
        # P(k <= r - 1) is exactly one half, so a simulated median is one of two counts.
        counts = {int(np.searchsorted(cdf, quantile + shift)) for shift in (-1e-9, 1e-9)}
        bounds = [float(rates.upper_bound_of_count(k, n, n, fpr)) for k in counts]
        assert any(bound == pytest.approx(expected, rel=0.03) for bound in bounds)


@settings(deadline=None)
@given(st.integers(1, 400), st.sampled_from([0.001, 0.01, 0.05, 0.3]))
def test_ranks_equal_their_definition(n: int, fpr: float) -> None:
    tail = stats.binom.sf(np.arange(-1, n + 1), n, fpr)  # P(Bin >= 0 .. n + 1)
    r = rates.pass_rank(n, fpr)
    assert r.rank == int(np.flatnonzero(tail <= 0.025)[0])
    assert r.beta == pytest.approx(tail[r.rank])
    assert r.beta + (1 - r.beta) * r.alpha_members == pytest.approx(0.05)
    below = np.flatnonzero(stats.binom.cdf(np.arange(n), n, fpr) <= 0.025)
    assert rates.fail_rank(n, fpr) == (int(below[-1]) + 1 if below.size else None)


@pytest.mark.parametrize(("fpr", "n"), [(0.05, 72), (0.01, 368), (0.001, 3688)])
def test_a_lower_bound_needs_enough_nonmembers(fpr: float, n: int) -> None:
    members = np.ones(20)
    assert rates.tpr_lower_bound(members, np.zeros(n - 1), fpr) is None
    assert rates.tpr_lower_bound(members, np.zeros(n), fpr) == pytest.approx(0.025 ** (1 / 20))


@settings(deadline=None)
@given(tied_scores(), tied_scores(), st.sampled_from([0.05, 0.2, 0.5]))
def test_tpr_at_fpr_equals_sklearn(x: np.ndarray, y: np.ndarray, fpr: float) -> None:
    result = rates.tpr_at_fpr(x, y, fpr)
    assert result.high is not None
    if fpr * y.size < 1:
        assert result.value is None
        assert result.reason
        return
    labels = np.repeat([1, 0], [x.size, y.size])
    alarms, hits, _ = sklearn_roc(labels, np.concatenate([x, y]), drop_intermediate=False)
    best = np.flatnonzero(alarms <= fpr + 1e-12)[-1]
    assert result.value == pytest.approx(hits[best])
    assert result.fpr == pytest.approx(alarms[best])
    assert (result.low or 0) <= result.value <= result.high


@settings(deadline=None)
@given(tied_scores(30), tied_scores(30))
def test_bounds_equal_naive_twins(x: np.ndarray, y: np.ndarray) -> None:
    fpr, ordered = 0.2, sorted(y, reverse=True)
    rank = rates.pass_rank(y.size, fpr)
    k = sum(s >= ordered[rank.rank - 1] for s in x) if rank.rank <= y.size else x.size
    expected = 1.0 if k == x.size else stats.beta.ppf(1 - rank.alpha_members, k + 1, x.size - k)
    assert rates.tpr_upper_bound(x, y, fpr) == pytest.approx(expected)
    strict = rates.fail_rank(y.size, fpr)
    lower = rates.tpr_lower_bound(x, y, fpr)
    if strict is None:
        assert lower is None
        assert rates.tpr_fail_p_value(x, y, fpr, 0.5, level=0.05) == 1
        return
    k = sum(s > ordered[strict - 1] for s in x)
    assert lower == pytest.approx(0 if k == 0 else stats.beta.ppf(0.025, k, x.size - k + 1))
    p = stats.binom.cdf(strict - 1, y.size, fpr) + stats.binom.sf(k - 1, x.size, 0.5)
    assert rates.tpr_fail_p_value(x, y, fpr, 0.5, level=0.05) == pytest.approx(min(p, 1))


def _steep(rng: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Members one standard deviation up: the curve is steep at small FPR."""
    return rng.normal(1, 1, n), rng.normal(0, 1, n)


def _flat(rng: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray]:
    """A tenth of the members far above everything: a step, then flat."""
    return rng.normal(50.0 * (rng.random(n) < 0.1), 1), rng.normal(0, 1, n)


def _tied(rng: np.random.Generator, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Counts: ties everywhere."""
    return rng.poisson(2.0, n).astype(float), rng.poisson(1.0, n).astype(float)


FPR = 0.02
TRUTH = {
    _steep: float(stats.norm.sf(stats.norm.isf(FPR) - 1)),
    _flat: 0.1 + 0.9 * FPR,
    # P(Poisson(1) >= 4) = .019 <= FPR < P(>= 3): the largest threshold set is {4, 5, ...}
    _tied: float(stats.poisson.sf(3, 2.0)),
}


@pytest.mark.parametrize(("draw", "slack"), [(_steep, 0.2), (_flat, 0.1), (_tied, 0.3)])
def test_bounds_cover_the_true_tpr(draw: object, slack: float) -> None:
    runs, rng = 1500, np.random.default_rng(7)
    missed_above = missed_below = 0
    highs = []
    for _ in range(runs):
        x, y = draw(rng, 250)  # type: ignore[operator]
        high, low = rates.tpr_upper_bound(x, y, FPR), rates.tpr_lower_bound(x, y, FPR)
        missed_above += high < TRUTH[draw]  # type: ignore[index]
        missed_below += low is not None and low > TRUTH[draw]  # type: ignore[index]
        highs.append(high)
    assert missed_above / runs <= at_most(0.05, runs)
    assert missed_below / runs <= at_most(0.05, runs)
    assert np.median(highs) < TRUTH[draw] + slack  # type: ignore[index]


def test_the_coverage_test_catches_plug_in_thresholds() -> None:
    """The usual interval, threshold taken as known, misses far too often: the test has teeth."""
    runs, rng, missed = 1000, np.random.default_rng(7), 0
    for _ in range(runs):
        x, y = _steep(rng, 250)
        threshold = rates.nth_largest(y, int(FPR * 250))
        missed += rates.upper_limit(np.sum(x >= threshold), 250, alpha=0.05) < TRUTH[_steep]
    assert missed / runs > at_most(0.05, runs) + 0.03


def test_fail_p_value_keeps_its_level_where_the_plug_in_test_does_not() -> None:
    runs, rng, level = 2000, np.random.default_rng(3), 0.05
    exact = plug_in = 0
    for _ in range(runs):
        x, y = rng.normal(size=600), rng.normal(size=600)
        exact += rates.tpr_fail_p_value(x, y, 0.01, 0.01, level=level) <= level
        k = np.sum(x > rates.nth_largest(y, 7))
        plug_in += stats.binom.sf(k - 1, 600, 0.01) <= level
    assert exact / runs <= at_most(level, runs)
    assert plug_in / runs > 0.08
    k, rank = int(np.sum(x > rates.nth_largest(y, rates.fail_rank(600, 0.01) or 0))), 2
    p = stats.binom.cdf(rank - 1, 600, 0.01) + stats.binom.sf(k - 1, 600, 0.01)
    assert rates.tpr_fail_p_value(x, y, 0.01, 0.01, level=level) == pytest.approx(min(p, 1))
    far = rates.tpr_fail_p_value(np.arange(600.0) + 600, np.arange(600.0), 0.01, 0.06, level=level)
    # However far the members are, the error of the threshold itself stays.
    assert far == pytest.approx(stats.binom.cdf(1, 600, 0.01))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_scores_that_have_no_rank_are_refused(bad: float) -> None:
    with pytest.raises(DataError, match="1 of 3 members are NaN or infinite"):
        rates.tpr_upper_bound([1, bad, 2], [1, 2], 0.01)


@pytest.mark.parametrize("shape", [(0,), (2, 2), ()])
def test_other_shapes_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ShapeError, match="shape"):
        rates.checked_scores(np.zeros(shape))
