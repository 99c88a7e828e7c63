"""HopSkipJump on boundaries whose distance is known."""

from __future__ import annotations

import numpy as np
import pytest

from attacks.boundary import Effort, boundary_distances
from attacks.observations import BoundaryDistance

EFFORT = Effort(iterations=6, directions=60, searches=14)


def drawn(d, seed=0, b=EFFORT.directions):
    def draw(rows, iteration):
        draws = [np.random.default_rng((seed, int(r), iteration)).normal(size=(b, d)) for r in rows]
        return np.stack(draws)

    return draw


def plane(d, rng, n=40):
    """Points on one side of a plane, starts on the other, the oracle, and true distances."""
    normal = rng.normal(size=d)
    normal /= np.linalg.norm(normal)
    points = rng.normal(size=(n, d))
    points -= np.maximum(points @ normal, 0)[:, None] * normal * 2 + 0.1 * normal
    starts = rng.normal(size=(n, d))
    starts += (np.abs(starts @ normal) * 2 + 0.5)[:, None] * normal
    return points, starts, (lambda rows, asked: asked @ normal > 0), -(points @ normal)


@pytest.mark.parametrize("d", [2, 8, 30])
def test_the_distance_to_a_plane_is_found(d):
    points, starts, is_other, true = plane(d, np.random.default_rng(d))
    found = boundary_distances(points, starts, is_other, drawn(d), EFFORT)
    begun = boundary_distances(points, starts, is_other, drawn(d), EFFORT._replace(iterations=0))
    assert np.all(found >= true - 1e-9)
    assert np.all(found <= begun)
    assert np.median(found / true) < 1.25
    assert np.mean(found / true) < np.mean(begun / true)
    assert np.corrcoef(found, true)[0, 1] > 0.95


def test_a_bisection_alone_is_the_obvious_loop():
    points, starts, is_other, _ = plane(3, np.random.default_rng(0), n=10)
    effort = Effort(0, 1, 9)
    found = boundary_distances(points, starts, is_other, drawn(3), effort)
    for i in range(10):
        low, high = 0.0, 1.0
        for _ in range(9):
            middle = (low + high) / 2
            here = points[i] + middle * (starts[i] - points[i])
            low, high = (low, middle) if is_other(None, here) else (middle, high)
        expected = high * np.linalg.norm(starts[i] - points[i])
        assert found[i] == pytest.approx(expected)


def test_a_point_does_not_depend_on_the_others_and_repeats():
    points, starts, is_other, _ = plane(5, np.random.default_rng(1), n=6)
    whole = boundary_distances(points, starts, is_other, drawn(5), EFFORT)
    again = boundary_distances(points, starts, is_other, drawn(5), EFFORT)
    first = boundary_distances(points[:1], starts[:1], is_other, drawn(5), EFFORT)
    assert whole.tolist() == again.tolist()
    assert first[0] == pytest.approx(whole[0])


def test_no_more_labels_than_promised():
    points, starts, oracle, _ = plane(4, np.random.default_rng(2), n=7)
    asked = np.zeros(7, int)

    def counting(rows, where):
        np.add.at(asked, rows, 1)
        return oracle(rows, where)

    boundary_distances(points, starts, counting, drawn(4), EFFORT)
    assert asked.max() <= EFFORT.calls
    assert BoundaryDistance(6, 60, 14, 3).calls == 4 + EFFORT.calls


def test_no_point_is_no_distance():
    none = np.zeros((0, 3))
    effort = EFFORT._replace(iterations=0)
    assert (
        boundary_distances(none, none, lambda r, a: np.zeros(0, bool), drawn(3), effort).size == 0
    )
