"""Differences of the AUCs of two models on the same records, for many attacks at once.

The covariance of correlated ROC curves is that of DeLong, DeLong and Clarke-Pearson, Biometrics
1988, computed from ranks in O(n log n) per attack (Sun and Xu, IEEE Signal Processing Letters
2014). Where an AUC is 0 or 1 its DeLong variance is 0 and the interval would be too sure of
itself; there the limits of both AUCs are combined as squared distances (Zou and Donner, Statistics
in Medicine 2008), which for the AUC at the edge are the score-type limits of
`attacks.statistics.auc`. Two scorings that rank all records alike differ by exactly 0.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtr, ndtri
from scipy.stats import rankdata

from attacks.errors import DataError, ShapeError
from attacks.statistics.auc import Auc

_HALVINGS = 60


class PairedAucs(NamedTuple):
    """AUCs before and after, their differences after minus before, for k attacks."""

    before: NDArray[np.float64]
    """(k,) AUC of the first scoring."""
    after: NDArray[np.float64]
    """(k,) AUC of the second scoring."""
    value: NDArray[np.float64]
    """(k,) after minus before, in [-1, 1]."""
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    p_value: NDArray[np.float64]
    """(k,) two-sided p-value of "no difference"; at most alpha where the interval at 1 - alpha
    leaves 0 out."""


class _Ranked(NamedTuple):
    """One scoring: ranks among all records, DeLong's components, and the AUC."""

    ranks: NDArray[np.float64]
    members: NDArray[np.float64]
    nonmembers: NDArray[np.float64]
    auc: NDArray[np.float64]


def paired_aucs(
    before: tuple[ArrayLike, ArrayLike],
    after: tuple[ArrayLike, ArrayLike],
    *,
    confidence: float = 0.95,
) -> PairedAucs:
    """Paired differences of AUCs with their intervals.

    before, after: member scores (k, n1) and nonmember scores (k, n0), one row an attack, in one
        order of records; higher = more likely a member. n1 and n0 at least 2.
    Raises ShapeError if shapes differ or there are too few records, DataError for scores that are
    not finite.
    """
    first, second = (_ranked(*_checked(*sides)) for sides in (before, after))
    shapes = [(one.members.shape, one.nonmembers.shape) for one in (first, second)]
    if shapes[0] != shapes[1]:
        raise ShapeError(f"paired scores differ in shape: {shapes[0]} and {shapes[1]}")
    gaps = (second.members - first.members, second.nonmembers - first.nonmembers)
    value = second.auc - first.auc
    se = np.sqrt(sum(_variance_of_mean(gap) for gap in gaps))
    half = -float(ndtri((1 - confidence) / 2)) * se
    z = np.divide(np.abs(value), se, out=np.where(value == 0, 0.0, np.inf), where=se > 0)
    low, high, p = value - half, value + half, 2 * ndtr(-z)
    alike = np.all(first.ranks == second.ranks, axis=1)
    at_edge = ((first.auc % 1 == 0) | (second.auc % 1 == 0)) & ~alike
    for i in np.flatnonzero(at_edge):
        pair = (_single(first, int(i)), _single(second, int(i)))
        low[i], high[i] = _combined(*pair, (1 - confidence) / 2)
        p[i] = _p_value(*pair)
    return PairedAucs(first.auc, second.auc, value, np.maximum(low, -1), np.minimum(high, 1), p)


def _checked(
    members: ArrayLike, nonmembers: ArrayLike
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    inside, outside = np.asarray(members, float), np.asarray(nonmembers, float)
    for scores, side in ((inside, "members"), (outside, "nonmembers")):
        if scores.ndim != 2 or scores.shape[1] < 2 or len(scores) != len(inside):
            raise ShapeError(
                f"expected scores of {side} of shape (k, n) with n >= 2, got {scores.shape}"
            )
        if not np.isfinite(scores).all():
            raise DataError(f"scores of {side} are NaN or infinite; they must be finite")
    return inside, outside


def _ranked(inside: NDArray[np.float64], outside: NDArray[np.float64]) -> _Ranked:
    n1, n0 = inside.shape[1], outside.shape[1]
    ranks = rankdata(np.concatenate([inside, outside], axis=1), axis=1)
    above = ranks[:, :n1] - rankdata(inside, axis=1)
    below = ranks[:, n1:] - rankdata(outside, axis=1)
    # Sums of half-ranks are exact, so an AUC of 1 is 1 and not an ulp beside it.
    area = np.rint(2 * above.sum(axis=1)) / (2 * n1 * n0)
    return _Ranked(ranks, above / n0, 1 - below / n1, area)


def _variance_of_mean(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """(k,) variance of the mean of each row; exactly 0 where all of a row are equal."""
    variance = np.var(values, axis=1, ddof=1) / values.shape[1]
    return np.where(np.ptp(values, axis=1) == 0, 0.0, variance)


def _single(one: _Ranked, i: int) -> Auc:
    inside, outside = one.members[i : i + 1], one.nonmembers[i : i + 1]
    variance = float(_variance_of_mean(inside)[0] + _variance_of_mean(outside)[0])
    return Auc(float(one.auc[i]), variance, inside.shape[1], outside.shape[1])


def _combined(before: Auc, after: Auc, tail: float) -> tuple[float, float]:
    """Limits of after minus before, each with error `tail`; covariance 0, as at the edge."""
    value = after.value - before.value
    below = math.hypot(after.value - after.lower(tail), before.upper(tail) - before.value)
    above = math.hypot(after.upper(tail) - after.value, before.value - before.lower(tail))
    return value - below, value + above


def _p_value(before: Auc, after: Auc) -> float:
    """Twice the smallest tail at which the combined limits still leave 0 out, by bisection."""
    out, inside = 1e-300, 0.5
    low, high = _combined(before, after, out)
    if low > 0 or high < 0:
        return 2 * out
    for _ in range(_HALVINGS):
        middle = math.sqrt(out * inside) if inside / out > 2 else (out + inside) / 2
        low, high = _combined(before, after, middle)
        if low > 0 or high < 0:
            inside = middle
        else:
            out = middle
    return 2 * inside
