"""Epsilon from a confusion matrix: golden values, exact coverage, ceilings."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from attacks.errors import DataError, ShapeError, UsageError
from attacks.statistics import (
    Confusion,
    confusion_at,
    epsilon_limit,
    epsilon_lower_bound,
    epsilon_of_mu,
)
from tests.attacks.statistics.draws import at_most

GOLDEN = [
    # hits of members, false alarms of nonmembers, delta, epsilon
    ((500, 500), (0, 500), 0.0, 4.90559),
    ((1000, 1000), (0, 1000), 0.0, 5.60059),
    ((5000, 5000), (0, 5000), 0.0, 7.2115),
    ((500, 1000), (0, 1000), 0.0, 4.84616),
    ((100, 1000), (1, 1000), 0.0, 2.69260),
    ((84, 1000), (1, 1000), 0.0, 2.49750),
    ((90, 1000), (1, 1000), 1e-5, 2.574787),
    ((400, 500), (100, 500), 1e-5, 1.164811),
]
COUNTS = st.tuples(*[st.integers(0, 40)] * 4).filter(lambda c: c[0] + c[1] > 0 and c[2] + c[3] > 0)


@pytest.mark.parametrize(("members", "nonmembers", "delta", "expected"), GOLDEN)
def test_golden(
    members: tuple[int, int], nonmembers: tuple[int, int], delta: float, expected: float
) -> None:
    (tp, n1), (fp, n0) = members, nonmembers
    bound = epsilon_lower_bound(Confusion(tp, n1 - tp, fp, n0 - fp), delta=delta)
    assert bound.lower == pytest.approx(expected, abs=6e-6)
    assert float(epsilon_limit(tp, n1, fp, n0, delta=delta)) == bound.lower


def test_limits_behind_the_first_golden_value() -> None:
    bound = epsilon_lower_bound(Confusion(500, 0, 0, 500), delta=0)
    assert bound.tpr_low == pytest.approx(0.99265, abs=6e-6)
    assert bound.fpr_high == pytest.approx(0.00735, abs=6e-6)
    assert bound.lower == bound.ceiling
    assert bound.estimate is None
    assert "no false positives" in (bound.reason or "")


@pytest.mark.parametrize("n", [50, 500, 5000, 100_000])
def test_a_perfect_attack_certifies_about_the_log_of_the_sample(n: int) -> None:
    ceiling = epsilon_lower_bound(Confusion(1, n - 1, n, 0), delta=0).ceiling
    assert ceiling == pytest.approx(math.log(n / math.log(2 / 0.05)), abs=2 * math.log(40) / n)


def slow_bound(tp: int, fn: int, fp: int, tn: int, delta: float, alpha: float) -> float:
    """Each of the two sides spelt out, with limits from the quantiles of scipy."""
    best = 0.0
    for k1, n1, k0, n0 in ((tp, tp + fn, fp, fp + tn), (tn, fp + tn, fn, tp + fn)):
        low = stats.beta.ppf(alpha / 2, k1, n1 - k1 + 1) if k1 else 0.0
        high = stats.beta.ppf(1 - alpha / 2, k0 + 1, n0 - k0) if k0 < n0 else 1.0
        if low > delta:
            best = max(best, math.log((low - delta) / high))
    return best


@given(counts=COUNTS, delta=st.sampled_from([0.0, 1e-5, 0.1]), alpha=st.sampled_from([0.01, 0.2]))
def test_equals_the_formula_spelt_out(
    counts: tuple[int, int, int, int], delta: float, alpha: float
) -> None:
    bound = epsilon_lower_bound(Confusion(*counts), delta=delta, alpha=alpha)
    assert bound.lower == pytest.approx(slow_bound(*counts, delta, alpha), abs=1e-9)
    assert 0 <= bound.lower <= bound.ceiling < math.inf
    assert (bound.estimate is None) == (bound.reason is not None)
    if bound.estimate is not None:
        assert bound.lower <= bound.estimate < math.inf


@given(counts=COUNTS)
def test_what_must_not_matter_and_what_must_not_help(counts: tuple[int, int, int, int]) -> None:
    tp, fn, fp, tn = counts
    bound = epsilon_lower_bound(Confusion(*counts), delta=0.01)
    exchanged = epsilon_lower_bound(Confusion(tn, fp, fn, tp), delta=0.01)
    assert exchanged.lower == pytest.approx(bound.lower, abs=1e-12)
    assert exchanged.estimate == pytest.approx(bound.estimate)
    shared = epsilon_lower_bound(Confusion(*counts), delta=0.01, n_thresholds=20)
    strict = epsilon_lower_bound(Confusion(*counts), delta=0.01, alpha=0.05 / 20)
    assert (shared.lower, shared.ceiling) == (strict.lower, strict.ceiling)
    assert (shared.tpr_low, shared.fpr_high) == (strict.tpr_low, strict.fpr_high)
    for weaker in (
        shared,
        epsilon_lower_bound(Confusion(*counts), delta=0.02),
        epsilon_lower_bound(Confusion(*counts), delta=0.01, alpha=0.01),
    ):
        assert weaker.lower <= bound.lower
        assert weaker.ceiling <= bound.ceiling


def test_arrays_equal_a_loop() -> None:
    tp, fp = np.arange(31)[:, None], np.arange(21)
    together = epsilon_limit(tp, 30, fp, 20, delta=1e-3)
    alone = [[float(epsilon_limit(i, 30, j, 20, delta=1e-3)) for j in fp] for i in range(31)]
    assert together.tolist() == alone
    assert (np.diff(together, axis=0)[:, 0] >= 0).all()  # more hits never lower the bound
    assert together.max() > 1.5


@pytest.mark.parametrize("n", [1, 3])
def test_every_outcome_is_finite(n: int) -> None:
    for tp in range(n + 1):
        for fp in range(n + 1):
            bound = epsilon_lower_bound(Confusion(tp, n - tp, fp, n - fp), delta=0)
            assert math.isfinite(bound.lower)
            assert bound.lower <= bound.ceiling


@pytest.mark.parametrize("epsilon", [0.0, 0.5, 2.0])
@pytest.mark.parametrize("delta", [0.0, 0.05])
@pytest.mark.parametrize("fpr", [0.01, 0.2, None])
def test_coverage_is_exact_on_the_edge_of_the_region(
    epsilon: float, delta: float, fpr: float | None
) -> None:
    """Over all outcomes of 40 + 40 trials; None: randomised response, where both sides are tight."""
    n, ratio = 40, math.exp(epsilon)
    fpr = (1 - delta) / (1 + ratio) if fpr is None else fpr
    tpr = min(ratio * fpr + delta, 1 - (1 - delta - fpr) / ratio)
    counts = np.arange(n + 1)
    bounds = epsilon_limit(counts[:, None], n, counts, n, delta=delta)
    chance = stats.binom.pmf(counts, n, tpr)[:, None] * stats.binom.pmf(counts, n, fpr)
    assert chance[bounds > epsilon + 1e-12].sum() <= 0.05
    hits, alarms = counts[:, None] / n, counts / n
    plug_in = np.maximum(
        (hits - delta) / np.maximum(alarms, 1e-9),
        (1 - alarms - delta) / np.maximum(1 - hits, 1e-9),
    )
    assert chance[plug_in > ratio + 1e-9].sum() > 0.2  # the check has teeth


def test_gaussian_mechanism_stays_below_its_epsilon() -> None:
    rng, runs, n, delta = np.random.default_rng(11), 4000, 500, 1e-5
    for mu in (0.5, 1.0, 2.0):
        truth = epsilon_of_mu(mu, delta)
        for threshold in (mu / 2, 2.5):
            hits = rng.binomial(n, stats.norm.sf(threshold - mu), runs)
            alarms = rng.binomial(n, stats.norm.sf(threshold), runs)
            bounds = epsilon_limit(hits, n, alarms, n, delta=delta)
            assert np.mean(bounds > truth) <= at_most(0.05, runs)
            assert mu < 2 or np.median(bounds) > 1.2  # and it does see a leak


def test_nothing_is_found_where_nothing_leaks() -> None:
    rng, runs, n = np.random.default_rng(12), 4000, 500
    hits, alarms = rng.binomial(n, 0.3, (2, runs))
    assert np.mean(epsilon_limit(hits, n, alarms, n, delta=0) > 0) <= at_most(0.05, runs)


def test_many_looks_need_their_correction() -> None:
    """The best of 200 guesses without information: at alpha it errs too often, corrected never."""
    rng, runs, n, looks = np.random.default_rng(13), 1000, 200, 200
    hits, alarms = rng.binomial(n, 0.5, (2, runs, looks))
    greedy = epsilon_limit(hits, n, alarms, n, delta=0).max(axis=1) > 0
    corrected = epsilon_limit(hits, n, alarms, n, delta=0, alpha=0.05 / looks).max(axis=1) > 0
    assert corrected.mean() <= at_most(0.05, runs)
    assert greedy.mean() > at_most(0.05, runs)


def test_threshold_ties_are_never_split() -> None:
    found = confusion_at([1, 2, 2, 3], [0, 2, 2], 2)
    assert found == Confusion(3, 1, 2, 1)
    assert (found.n_members, found.n_nonmembers) == (4, 3)
    assert found.without_errors == Confusion(4, 0, 0, 3)


@pytest.mark.parametrize(
    ("counts", "delta", "expected"),
    [
        ((50, 50, 25, 75), 0.0, math.log(2)),
        ((75, 25, 50, 50), 0.0, math.log(2)),  # the other side decides
        ((50, 50, 25, 75), 0.25, math.log(1.0)),
        ((10, 90, 20, 80), 0.0, 0.0),
        ((0, 5, 0, 5), 0.0, 0.0),
    ],
)
def test_plug_in_estimate(counts: tuple[int, int, int, int], delta: float, expected: float) -> None:
    bound = epsilon_lower_bound(Confusion(*counts), delta=delta)
    assert bound.estimate == pytest.approx(expected)


def test_an_infinite_estimate_names_its_side() -> None:
    assert "false negatives" in str(epsilon_lower_bound(Confusion(9, 0, 3, 6), delta=0).reason)
    assert "false positives" in str(epsilon_lower_bound(Confusion(3, 6, 0, 9), delta=0).reason)


def test_the_result_says_what_it_rests_on() -> None:
    bound = epsilon_lower_bound(Confusion(90, 910, 1, 999), delta=1e-5, n_thresholds=4)
    assert "training of its own" in bound.assumption
    assert "Clopper-Pearson" in bound.method
    assert (bound.unit, bound.n_thresholds, bound.alpha) == ("nats", 4, 0.05)
    assert (bound.n_members, bound.n_nonmembers, bound.delta) == (1000, 1000, 1e-5)
    with pytest.raises(dataclasses.FrozenInstanceError):
        bound.lower = 9.0  # type: ignore[misc]


@pytest.mark.parametrize(
    ("counts", "message"),
    [
        ((-1, 5, 1, 1), "true_positives must be at least 0"),
        ((0, 0, 1, 1), "member trials must be at least 1"),
        ((1, 1, 0, 0), "nonmember trials must be at least 1"),
        ((1.5, 1, 1, 1), "must be a whole number"),
    ],
)
def test_impossible_counts_are_refused(counts: tuple, message: str) -> None:
    with pytest.raises(DataError, match=message):
        Confusion(*counts)


@pytest.mark.parametrize(
    ("levels", "message"),
    [
        ({"delta": -0.1}, "delta must lie"),
        ({"delta": 1.0}, "delta must lie"),
        ({"delta": float("nan")}, "delta must lie"),
        ({"delta": 0.0, "alpha": 0.0}, "alpha is an error probability"),
        ({"delta": 0.0, "alpha": 0.6}, "alpha is an error probability"),
    ],
)
def test_impossible_levels_are_refused(levels: dict[str, float], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        epsilon_lower_bound(Confusion(1, 1, 1, 1), **levels)


def test_other_inputs_are_refused() -> None:
    with pytest.raises(DataError, match="n_thresholds must be at least 1"):
        epsilon_lower_bound(Confusion(1, 1, 1, 1), delta=0, n_thresholds=0)
    with pytest.raises(DataError, match="NaN or infinite"):
        confusion_at([np.nan], [1.0], 0)
    with pytest.raises(ShapeError, match="nonmembers"):
        confusion_at([1.0], [], 0)
