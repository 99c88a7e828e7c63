"""Memorized records by group, and the clusters that stand for subpopulations."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import pdist

from attacks.errors import DataError, ShapeError
from attacks.memorization import memorization, memorized_by_group, subpopulations
from attacks.statistics.rates import clopper_pearson


def scores_of(memorized, n_models=32):
    """Memorization 1 where asked for and 0 elsewhere, from complementary halves."""
    keep = np.zeros((n_models, len(memorized)), dtype=bool)
    keep[0::2] = True
    return memorization(keep, np.where(memorized, keep, True))


def test_shares_are_counted_and_their_limits_hold_at_once():
    names = np.repeat(["a", "b", "c"], [30, 10, 20])
    memorized = np.concatenate([np.arange(30) < 6, np.zeros(10, bool), np.ones(20, bool)])
    found = memorized_by_group(scores_of(memorized), names)
    assert [(g.group, g.n_memorized, g.n_records) for g in found] == [
        ("a", 6, 30), ("b", 0, 10), ("c", 20, 20)
    ]  # fmt: skip
    for group in found:
        alone = clopper_pearson(group.n_memorized, group.n_records, confidence=1 - 0.05 / 3)
        assert (group.low, group.high) == pytest.approx(tuple(map(float, alone)))
    with pytest.raises(ShapeError):
        memorized_by_group(scores_of(memorized), names[:5])


@settings(deadline=None, max_examples=25)
@given(seed=st.integers(0, 2**32 - 1), n=st.integers(4, 60))
def test_no_two_records_of_a_cluster_are_further_apart_than_the_radius(seed, n):
    rng = np.random.default_rng(seed)
    points = rng.normal(size=(n, 3))
    labels = np.arange(n) % 2
    cells = labels * 2 + rng.integers(0, 2, n)
    found = subpopulations(points, labels, cells)
    nearest = [
        min(
            float(np.linalg.norm(points[i] - points[j])) for j in range(n) if labels[j] != labels[i]
        )
        for i in range(n)
    ]
    assert found.radius == pytest.approx(np.median(nearest))
    assert set(found.cluster.tolist()) == set(range(int(found.cluster.max()) + 1))
    for number in np.unique(found.cluster):
        own = found.cluster == number
        assert len(set(cells[own].tolist())) == 1
        assert own.sum() == 1 or pdist(points[own]).max() <= found.radius * (1 + 1e-12)


def test_planted_subpopulations_are_found_and_a_lone_record_is_a_singleton():
    rng = np.random.default_rng(0)
    centres = np.array([[0.0, 0], [10, 0], [0, 10], [10, 10], [5, 30]])
    sizes = [20, 15, 25, 10, 1]
    planted = np.repeat(np.arange(5), sizes)
    points = centres[planted] + 0.1 * rng.normal(size=(71, 2))
    labels = np.array([0, 0, 1, 1, 1])[planted]
    found = subpopulations(points, labels, labels).cluster
    assert sorted(np.bincount(found).tolist()) == sorted(sizes)
    assert len({(a, b) for a, b in zip(planted, found, strict=True)}) == 5
    with pytest.raises(DataError, match="two classes"):
        subpopulations(points, np.zeros(71), labels)
