"""Who pays when memorization is suppressed: the cost of a cap for each group of records.

Idea: cluster the records into subpopulations. A method that does not fit the labels of rare
clusters loses, for each, the expected frequency of a cluster seen that often. Summed by group,
this says whether a mitigation makes the model worse for a minority.
Citation: Feldman, STOC 2020, arXiv:1906.05271: its main theorem for suppression, its corollary on
memorization-limited learners for the cap, and its extension from points to subpopulations.
Result: expected excess error, in absolute terms. Higher means that the group pays more.
Invalid when: the clusters are not what the model generalises over, such as clusters of pixels
for a model that works on meaning. A learner that carries labels over from other clusters pays
less; this is the cost for one that cannot.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from attacks.errors import DataError, ShapeError
from attacks.results import Estimate
from attacks.statistics.rates import clopper_pearson


@dataclass(frozen=True, slots=True)
class GroupCost:
    """What one group pays."""

    group: str
    """Name of the group."""
    n_records: int
    n_clusters: int
    n_suppressed: int
    """Records in clusters that occur at most `up_to` times."""
    cost: float
    """Expected excess error of the whole model that falls on this group; groups add up."""
    cost_within: float
    """Expected excess error on records of this group: cost over its share of the records."""


@dataclass(frozen=True, slots=True)
class SuppressionCost:
    """What all groups pay, the one that pays most per record first."""

    groups: tuple[GroupCost, ...]
    total: float
    """Expected excess error of the whole model."""
    up_to: int
    """Clusters with at most so many records are not fitted freely."""
    gamma: float
    """Memorization that is still allowed."""

    @property
    def disparity(self) -> float | None:
        """Largest minus smallest cost within a group; None for a single group."""
        if len(self.groups) < 2:
            return None
        return self.groups[0].cost_within - self.groups[-1].cost_within


def suppression_cost(
    cluster_sizes: ArrayLike,
    groups: ArrayLike,
    coefficients: ArrayLike,
    *,
    guess: ArrayLike,
    gamma: float = 0.0,
) -> SuppressionCost:
    """Expected cost to each group when clusters of few records are not fitted.

    cluster_sizes: (c,) records that the sample holds of each subpopulation, >= 1.
    groups: (c,) group of each subpopulation; shown as text.
    coefficients: (L,) tau_1 .. tau_L, expected frequencies of a cluster seen 1 .. L times, from
        `tail_coefficients` or `observed_coefficients`. Clusters up to size L are not fitted.
    guess: probability of the best guess of a label without its cluster, for all or (c,):
        1/k for k balanced classes.
    gamma: memorization that is still allowed, in [0, 1]: l records of a cluster then raise the
        probability of their label to at most guess + l gamma, so that the cluster costs
        tau_l max(0, 1 - guess - l gamma). For l = 1 this is the paper's; for more records it
        applies the limit to one record after the other.

    Raises ShapeError or DataError for arrays that do not fit.
    """
    sizes, names = _checked_sizes(cluster_sizes), np.asarray(groups).astype(str)
    tau = np.asarray(coefficients, dtype=np.float64)
    if names.shape != sizes.shape:
        raise ShapeError(f"expected groups of shape {sizes.shape}, got {names.shape}")
    if tau.ndim != 1 or tau.size == 0:
        raise ShapeError(f"expected coefficients of shape (L,) with L >= 1, got {tau.shape}")
    if not np.all((tau >= 0) & (tau <= 1)):
        raise DataError("coefficients are frequencies: they must lie in [0, 1]")
    known = np.broadcast_to(np.asarray(guess, dtype=np.float64), sizes.shape)
    if not np.all((known >= 0) & (known <= 1)) or not 0 <= gamma <= 1:
        raise DataError("guess and gamma are probabilities: they must lie in [0, 1]")
    is_rare = sizes <= tau.size
    worth = tau[np.where(is_rare, sizes, 1) - 1]
    cost = np.where(is_rare, worth * np.maximum(0, 1 - known - sizes * gamma), 0.0)
    paid = [_group_cost(name, names == name, sizes, is_rare, cost) for name in np.unique(names)]
    paid.sort(key=lambda group: -group.cost_within)
    return SuppressionCost(tuple(paid), float(cost.sum()), int(tau.size), gamma)


def _group_cost(
    name: str,
    own: NDArray[np.bool_],
    sizes: NDArray[np.int64],
    is_rare: NDArray[np.bool_],
    cost: NDArray[np.float64],
) -> GroupCost:
    n_records, paid = int(sizes[own].sum()), float(cost[own].sum())
    return GroupCost(
        group=str(name),
        n_records=n_records,
        n_clusters=int(np.count_nonzero(own)),
        n_suppressed=int(sizes[own & is_rare].sum()),
        cost=paid,
        cost_within=paid * int(sizes.sum()) / n_records,
    )


def observed_coefficients(cluster_sizes: ArrayLike, up_to: int = 1) -> tuple[Estimate, ...]:
    """tau_1 .. tau_L estimated from the sample itself, with 95 % limits.

    cluster_sizes: (c,) records of each cluster. Good and Turing's estimate
    (l + 1) N_(l+1) / (n N_l), N_l the clusters of l records: the expected mass of points seen l
    times in n draws is exactly (l + 1) / (n + 1) times the expected number seen l + 1 times in
    n + 1. As a ratio of counts it is too high on average where few clusters have l records. The
    limits take the numbers of clusters for Poisson variables; they vary less than
    those. A coefficient is missing, with the reason, where no cluster has l records.
    """
    sizes = _checked_sizes(cluster_sizes)
    if up_to < 1:
        raise DataError(f"expected up_to >= 1, got {up_to}")
    clusters = np.bincount(sizes, minlength=up_to + 2)
    estimates = []
    for times in range(1, up_to + 1):
        here, above = int(clusters[times]), int(clusters[times + 1])
        if here == 0:
            reason = f"no cluster has {times} records"
            estimates.append(Estimate(None, None, None, reason))
            continue
        share = clopper_pearson(above, here + above)
        scale = (times + 1) / int(sizes.sum())
        low, high = (float(s / (1 - s)) for s in share)  # below 1, because N_l > 0
        estimates.append(Estimate(scale * above / here, scale * low, min(1.0, scale * high)))
    return tuple(estimates)


def dp_memorization_limit(epsilon: float, delta: float = 0.0) -> float:
    """The gamma of a learner that is (epsilon, delta)-private for adding or removing a record.

    exp(epsilon) - 1 + delta, at most 1: from P(h(x) = y | with) <= exp(epsilon) P(. | without)
    + delta. Source: Feldman 2020, on private prediction.
    """
    if epsilon < 0 or not 0 <= delta <= 1:
        raise DataError(f"expected epsilon >= 0 and delta in [0, 1], got {epsilon:g}, {delta:g}")
    return min(1.0, math.expm1(min(epsilon, 1.0)) + delta)


def _checked_sizes(cluster_sizes: ArrayLike) -> NDArray[np.int64]:
    sizes = np.asarray(cluster_sizes)
    if sizes.ndim != 1 or sizes.size == 0:
        raise ShapeError(f"expected cluster_sizes of shape (c,) with c >= 1, got {sizes.shape}")
    if sizes.dtype.kind not in "ui" or sizes.min() < 1:
        raise DataError("cluster_sizes must be integers >= 1; leave empty clusters out")
    return sizes.astype(np.int64)
