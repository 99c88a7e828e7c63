"""Evidence at the top of a ranking: exact laws, lower bounds, names, subjects."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from attacks.errors import DataError, ShapeError
from attacks.statistics import identified as idf
from attacks.statistics.auc import auc
from attacks.statistics.rates import lower_limit, nth_largest, pass_rank
from tests.attacks.statistics.draws import at_most, correlated_noise, tied_scores


@settings(deadline=None)
@given(st.integers(0, 30), st.integers(1, 12), st.integers(1, 30), st.integers(1, 30))
def test_tail_probability_equals_scipy(j: int, r: int, n1: int, n0: int) -> None:
    if j > n1:
        expected = 0.0
    elif j == 0 or r > n0:
        expected = 1.0
    else:
        expected = float(stats.hypergeom.cdf(r - 1, n1 + n0, n0, j + r - 1))
    expected = 1.0 if r > n0 else expected
    assert idf.tail_probability(j, r, n1, n0) == pytest.approx(expected, rel=1e-8, abs=1e-14)


def test_tail_probability_by_enumeration() -> None:
    n1, n0 = 4, 5
    counts = []
    for rows in combinations(range(n1 + n0), n0):  # position 0 is the highest score
        nonmembers = -np.array(rows, dtype=float)
        members = -np.array([i for i in range(n1 + n0) if i not in rows], dtype=float)
        counts.append([idf.count_above(members, nonmembers, r) for r in (1, 3)])
    for column, r in enumerate((1, 3)):
        k = np.array(counts)[:, column]
        for j in range(n1 + 1):
            assert idf.tail_probability(j, r, n1, n0) == pytest.approx(np.mean(k >= j))


def test_tail_probability_of_a_million_records_is_accurate() -> None:
    expected = stats.hypergeom.cdf(9, 1_000_000, 500_000, 40)
    assert idf.tail_probability(31, 10, 500_000, 500_000) == pytest.approx(expected, rel=1e-6)


@settings(deadline=None)
@given(tied_scores(20), tied_scores(20), st.sampled_from([1, 3, 10]))
def test_count_above_is_strict(x: np.ndarray, y: np.ndarray, rank: int) -> None:
    expected = 0
    if rank <= y.size:
        threshold = sorted(y, reverse=True)[rank - 1]
        expected = sum(bool(s > threshold) for s in x)
    assert idf.count_above(x, y, rank) == expected


@settings(deadline=None)
@given(st.integers(1, 40), st.integers(1, 40), st.sampled_from([1, 3, 10]), st.data())
def test_leaked_at_least_equals_the_linear_search(
    n1: int, n0: int, rank: int, data: st.DataObject
) -> None:
    count = data.draw(st.integers(0, n1))
    level = data.draw(st.sampled_from([0.01, 0.05, 0.01 / 24]))
    p = [float(idf.tail_probability(count - m, rank, n1 - m, n0)) for m in range(count + 1)]
    assert np.all(np.diff(p) >= -1e-12)  # what bisection relies on
    expected = next(m for m, value in enumerate(p) if value > level)
    assert idf.leaked_at_least(count, rank, n1, n0, level=level) == expected


def test_three_planted_records_cannot_fail_in_equal_sets_but_can_with_nonmembers() -> None:
    level = 0.01 / 3
    for n1, n0, can in (
        (100, 100, False),
        (600, 600, False),
        (5000, 5000, False),
        (100, 900, True),
    ):
        rng = np.random.default_rng(n0)
        members, nonmembers = rng.normal(-9, 1, n1), rng.normal(0, 1, n0)
        members[:3] = 1e6  # however large the gap
        evidence = idf.top_evidence(members, nonmembers, level=level)
        assert evidence.counts[1] == 3
        assert (evidence.p_value <= 0.01) is can
        assert (evidence.leaked_at_least > 0) is can


def test_evidence_survives_contaminated_nonmembers_at_rank_ten() -> None:
    rng = np.random.default_rng(0)
    members, nonmembers = rng.normal(size=600), rng.normal(size=600)
    members[:60] += 8
    nonmembers[:5] += 20
    evidence = idf.top_evidence(members, nonmembers, level=0.01 / 24)
    assert evidence.counts[1] == evidence.counts[3] == 0
    assert evidence.best_rank == 10
    assert 20 < evidence.leaked_at_least <= 60


@pytest.mark.parametrize(("leaked", "mean"), [(12, 4.7), (30, 23.5)])
def test_the_number_leaked_rarely_exceeds_the_truth(leaked: int, mean: float) -> None:
    runs, n, n_attacks = 200, 600, 8
    rng, bounds = np.random.default_rng(leaked), []
    for _ in range(runs):
        scores = correlated_noise(rng, n_attacks, 2 * n)
        scores[:, :leaked] += 6
        level = 0.01 / (3 * n_attacks)
        evidence = [idf.top_evidence(s[:n], s[n:], level=level) for s in scores]
        bounds.append(max(e.leaked_at_least for e in evidence))
    assert np.mean(np.array(bounds) > leaked) <= at_most(0.01, runs)
    assert np.mean(bounds) == pytest.approx(mean, abs=1.0)


def test_nothing_leaked_is_almost_never_counted() -> None:
    runs, n, n_attacks, rng = 300, 300, 8, np.random.default_rng(11)
    level, hits = 0.01 / (3 * n_attacks), 0
    for _ in range(runs):
        scores = correlated_noise(rng, n_attacks, 2 * n)
        hits += any(idf.top_evidence(s[:n], s[n:], level=level).leaked_at_least for s in scores)
    assert hits / runs <= at_most(0.01, runs)


@settings(deadline=None)
@given(tied_scores(), tied_scores())
def test_outlier_p_values_equal_the_naive_count(x: np.ndarray, y: np.ndarray) -> None:
    expected = [(1 + sum(s <= t for t in y)) / (y.size + 1) for s in x]
    np.testing.assert_allclose(idf.outlier_p_values(x, y), expected)


def test_names_are_mostly_right_and_clean_targets_have_none() -> None:
    rng, n, named, right, clean = np.random.default_rng(8), 600, [], [], 0
    for _ in range(200):
        x, y = rng.normal(size=n), rng.normal(size=n)
        clean += bool(idf.named_members(x, y).any())
        x[:12] += 6
        found = idf.named_members(x, y)
        named.append(found.sum())
        right.append(found[:12].sum())
    assert clean <= 2
    assert np.mean(named) == pytest.approx(13.2, abs=0.5)
    assert np.mean(right) == pytest.approx(12.0, abs=0.2)


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 4)), min_size=1, max_size=20))
def test_max_per_subject_equals_a_loop(rows: list[tuple[int, int]]) -> None:
    subjects = np.array([f"s{s}" for s, _ in rows])
    scores = np.array([float(v) for _, v in rows])
    members = np.array([s % 2 == 0 for s, _ in rows])
    result = idf.max_per_subject(scores, members, subjects)
    for name, value, member, row in zip(sorted(set(subjects)), *result, strict=True):
        own = [i for i, s in enumerate(subjects) if s == name]
        assert value == max(scores[i] for i in own)
        assert row == min(i for i in own if scores[i] == value)
        assert member == members[own[0]]


def test_subjects_on_both_sides_and_wrong_shapes_are_refused() -> None:
    with pytest.raises(DataError, match="1 subjects have records among members and nonmembers"):
        idf.max_per_subject([1, 2, 3], np.array([True, False, False]), np.array([1, 1, 2]))
    with pytest.raises(ShapeError, match="differ"):
        idf.max_per_subject([1, 2], np.array([True]), np.array([1, 1]))


def test_fourteen_of_eighteen_separates_weak_from_working_attacks() -> None:
    """Planted records raise the score by ten standard deviations times the attack's sensitivity."""
    assert lower_limit(14, 18, alpha=0.025) >= 0.5 > lower_limit(13, 18, alpha=0.025)
    rng, runs = np.random.default_rng(18), 600
    caught, caught_by_auc = {}, {}
    for sensitivity in (0.2, 0.5):
        hits = by_auc = 0
        for _ in range(runs):
            planted, others = rng.normal(10 * sensitivity, 1, 18), rng.normal(size=110)
            threshold = nth_largest(others, pass_rank(110, 0.001).rank)
            k = np.sum(planted >= threshold)
            hits += lower_limit(k, 18, alpha=0.025) >= 0.5
            by_auc += auc(planted[:16], others[:16]).lower(0.025) > 0.5
        caught[sensitivity], caught_by_auc[sensitivity] = hits / runs, by_auc / runs
    assert caught[0.2] <= 0.06
    assert caught[0.5] >= 0.99
    assert caught_by_auc[0.2] > 0.9  # why the control does not look at an AUC
