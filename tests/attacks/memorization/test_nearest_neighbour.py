"""The oracle: enumeration of all subsets, golden values on digits, and invariances."""

from __future__ import annotations

from itertools import combinations
from math import comb

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from attacks.errors import DataError, ShapeError
from attacks.memorization import (
    leave_one_out_memorization,
    nearest_neighbour,
    nearest_neighbour_memorization,
)
from attacks.memorization.nearest_neighbour import rank_probabilities
from attacks.statistics import auc
from tests.attacks.memorization.synthetic import flipped_digits


def by_enumeration(points, labels, size):
    """Average over every subset, one record at a time."""
    n = len(points)
    out = []
    for i in range(n):
        others = [j for j in range(n) if j != i]
        right = 0
        for subset in combinations(others, size):
            nearest = min(subset, key=lambda j: (np.sum((points[i] - points[j]) ** 2), j))
            right += labels[nearest] == labels[i]
        out.append(1 - right / comb(n - 1, size))
    return np.array(out)


@given(st.integers(2, 8), st.data(), st.integers(0, 2**32 - 1))
def test_equals_the_mean_over_all_subsets(n, data, seed):
    size = data.draw(st.integers(1, n - 1))
    rng = np.random.default_rng(seed)
    # A grid makes equal distances common; rows of a permutation are never equal.
    points = np.column_stack([rng.permutation(n), rng.integers(0, 2, n)]).astype(float)
    labels = rng.integers(0, 3, n)
    result = nearest_neighbour_memorization(points, labels, size)
    np.testing.assert_allclose(result.value, by_enumeration(points, labels, size), atol=1e-12)
    np.testing.assert_allclose(result.mean_out, 1 - result.value)
    assert result.subset_size == size


def test_golden_on_digits():
    points, labels, flipped = flipped_digits()
    n = labels.size
    assert flipped.sum() == 179
    loo = leave_one_out_memorization(points, labels).value
    assert loo[flipped].mean() == pytest.approx(1.000, abs=5e-4)
    assert loo[~flipped].mean() == pytest.approx(0.115, abs=5e-4)
    assert loo.mean() == pytest.approx(0.203, abs=5e-4)
    value = nearest_neighbour_memorization(points, labels, int(0.7 * n)).value
    assert value[flipped].mean() == pytest.approx(0.9967, abs=5e-5)
    assert value[~flipped].mean() == pytest.approx(0.1184, abs=5e-5)
    assert np.mean(value[flipped] >= 0.25) == 1
    assert np.mean(value[~flipped] >= 0.25) == pytest.approx(0.129, abs=5e-4)
    assert auc(value[flipped], value[~flipped]).value == pytest.approx(0.9992, abs=5e-5)


def test_leave_one_out_is_the_largest_subset():
    points, labels, _ = flipped_digits()
    points, labels = points[:300], labels[:300]
    largest = nearest_neighbour_memorization(points, labels, 299)
    assert np.array_equal(largest.value, leave_one_out_memorization(points, labels).value)
    assert leave_one_out_memorization(points, labels).subset_size == 300


@pytest.mark.parametrize(("n", "size"), [(2, 1), (10, 3), (1797, 1257), (50_000, 25_000)])
def test_probabilities_of_ranks_sum_to_one_and_fall(n, size):
    p = rank_probabilities(n, size)
    assert p.shape == (n - size,)
    assert p.sum() == pytest.approx(1, abs=1e-9)
    assert p[0] == pytest.approx(size / (n - 1))
    assert np.all(np.diff(p) <= 0)
    if n <= 10:
        exact = [comb(n - 1 - r, size - 1) / comb(n - 1, size) for r in range(1, n - size + 1)]
        np.testing.assert_allclose(p, exact, rtol=1e-12)


def test_blocks_of_rows_change_nothing(monkeypatch):
    points, labels, _ = flipped_digits()
    points, labels = points[:101], labels[:101]
    whole = nearest_neighbour_memorization(points, labels, 40).value
    alone = leave_one_out_memorization(points, labels).value
    monkeypatch.setattr(nearest_neighbour, "_ELEMENTS", 7 * 101)
    blocked = nearest_neighbour_memorization(points, labels, 40).value
    np.testing.assert_allclose(blocked, whole, atol=1e-15)
    assert np.array_equal(leave_one_out_memorization(points, labels).value, alone)


def test_order_and_scale_of_records_do_not_matter():
    rng = np.random.default_rng(3)
    points, labels = rng.normal(size=(40, 3)), rng.integers(0, 2, 40)
    value = nearest_neighbour_memorization(points, labels, 15).value
    order = rng.permutation(40)
    shuffled = nearest_neighbour_memorization(5 * points[order] + 1, labels[order], 15).value
    np.testing.assert_allclose(shuffled, value[order], atol=1e-12)
    renamed = nearest_neighbour_memorization(points, np.where(labels, "a", "b"), 15).value
    assert np.array_equal(renamed, value)


def test_one_class_is_never_memorized_and_a_lone_label_always():
    points, labels = np.random.default_rng(0).normal(size=(20, 2)), np.zeros(20, dtype=int)
    np.testing.assert_allclose(
        nearest_neighbour_memorization(points, labels, 7).value, 0, atol=1e-12
    )
    labels[4] = 1
    assert nearest_neighbour_memorization(points, labels, 7).value[4] == 1


def test_the_golden_values_notice_a_stub(monkeypatch):
    monkeypatch.setattr(nearest_neighbour, "_by_rows", lambda f, m: np.zeros(len(f)))
    with pytest.raises(AssertionError):
        test_golden_on_digits()


def test_what_is_refused():
    points, labels = np.arange(6.0)[:, None], np.zeros(6)
    with pytest.raises(DataError, match="coincide"):
        leave_one_out_memorization(np.array([[0.0], [1.0], [1.0]]), np.zeros(3))
    with pytest.raises(DataError, match="NaN"):
        leave_one_out_memorization(np.array([[0.0], [np.nan]]), np.zeros(2))
    with pytest.raises(ShapeError, match="n >= 2"):
        leave_one_out_memorization(points[:1], labels[:1])
    with pytest.raises(ShapeError, match="labels"):
        leave_one_out_memorization(points, labels[:5])
    for size in (0, 6):
        with pytest.raises(DataError, match="1 to 5"):
            nearest_neighbour_memorization(points, labels, size)
