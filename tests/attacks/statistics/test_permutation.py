"""Joint permutation tests against enumeration, scipy and their own level."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from attacks.errors import DataError, ShapeError
from attacks.statistics import permutation as perm
from attacks.statistics.auc import auc
from attacks.statistics.identified import RANKS, count_above, tail_probability
from tests.attacks.statistics.draws import at_most, correlated_noise


def _slow_statistic(scores: np.ndarray, members: np.ndarray) -> float:
    """Smallest exact p over attacks and ranks, by counting."""
    sizes = int(members.sum()), int((~members).sum())
    return min(
        float(tail_probability(count_above(row[members], row[~members], r), r, *sizes))
        for row in scores
        for r in RANKS
    )


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_identified_equals_enumeration(data: st.DataObject) -> None:
    n1, n0 = data.draw(st.integers(1, 4)), data.draw(st.integers(1, 5))
    n = n1 + n0
    values = st.lists(st.integers(0, 5), min_size=n, max_size=n)
    scores = np.array([data.draw(values) for _ in range(2)], dtype=float)
    members = np.arange(n) < n1
    law = []
    for chosen in combinations(range(n), n1):
        labels = np.zeros(n, dtype=bool)
        labels[list(chosen)] = True
        law.append(_slow_statistic(scores, labels))
    observed = _slow_statistic(scores, members)
    exact = np.mean(np.array(law) <= observed * (1 + 1e-12))
    result = perm.joint_identified_test(
        scores, members, rng=np.random.default_rng(0), permutations=4000
    )
    assert result.statistic.min() == pytest.approx(observed)
    assert result.p_value == pytest.approx(exact, abs=0.035)


@pytest.mark.parametrize(("n1", "n0"), [(1, 1), (1, 30), (30, 1), (2, 2), (40, 9), (300, 4)])
def test_identified_at_odd_sizes(n1: int, n0: int) -> None:
    rng = np.random.default_rng(n1)
    scores = [np.arange(n1 + n0)[::-1].astype(float), np.zeros(n1 + n0), rng.normal(size=n1 + n0)]
    result = perm.joint_identified_test(scores, np.arange(n1 + n0) < n1, rng=rng, permutations=999)
    assert result.adjusted[1] == 1  # all equal: no evidence
    # All members above all nonmembers: as extreme as can be, so p is near 1 / C(n, n1) or less.
    assert 1 / 1000 <= result.adjusted[0] <= max(0.1, 4 * n1 / (n1 + n0))
    assert result.p_value == result.adjusted.min()


def test_identified_keeps_its_level_under_correlation_and_beats_bonferroni() -> None:
    runs, n, rng = 1000, 60, np.random.default_rng(21)
    members = np.arange(2 * n) < n
    rejected = bonferroni = 0
    for _ in range(runs):
        scores = correlated_noise(rng, 6, 2 * n, 0.9)
        rejected += (
            perm.joint_identified_test(scores, members, rng=rng, permutations=199).p_value <= 0.05
        )
        bonferroni += (
            perm.joint_identified_test(scores, members, rng=rng, permutations=0).p_value <= 0.05
        )
    assert rejected / runs <= at_most(0.05, runs)
    assert rejected / runs > 0.03  # calibrated, not merely conservative
    assert bonferroni < rejected


def test_identified_finds_twelve_in_one_attack_of_eight() -> None:
    rng = np.random.default_rng(5)
    scores = correlated_noise(rng, 8, 1200)
    scores[3, :12] += 6
    result = perm.joint_identified_test(scores, np.arange(1200) < 600, rng=rng, permutations=1999)
    assert result.p_value <= 0.01
    assert int(np.argmin(result.adjusted)) == 3
    assert np.sum(result.adjusted <= 0.01) == 1


def test_identified_is_deterministic_and_independent_of_record_order() -> None:
    rng = np.random.default_rng(6)
    scores, members = correlated_noise(rng, 3, 200), np.arange(200) < 100
    first, again = (
        perm.joint_identified_test(scores, members, rng=np.random.default_rng(1), permutations=500)
        for _ in range(2)
    )
    assert first.p_value == again.p_value
    order = rng.permutation(200)
    moved = perm.joint_identified_test(
        scores[:, order], members[order], rng=np.random.default_rng(1), permutations=500
    )
    np.testing.assert_allclose(moved.statistic, first.statistic)


def test_labels_are_drawn_without_replacement() -> None:
    rng = np.random.default_rng(0)
    everyone = perm._draw_nonmembers(30, 18, 12, 4000, rng)
    assert np.all(everyone.sum(axis=0) == 12)
    np.testing.assert_allclose(everyone.mean(axis=1), 0.4, atol=0.04)
    pairs = (everyone[3] & everyone[20]).mean()
    assert pairs == pytest.approx(12 * 11 / (30 * 29), abs=0.03)


def test_blocks_cover_every_permutation(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(perm, "_CELLS", 1000)
    assert sum(perm._blocks(999, 30)) == 999
    assert sum(perm._blocks(5, 10**9)) == 5
    assert list(perm._blocks(0, 3)) == []


def test_joint_auc_equals_enumeration() -> None:
    rng = np.random.default_rng(3)
    scores = rng.integers(0, 6, size=(2, 9)).astype(float)
    members = np.arange(9) < 4

    choices = [list(c) for c in combinations(range(9), 4)]
    spreads = [np.std([auc(row[c], np.delete(row, c)).value for c in choices]) for row in scores]

    def statistic(labels: np.ndarray) -> float:
        return max(
            abs(auc(row[labels], row[~labels]).value - 0.5) / spread
            for row, spread in zip(scores, spreads, strict=True)
        )

    law = []
    for chosen in combinations(range(9), 4):
        labels = np.zeros(9, dtype=bool)
        labels[list(chosen)] = True
        law.append(statistic(labels))
    observed = statistic(members)
    result = perm.joint_auc_test(scores, members, rng=rng, permutations=5000)
    assert np.abs(result.statistic).max() == pytest.approx(observed)
    assert result.p_value == pytest.approx(np.mean(np.array(law) >= observed - 1e-9), abs=0.03)


def test_joint_auc_keeps_one_percent_where_a_fixed_band_fails() -> None:
    runs, n, rng = 500, 100, np.random.default_rng(9)
    members = np.arange(2 * n) < n
    rejected = outside = 0
    for _ in range(runs):
        scores = correlated_noise(rng, 8, 2 * n)
        result = perm.joint_auc_test(scores, members, rng=rng, permutations=199)
        rejected += result.p_value <= 0.01
        outside += any(not 0.45 <= auc(s[members], s[~members]).value <= 0.55 for s in scores)
    assert rejected / runs <= at_most(0.01, runs)
    assert outside / runs > 0.5


def test_joint_auc_sees_both_directions_and_ignores_constants() -> None:
    rng = np.random.default_rng(1)
    members = np.arange(200) < 100
    scores = np.stack([rng.normal(size=200) - 1.5 * members, np.zeros(200)])
    result = perm.joint_auc_test(scores, members, rng=rng, permutations=999)
    assert result.p_value == pytest.approx(0.001)
    assert result.statistic[0] < -5
    assert result.statistic[1] == 0
    assert result.adjusted[1] == 1


def test_mismatched_scores_are_refused() -> None:
    rng, members = np.random.default_rng(0), np.array([True, False, True])
    with pytest.raises(ShapeError, match="for each attack"):
        perm.joint_identified_test([np.zeros(2)], members, rng=rng)
    with pytest.raises(ShapeError, match="for each attack"):
        perm.joint_auc_test([], members, rng=rng)
    with pytest.raises(DataError, match="NaN"):
        perm.joint_auc_test([np.array([1, np.nan, 2])], members, rng=rng)
    with pytest.raises(DataError, match="one group is empty"):
        perm.joint_auc_test([np.zeros(3)], np.ones(3, dtype=bool), rng=rng)
