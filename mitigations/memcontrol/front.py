"""The Pareto front of two figures that are both to be small, exactly."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from attacks.errors import ShapeError


def pareto_front(points: ArrayLike) -> NDArray[np.int64]:
    """Positions of the points that no other dominates, ascending; equal points are all kept.

    points: (n, 2), finite. A point dominates another if it is nowhere larger and somewhere
    smaller.
    """
    values = _checked(points)
    order = np.lexsort((values[:, 1], values[:, 0]))
    kept: list[int] = []
    best = np.inf
    last: tuple[float, float] | None = None
    for i in order:
        point = (float(values[i, 0]), float(values[i, 1]))
        if point[1] < best or point == last:
            kept.append(int(i))
            best, last = point[1], point
    return np.array(sorted(kept), dtype=np.int64)


def hypervolume(points: ArrayLike, reference: Sequence[float]) -> float:
    """Area that the points dominate, up to the reference point; those beyond it add nothing."""
    values = _checked(points)
    inside = values[(values < np.asarray(reference, dtype=np.float64)).all(axis=1)]
    if not len(inside):
        return 0.0
    front = inside[pareto_front(inside)]
    front = front[np.lexsort((front[:, 1], front[:, 0]))]
    above = np.concatenate([[reference[1]], front[:-1, 1]])
    return float(((reference[0] - front[:, 0]) * (above - front[:, 1])).sum())


def picked(points: ArrayLike, slack: ArrayLike, tolerance: float) -> int:
    """Position of the lowest memorization among points with a quality near the best.

    points: (n, 2) memorization and quality, both better when small; slack: (n,) how far the
    quality of each is uncertain, 0 where that is not known. Near is within `tolerance` times the
    size of the best quality, or within the slack of the best point, whichever is wider. Ties: the
    better quality, then the earlier point.
    """
    values, uncertain = _checked(points), np.asarray(slack, dtype=np.float64)
    if not len(values):
        raise ShapeError("no trial ended with figures to pick from; try lower learning rates")
    best = int(values[:, 1].argmin())
    limit = values[best, 1] + max(tolerance * abs(values[best, 1]), uncertain[best])
    near = np.flatnonzero(values[:, 1] <= limit)
    return int(near[np.lexsort((near, values[near, 1], values[near, 0]))[0]])


def _checked(points: ArrayLike) -> NDArray[np.float64]:
    values = np.asarray(points, dtype=np.float64).reshape(-1, 2)
    if not np.isfinite(values).all():
        raise ShapeError("the points of a front must be finite; leave failed trials out")
    return values
