"""Shares of records with exact limits, and TPR at a fixed FPR with the threshold accounted for.

A threshold taken from the nonmembers is an order statistic: independent of the members, but its
true false-positive rate is random. At y_(r), the r-th largest of n0 nonmember scores, that rate
is distributed as Beta(r, n0 - r + 1) (David and Nagaraja, Order Statistics, 2003, section 2.1).
The bounds here spend part of their error on it, so no split of the sample is needed.

Ties count against whoever claims: `>=` in upper bounds, `>` in lower bounds.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats
from scipy.special import betaincinv

from attacks.errors import DataError, ShapeError
from attacks.results import Estimate, TprAtFpr
from attacks.wording import plural


class Interval(NamedTuple):
    """Limits of a share; arrays if the counts were arrays."""

    low: NDArray[np.float64]
    high: NDArray[np.float64]


def checked_scores(scores: ArrayLike, what: str = "scores") -> NDArray[np.float64]:
    """(n,) finite float scores.

    Raises ShapeError unless the array has one axis of length > 0, and DataError when a score is
    NaN or infinite: such a score has no rank.
    """
    array = np.asarray(scores, dtype=np.float64)
    if array.ndim != 1 or array.size == 0:
        raise ShapeError(f"expected {what} of shape (n,) with n >= 1, got {array.shape}")
    bad = int(array.size - np.isfinite(array).sum())
    if bad:
        raise DataError(
            f"{bad} of {array.size} {what} are NaN or infinite; scores must be finite to be ranked"
        )
    return array


def clopper_pearson(k: ArrayLike, n: ArrayLike, *, confidence: float = 0.95) -> Interval:
    """Two-sided exact interval of a share (Clopper and Pearson, Biometrika 1934).

    k, n: successes and trials, any shapes that broadcast; 0 <= k <= n.
    """
    tail = (1 - confidence) / 2
    return Interval(lower_limit(k, n, alpha=tail), upper_limit(k, n, alpha=tail))


def lower_limit(k: ArrayLike, n: ArrayLike, *, alpha: float) -> NDArray[np.float64]:
    """One-sided exact lower limit of a share with error probability alpha; 0 where k = 0."""
    hits, trials = np.broadcast_arrays(np.asarray(k, float), np.asarray(n, float))
    inside = np.maximum(hits, 1)
    return np.where(hits <= 0, 0.0, betaincinv(inside, np.maximum(trials - inside + 1, 1), alpha))


def upper_limit(k: ArrayLike, n: ArrayLike, *, alpha: float) -> NDArray[np.float64]:
    """One-sided exact upper limit of a share with error probability alpha; 1 where k = n."""
    hits, trials = np.broadcast_arrays(np.asarray(k, float), np.asarray(n, float))
    misses = np.maximum(trials - hits, 1)
    return np.where(hits >= trials, 1.0, betaincinv(hits + 1, misses, 1 - alpha))


class PassRank(NamedTuple):
    """Threshold of an upper bound: y_(rank), with what is left of the error for the members."""

    rank: int
    """r; larger than n0 when no order statistic is lax enough."""
    beta: float
    """Probability that the true FPR at y_(rank) is below the nominal one."""
    alpha_members: float
    """Error g left for the members, so that beta + (1 - beta) g = alpha."""


def share_estimate(hits: NDArray[np.bool_], *, confidence: float = 0.95) -> Estimate:
    """Share of (n,) records for which something holds, n at least 1, with its exact interval."""
    limits = clopper_pearson(int(hits.sum()), hits.size, confidence=confidence)
    return Estimate(float(hits.mean()), float(limits.low), float(limits.high))


@lru_cache(maxsize=4096)
def pass_rank(n_nonmembers: int, fpr: float, *, alpha: float = 0.05) -> PassRank:
    """Smallest r with P(Bin(n0, fpr) >= r) <= alpha / 2."""
    rank = int(stats.binom.isf(alpha / 2, n_nonmembers, fpr)) + 1
    beta = float(stats.binom.sf(rank - 1, n_nonmembers, fpr))
    return PassRank(rank, beta, (alpha - beta) / (1 - beta))


@lru_cache(maxsize=4096)
def fail_rank(n_nonmembers: int, fpr: float, *, alpha: float = 0.05) -> int | None:
    """Largest r with P(Bin(n0, fpr) <= r - 1) <= alpha / 2; None when there is none."""
    largest = int(stats.binom.ppf(alpha / 2, n_nonmembers, fpr))
    if stats.binom.cdf(largest, n_nonmembers, fpr) > alpha / 2:
        largest -= 1
    return largest + 1 if largest >= 0 else None


def nth_largest(scores: NDArray[np.float64], rank: int) -> float:
    """The rank-th largest of (n,) scores; -inf when rank > n."""
    if rank > scores.size:
        return float("-inf")
    return float(np.partition(scores, scores.size - rank)[scores.size - rank])


def upper_bound_of_count(
    k: ArrayLike, n_members: int, n_nonmembers: int, fpr: float, *, alpha: float = 0.05
) -> NDArray[np.float64]:
    """Upper bound of TPR at fpr when k members lie at or above y_(r), r from `pass_rank`."""
    return upper_limit(k, n_members, alpha=pass_rank(n_nonmembers, fpr, alpha=alpha).alpha_members)


class CountedBound(NamedTuple):
    """An upper bound of a TPR with the count behind it."""

    bound: float
    """Upper bound of TPR at the nominal FPR."""
    n_above: int
    """Members at or above the threshold."""


def counted_upper_bound(
    members: ArrayLike, nonmembers: ArrayLike, fpr: float, *, alpha: float = 0.05
) -> CountedBound:
    """`tpr_upper_bound` with the number of members at or above its threshold."""
    inside, outside = checked_scores(members, "members"), checked_scores(nonmembers, "nonmembers")
    threshold = nth_largest(outside, pass_rank(outside.size, fpr, alpha=alpha).rank)
    k = int(np.count_nonzero(inside >= threshold))
    bound = upper_bound_of_count(k, inside.size, outside.size, fpr, alpha=alpha)
    return CountedBound(float(bound), k)


def tpr_upper_bound(
    members: ArrayLike, nonmembers: ArrayLike, fpr: float, *, alpha: float = 0.05
) -> float:
    """One-sided upper bound of TPR at fpr, valid for every ROC curve, with error alpha.

    members (n1,), nonmembers (n0,): scores. It exists at every sample size (1 at worst).
    With probability 1 - beta the true FPR at y_(r) is at least `fpr`, and then the exact limit of
    the share of members at or above it misses with probability at most g.
    """
    return counted_upper_bound(members, nonmembers, fpr, alpha=alpha).bound


def tpr_lower_bound(
    members: ArrayLike, nonmembers: ArrayLike, fpr: float, *, alpha: float = 0.05
) -> float | None:
    """One-sided lower bound of TPR at fpr with error alpha; None when (1 - fpr)^n0 > alpha / 2."""
    inside, outside = checked_scores(members, "members"), checked_scores(nonmembers, "nonmembers")
    rank = fail_rank(outside.size, fpr, alpha=alpha)
    if rank is None:
        return None
    k = int(np.count_nonzero(inside > nth_largest(outside, rank)))
    return float(lower_limit(k, inside.size, alpha=alpha / 2))


def tpr_fail_p_value(
    members: ArrayLike, nonmembers: ArrayLike, fpr: float, limit: float, *, level: float
) -> float:
    """P-value of "TPR at fpr is at most `limit`", to be compared with `level`.

    level: the strictest level it will meet (alpha / K under Holm over K attacks); it fixes the
        rank of the threshold before any score is seen. Returns 1 where no rank exists.
    """
    inside, outside = checked_scores(members, "members"), checked_scores(nonmembers, "nonmembers")
    rank = fail_rank(outside.size, fpr, alpha=level)
    if rank is None:
        return 1.0
    k = int(np.count_nonzero(inside > nth_largest(outside, rank)))
    too_lax = float(stats.binom.cdf(rank - 1, outside.size, fpr))
    return min(1.0, too_lax + float(stats.binom.sf(k - 1, inside.size, limit)))


def tpr_at_fpr(
    members: ArrayLike, nonmembers: ArrayLike, fpr: float, *, alpha: float = 0.05
) -> TprAtFpr:
    """TPR of the largest threshold set with a realised FPR of at most fpr, with both bounds.

    `fpr` of the result is what the sample realised. The value is in-sample and is None when
    fpr * n0 < 1; the bounds, each one-sided at alpha, account for the choice of threshold.
    """
    inside, outside = checked_scores(members, "members"), checked_scores(nonmembers, "nonmembers")
    low = tpr_lower_bound(inside, outside, fpr, alpha=alpha)
    high = tpr_upper_bound(inside, outside, fpr, alpha=alpha)
    allowed = int(np.floor(fpr * outside.size + 1e-9))
    if allowed < 1:
        reason = f"FPR {fpr:g} is not resolvable with {plural(outside.size, 'nonmember')}"
        return TprAtFpr(None, low, high, reason, None)
    threshold = nth_largest(outside, allowed + 1)
    realised = float(np.mean(outside > threshold))
    return TprAtFpr(float(np.mean(inside > threshold)), low, high, None, realised)
