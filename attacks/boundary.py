"""Distance to the decision boundary of a classifier that answers with labels alone.

HopSkipJump (Chen, Jordan, Wainwright, "HopSkipJumpAttack", IEEE S&P 2020, arXiv:1904.02144) in the
l2 norm, for many points at once: bisect between the point and one of another label, estimate the
boundary's normal there from the labels of nearby points, step along it, bisect again.
Axis names: n points, d features, b directions.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

Points: TypeAlias = NDArray[np.float64]
IsOther: TypeAlias = Callable[[NDArray[np.intp], Points], NDArray[np.bool_]]
"""(rows (r,), points (r, d)) -> (r,) whether each point has another label than its row's own."""
Draw: TypeAlias = Callable[[NDArray[np.intp], int], Points]
"""(rows (r,), iteration) -> (r, b, d) standard normal directions."""

HALVINGS = 6
"""Most times that a step is halved until it ends at another label."""


class Effort(NamedTuple):
    """How many labels are asked for."""

    iterations: int
    """Steps along the boundary."""
    directions: int
    """Labels behind each estimate of its normal."""
    searches: int
    """Halvings of a segment, which is the precision of a bisection."""

    @property
    def calls(self) -> int:
        """Labels per point, at most."""
        return self.searches + self.iterations * (self.directions + HALVINGS + self.searches)


def boundary_distances(
    points: Points, starts: Points, is_other: IsOther, draw: Draw, effort: Effort
) -> NDArray[np.float64]:
    """(n,) l2 distance from each point to the nearest point of another label that was found.

    points: (n, d) of their own label; starts: (n, d) of another one. An upper bound of the true
    distance, never above that of the start; nothing of one point depends on the others.
    """
    rows = np.arange(len(points))
    nearest = _bisected(points, starts, rows, is_other, effort.searches)
    distance = _norm(nearest - points)
    current = nearest
    for iteration in range(1, effort.iterations + 1):
        away = _norm(current - points)
        normal = _normal(current, away, rows, is_other, draw(rows, iteration), effort)
        stepped = _stepped(current, normal, away / np.sqrt(iteration), rows, is_other)
        current = _bisected(points, stepped, rows, is_other, effort.searches)
        distance = np.minimum(distance, _norm(current - points))
    return distance


def _bisected(
    points: Points, others: Points, rows: NDArray[np.intp], is_other: IsOther, searches: int
) -> Points:
    """(n, d) the end of another label of a short piece of each segment that holds the boundary."""
    low, high = np.zeros(len(points)), np.ones(len(points))
    for _ in range(searches):
        middle = (low + high) / 2
        crossed = is_other(rows, points + middle[:, None] * (others - points))
        high, low = np.where(crossed, middle, high), np.where(crossed, low, middle)
    return points + high[:, None] * (others - points)


def _normal(
    current: Points,
    away: NDArray[np.float64],
    rows: NDArray[np.intp],
    is_other: IsOther,
    directions: Points,
    effort: Effort,
) -> Points:
    """(n, d) estimated unit normals that point to the other label.

    The nearby points lie at away / d, but not below four times the precision of the bisection:
    closer than that all labels are the other one.
    """
    n, b, d = directions.shape
    units = directions / np.maximum(_norm(directions), 1e-12)[..., None]
    radius = away * max(1 / d, 4 * 2.0**-effort.searches)
    asked = current[:, None] + radius[:, None, None] * units
    sign = np.where(is_other(np.repeat(rows, b), asked.reshape(-1, d)).reshape(n, b), 1.0, -1.0)
    mean = sign.mean(axis=1, keepdims=True)
    weights = np.where(np.abs(mean) < 1, sign - mean, sign)
    total = np.einsum("nb,nbd->nd", weights, units)
    return total / np.maximum(_norm(total), 1e-12)[:, None]


def _stepped(
    current: Points,
    normal: Points,
    size: NDArray[np.float64],
    rows: NDArray[np.intp],
    is_other: IsOther,
) -> Points:
    """(n, d) after the longest tried step that ends at another label; the same point if none does."""
    result, is_open = current.copy(), np.ones(len(current), dtype=bool)
    for i in range(HALVINGS):
        if not is_open.any():
            break
        own = np.flatnonzero(is_open)
        tried = current[own] + (size[own] / 2**i)[:, None] * normal[own]
        crossed = is_other(rows[own], tried)
        result[own[crossed]] = tried[crossed]
        is_open[own[crossed]] = False
    return result


def _norm(vectors: Points) -> NDArray[np.float64]:
    return np.sqrt(np.square(vectors).sum(axis=-1))
