"""Area under the ROC curve with limits that hold at 0 and 1, paired differences, and the curve.

Source of the variance: DeLong, DeLong and Clarke-Pearson, Biometrics 1988. The interval is taken
on the logit, so it stays inside (0, 1). Where the DeLong variance is 0 (complete separation, all
scores equal, a single record on one side) the limits solve |A - a| = z sqrt(a (1 - a) / m) for a,
with m = min(n1, n0): a (1 - a) / m bounds the variance of the Mann-Whitney estimate whatever the
distributions are (Birnbaum and Klose, Ann. Math. Statist. 1957), so these limits are conservative.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtr, ndtri

from attacks.errors import ShapeError
from attacks.results import Estimate, RocPoint, ScoreShare
from attacks.statistics.rates import checked_scores, clopper_pearson

MAX_ROC_POINTS = 400
"""Most points that a thinned curve keeps."""
MAX_SHARES = 80
"""Most points of a distribution of scores."""


class Placements(NamedTuple):
    """Share of the other group that each record beats, ties counted one half."""

    members: NDArray[np.float64]
    """(n1,) share of nonmembers below each member."""
    nonmembers: NDArray[np.float64]
    """(n0,) share of members above each nonmember."""


def placements(members: ArrayLike, nonmembers: ArrayLike) -> Placements:
    """DeLong's structural components of (n1,) and (n0,) scores, in O(n log n)."""
    inside, outside = checked_scores(members, "members"), checked_scores(nonmembers, "nonmembers")
    return Placements(_share_below(inside, outside), 1 - _share_below(outside, inside))


def _share_below(scores: NDArray[np.float64], others: NDArray[np.float64]) -> NDArray[np.float64]:
    ordered = np.sort(others)
    below = np.searchsorted(ordered, scores, side="left")
    return (below + np.searchsorted(ordered, scores, side="right")) / (2 * ordered.size)


@dataclass(frozen=True, slots=True)
class Auc:
    """An AUC with its variance, and the limits and tests that follow from them."""

    value: float
    """P(member > nonmember) + P(tie) / 2, in [0, 1]."""
    variance: float
    """DeLong variance; 0 when it cannot be estimated."""
    n_members: int
    n_nonmembers: int

    @property
    def is_degenerate(self) -> bool:
        """Whether the score-type limits apply instead of DeLong's."""
        return not 0 < self.value < 1 or self.variance <= 0

    def lower(self, alpha: float) -> float:
        """One-sided lower limit with error probability alpha."""
        return self._limit(-1, alpha)

    def upper(self, alpha: float) -> float:
        """One-sided upper limit with error probability alpha."""
        return self._limit(+1, alpha)

    def interval(self, confidence: float = 0.95) -> Estimate:
        """The value with its two-sided interval."""
        tail = (1 - confidence) / 2
        return Estimate(self.value, self.lower(tail), self.upper(tail))

    def p_above(self, limit: float) -> float:
        """P-value of "AUC is at most limit" against "above"."""
        return float(ndtr(-self._z(limit)))

    def p_below(self, limit: float) -> float:
        """P-value of "AUC is at least limit" against "below"."""
        return float(ndtr(self._z(limit)))

    @property
    def logit_se(self) -> float:
        """Standard error of the logit; only where not degenerate."""
        return math.sqrt(self.variance) / (self.value * (1 - self.value))

    def _limit(self, sign: int, alpha: float) -> float:
        z = -float(ndtri(alpha))
        if not self.is_degenerate:
            return _expit(_logit(self.value) + sign * z * self.logit_se)
        if self.value == (1 + sign) / 2:
            return self.value
        m = min(self.n_members, self.n_nonmembers)
        centre = self.value + z * z / (2 * m)
        half = z * math.sqrt(self.value * (1 - self.value) / m + z * z / (4 * m * m))
        return min(1.0, max(0.0, (centre + sign * half) / (1 + z * z / m)))

    def _z(self, limit: float) -> float:
        if not 0 < limit < 1:
            raise ValueError(f"limit of an AUC must lie inside (0, 1), got {limit}")
        if not self.is_degenerate:
            return (_logit(self.value) - _logit(limit)) / self.logit_se
        m = min(self.n_members, self.n_nonmembers)
        return (self.value - limit) / math.sqrt(limit * (1 - limit) / m)


def _logit(p: float) -> float:
    return math.log(p) - math.log1p(-p)


def _expit(x: float) -> float:
    return 1 / (1 + math.exp(-x)) if x >= 0 else 1 - 1 / (1 + math.exp(min(x, 700.0)))


def _variance_of_mean(values: NDArray[np.float64]) -> float:
    """Variance of the mean of (n,) values; exactly 0 when all are equal or n = 1."""
    if values.size < 2 or values.min() == values.max():
        return 0.0
    return float(np.var(values, ddof=1)) / values.size


def auc(members: ArrayLike, nonmembers: ArrayLike) -> Auc:
    """AUC of (n1,) member against (n0,) nonmember scores; higher score = member."""
    v10, v01 = placements(members, nonmembers)
    # A mean of rounded shares may miss 0, 1 or 1/2 by an ulp; the sum of half-ranks is exact.
    value = float(np.rint(2 * v10.size * v01.size * v10.mean())) / (2 * v10.size * v01.size)
    single = min(v10.size, v01.size) < 2
    variance = 0.0 if single else _variance_of_mean(v10) + _variance_of_mean(v01)
    return Auc(value, variance, v10.size, v01.size)


class Difference(NamedTuple):
    """Difference of two AUCs on the same records, first minus second."""

    value: float
    low: float
    high: float
    p_value: float
    """Two-sided p-value of "no difference"."""


def paired_difference(
    members: tuple[ArrayLike, ArrayLike],
    nonmembers: tuple[ArrayLike, ArrayLike],
    *,
    confidence: float = 0.95,
) -> Difference:
    """AUC of the first scoring minus AUC of the second, on the same records.

    members: two (n1,) score arrays in one order of records; nonmembers: two (n0,).
    The covariance is DeLong's; when the two scorings rank alike the interval is a point.
    Raises ShapeError if the two scorings differ in length.
    """
    first = placements(members[0], nonmembers[0])
    second = placements(members[1], nonmembers[1])
    for a, b, side in zip(first, second, ("members", "nonmembers"), strict=True):
        if a.shape != b.shape:
            raise ShapeError(f"paired scores of {side} differ in length: {a.size} and {b.size}")
    gaps = [a - b for a, b in zip(first, second, strict=True)]
    value = float(gaps[0].mean())
    se = math.sqrt(sum(_variance_of_mean(gap) for gap in gaps))
    if se == 0:
        return Difference(value, value, value, 1.0 if value == 0 else 0.0)
    half = -float(ndtri((1 - confidence) / 2)) * se
    return Difference(value, value - half, value + half, float(2 * ndtr(-abs(value) / se)))


def roc_curve(
    members: ArrayLike, nonmembers: ArrayLike, *, max_points: int = MAX_ROC_POINTS
) -> tuple[RocPoint, ...]:
    """The ROC curve from (0, 0) to (1, 1), thinned, with exact 95 % limits of each TPR.

    Only corners are kept; if there are more than max_points, those spread most evenly along the
    curve as drawn on linear and on logarithmic axes together.
    """
    inside, outside = checked_scores(members, "members"), checked_scores(nonmembers, "nonmembers")
    hits, alarms = _cumulative_counts(inside, outside)
    keep = _corners(hits, alarms)
    hits, alarms = hits[keep], alarms[keep]
    if hits.size > max_points:
        chosen = _spread(hits / inside.size, alarms / outside.size, outside.size, max_points)
        hits, alarms = hits[chosen], alarms[chosen]
    band = clopper_pearson(hits, inside.size)
    columns = (alarms / outside.size, hits / inside.size, band.low, band.high)
    return tuple(RocPoint(*row) for row in zip(*(c.tolist() for c in columns), strict=True))


def score_distribution(
    members: ArrayLike, nonmembers: ArrayLike, *, max_points: int = MAX_SHARES
) -> tuple[ScoreShare, ...]:
    """Shares of both groups at or above scores that records have, highest score first.

    Thinned to the scores that split the range from the highest to the lowest most evenly.
    """
    inside, outside = checked_scores(members, "members"), checked_scores(nonmembers, "nonmembers")
    scores = np.unique(np.concatenate([inside, outside]))[::-1]
    if scores.size > max_points:
        wanted = np.linspace(scores[0], scores[-1], max_points)
        places = np.searchsorted(-scores, -wanted, side="right") - 1
        scores = scores[np.union1d(places, [0, scores.size - 1])]
    shares = (
        (side.size - np.searchsorted(np.sort(side), scores, side="left")) / side.size
        for side in (inside, outside)
    )
    return tuple(ScoreShare(*map(float, row)) for row in zip(scores, *shares, strict=True))


def _cumulative_counts(
    inside: NDArray[np.float64], outside: NDArray[np.float64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Members and nonmembers at or above each distinct score, from (0, 0) on."""
    scores = np.concatenate([inside, outside])
    order = np.argsort(-scores, kind="stable")
    ordered = scores[order]
    hits = np.cumsum(order < inside.size)
    ends = np.append(np.flatnonzero(ordered[1:] != ordered[:-1]), scores.size - 1)
    counts = np.concatenate([[0], hits[ends]])
    return counts, np.concatenate([[0], ends + 1]) - counts


def _corners(hits: NDArray[np.int64], alarms: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Points where the curve bends, with both ends."""
    keep = np.ones(hits.size, dtype=bool)
    up, right = np.diff(hits), np.diff(alarms)
    keep[1:-1] = up[:-1] * right[1:] != up[1:] * right[:-1]
    return keep


def _spread(
    tpr: NDArray[np.float64], fpr: NDArray[np.float64], n_nonmembers: int, points: int
) -> NDArray[np.int64]:
    floor = 0.5 / n_nonmembers
    axes = (tpr, fpr, np.log10(tpr + floor), np.log10(fpr + floor))
    spans = [np.abs(np.diff(axis)) / max(float(np.ptp(axis)), 1e-12) for axis in axes]
    length = np.concatenate([[0.0], np.cumsum(np.sum(spans, axis=0))])
    wanted = np.linspace(0, length[-1], points)
    chosen = np.unique(np.searchsorted(length, wanted * (1 - 1e-12)))
    return np.union1d(chosen[chosen < length.size][: points - 1], [length.size - 1])
