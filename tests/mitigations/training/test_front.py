"""The Pareto front, its area, and the pick: brute force, ties, and Optuna's own."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from attacks.errors import ShapeError
from mitigations.memcontrol.front import hypervolume, pareto_front, picked

POINTS = st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), max_size=64)


def dominates(a, b):
    return a[0] <= b[0] and a[1] <= b[1] and a != b


@settings(max_examples=200, deadline=None)
@given(points=POINTS)
def test_the_front_equals_brute_force_and_keeps_ties(points):
    expected = [i for i, p in enumerate(points) if not any(dominates(q, p) for q in points)]
    assert pareto_front(points).tolist() == expected
    if points:
        worse = (max(p[0] for p in points) + 1, max(p[1] for p in points) + 1)
        assert pareto_front([*points, worse]).tolist() == expected


@settings(max_examples=100, deadline=None)
@given(points=POINTS)
def test_the_area_equals_counted_cells(points):
    cells = sum(any(p[0] <= x and p[1] <= y for p in points) for x in range(6) for y in range(6))
    assert hypervolume(points, (6, 6)) == cells


def test_the_area_equals_optuna_s():
    from optuna._hypervolume import compute_hypervolume

    points = np.random.default_rng(0).random((40, 2))
    inside = points[(points < (0.9, 0.8)).all(axis=1)]
    expected = compute_hypervolume(inside, np.array([0.9, 0.8]))
    assert hypervolume(points, (0.9, 0.8)) == pytest.approx(expected)


def test_the_pick_follows_its_rule():
    points = [(5, 1.0), (3, 1.04), (1, 1.06), (3, 1.02)]
    assert picked(points, [0] * 4, 0.05) == 3
    assert picked(points, [0] * 4, 0.0) == 0
    assert picked(points, [0.1, 0, 0, 0], 0.0) == 2
    assert picked([(2, -0.1), (1, -0.09)], [0, 0], 0.05) == 0
    with pytest.raises(ShapeError, match="no trial"):
        picked([], [], 0.05)
    with pytest.raises(ShapeError, match="finite"):
        pareto_front([(1, np.inf)])
