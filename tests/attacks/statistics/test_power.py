"""What samples can show, against simulation and definitions."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from attacks.statistics import power
from attacks.statistics.auc import Auc, auc
from attacks.statistics.identified import RANKS, tail_probability, top_evidence
from attacks.statistics.rates import tpr_upper_bound, upper_bound_of_count


@settings(deadline=None)
@given(st.integers(1, 60), st.integers(1, 60), st.sampled_from(RANKS))
def test_critical_count_equals_its_definition(n1: int, n0: int, rank: int) -> None:
    level = 0.01 / 3
    found = [j for j in range(1, n1 + 1) if tail_probability(j, rank, n1, n0) <= level]
    assert power.critical_count(n1, n0, rank, level) == (found[0] if found else None)


def test_twelve_of_six_hundred_is_what_eight_attacks_detect() -> None:
    assert power.smallest_detectable(600, 600, n_attacks=8) == 12
    assert power.smallest_detectable(5000, 5000, n_attacks=8) == 12
    assert power.smallest_detectable(600, 1200, n_attacks=8) < 12
    assert power.detectable_share(600, 600, n_attacks=8).value == 0.02


@pytest.mark.parametrize(("n1", "n0", "n_attacks"), [(50, 50, 1), (60, 20, 2), (40, 200, 8)])
def test_the_detectable_leak_is_found_and_a_smaller_one_is_not(
    n1: int, n0: int, n_attacks: int
) -> None:
    leaked = power.smallest_detectable(n1, n0, n_attacks=n_attacks)
    assert leaked is not None
    rng, runs, level = np.random.default_rng(n1), 400, 0.01 / (3 * n_attacks)
    rates = []
    for m in (leaked, leaked - 2):
        found = 0
        for _ in range(runs):
            members = rng.normal(size=n1)
            members[: max(m, 0)] += 99
            evidence = top_evidence(members, rng.normal(size=n0), level=level)
            found += min(evidence.p_values.values()) <= level
        rates.append(found / runs)
    assert rates[0] >= 0.8 - 3 * np.sqrt(0.16 / runs)
    assert rates[1] < 0.8


def test_too_few_records_can_never_fail() -> None:
    assert power.smallest_detectable(3, 3, n_attacks=1) is None
    estimate = power.detectable_share(3, 3)
    assert estimate.value is None
    assert "too few" in (estimate.reason or "")
    # Three planted records: the cure is nonmembers.
    needed = power.nonmembers_to_fail(3, 100, 100)
    assert needed is not None
    assert tail_probability(3, 1, 100, needed) <= 0.01 / 3
    assert tail_probability(3, 1, 100, int(needed / 1.06)) > 0.01 / 3
    assert power.nonmembers_to_fail(0, 100, 100) is None


@pytest.mark.parametrize(("n", "limit"), [(200, 0.03), (100, 0.06), (300, 0.02)])
def test_clean_pass_probability_equals_simulation(n: int, limit: float) -> None:
    rng, runs = np.random.default_rng(n), 1500
    passed = np.mean(
        [
            tpr_upper_bound(rng.normal(size=n), rng.normal(size=n), 0.001) < limit
            for _ in range(runs)
        ]
    )
    expected = power.clean_pass_probability(n, n, fpr=0.001, limit=limit)
    assert 0.05 < expected < 0.95
    assert passed == pytest.approx(expected, abs=3 * np.sqrt(0.25 / runs))


def test_largest_passing_count_is_the_last_below_the_limit() -> None:
    k = power.largest_passing_count(600, 600, fpr=0.001, limit=0.03)
    bounds = upper_bound_of_count([k, k + 1], 600, 600, 0.001)
    assert bounds[0] < 0.03 <= bounds[1]
    assert power.largest_passing_count(50, 50, fpr=0.001, limit=0.03) == -1
    assert power.clean_pass_probability(50, 50, fpr=0.001, limit=0.03) == 0


def test_records_to_pass_is_enough_in_simulation() -> None:
    """A clean target at 200 a side is often inconclusive; the advice brings it to about 80 %."""
    n1, n0 = power.records_to_pass(2, 200, 200, fpr=0.001, limit=0.02) or (0, 0)
    assert 200 < n1 < 2000
    assert n0 == n1
    probability = power.clean_pass_probability(n1, n0, fpr=0.001, limit=0.02)
    assert probability >= 0.7
    assert power.records_to_pass(100, 200, 200, fpr=0.01, limit=0.03) is None
    # A true TPR next to the limit would take more records than anyone has.
    slope = 6.5 / 200 / (6 / 200)
    assert power.records_to_pass(6, 200, 200, fpr=0.01, limit=slope * 0.01 * 1.0001) is None


def test_records_for_auc_is_enough_in_simulation() -> None:
    rng = np.random.default_rng(4)
    estimate = Auc(0.55, auc(rng.normal(0.178, 1, 100), rng.normal(size=100)).variance, 100, 100)
    sizes = power.records_for_auc(estimate, 0.60, alpha=0.05)
    assert sizes is not None
    n1, n0 = sizes
    passed = [
        auc(rng.normal(0.1777, 1, n1), rng.normal(size=n0)).upper(0.05) < 0.60 for _ in range(300)
    ]
    assert np.mean(passed) == pytest.approx(0.8, abs=0.1)
    assert power.records_for_auc(Auc(0.6, 0.001, 9, 9), 0.6, alpha=0.05) is None
    assert power.records_for_auc(Auc(1.0, 0.0, 9, 9), 0.6, alpha=0.01) is not None


def test_reachable_verdicts_by_size() -> None:
    tiny = power.reachable_verdicts(20, 20, 8)
    assert [r.can_pass for r in tiny] == [False, False]
    assert tiny[0].can_fail
    assert not power.reachable_verdicts(3, 3, 8)[0].can_fail
    assert not power.reachable_verdicts(3, 3, 8)[1].can_fail
    small, usual, large = (power.reachable_verdicts(n, n, 8)[0] for n in (200, 600, 5000))
    assert small.clean_pass < 0.05
    assert usual.clean_pass == pytest.approx(0.86, abs=0.03)
    assert large.clean_pass > 0.99
    assert usual.detectable == 0.02
    strict = power.reachable_verdicts(600, 600, 8, limit=0.01)[0]
    assert strict.clean_pass < 0.05
    assert "a leak of 12 of 600 would FAIL" in usual.explanation


def test_reachable_auc_agrees_with_simulation() -> None:
    rng, n, runs = np.random.default_rng(2), 150, 1500
    reachable = power.reachable_verdicts(n, n, 1)[1]
    inside = 0
    for _ in range(runs):
        estimate = auc(rng.normal(size=n), rng.normal(size=n))
        inside += estimate.lower(0.05) > 0.40 and estimate.upper(0.05) < 0.60
    assert inside / runs == pytest.approx(reachable.clean_pass, abs=0.05)
