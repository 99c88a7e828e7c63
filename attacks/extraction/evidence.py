"""When a generated image is a copy of a record: a threshold that the other side sets.

How close is too close depends on the data: two handwritten digits are nearer to each other than
two photographs. Records that were never trained on tell. If the model knows neither side, the
smallest distances to members and to nonmembers have one law, which close to zero behaves like
d^k, where k is the local intrinsic dimension of the data. Logarithms of small distances are then
exponential with rate k, and

    R = log(smallest nonmember distance / smallest member distance) / mean log excess

has a law free of k, where the mean excess is Hill's estimate of 1 / k on the m smallest nonmember
distances (Hill, Ann. Statist. 1975). The threshold is the distance at which R is as large as it
gets with probability `alpha`, and never above one half of the smallest nonmember distance.
Our reading: published thresholds are absolute (RMS 0.15 in Carlini et al., arXiv:2301.13188) and
would claim ordinary digits.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import brentq

from attacks.errors import DataError
from attacks.statistics.rates import checked_scores

MOST_FACTOR = 0.5
"""A copy is at most this share of the smallest nonmember distance away from its record."""
SMALLEST_TAIL, LARGEST_TAIL, TAIL_SHARE = 4, 20, 0.1
"""How many of the smallest distances the dimension is estimated from."""
FEWEST_BACKGROUND = 20
"""Nonmembers below which there is no threshold."""
SIMULATIONS = 20_000


@dataclass(frozen=True, slots=True)
class CopyThreshold:
    """Below which distance a generated image is a copy."""

    distance: float
    """The threshold; 0 claims nothing."""
    background: float
    """The smallest distance of a nonmember."""
    dimension: float
    """Hill's estimate of the dimension k of the data near zero distance."""


def copy_threshold(background: ArrayLike, n_members: int, *, alpha: float = 0.01) -> CopyThreshold:
    """The threshold that nonmembers set.

    background: (n0,) smallest distance of each nonmember to any generated image; n_members: how
    many members are compared with the same images; alpha: probability that any member of a model
    that knows neither side falls below it.
    Raises DataError for fewer than 20 nonmembers.
    """
    distances = np.sort(checked_scores(background, "background distances"))
    if len(distances) < FEWEST_BACKGROUND:
        raise DataError(
            f"a threshold for copies needs {FEWEST_BACKGROUND} nonmembers, got {len(distances)}"
        )
    smallest = float(distances[0])
    m = int(np.clip(TAIL_SHARE * len(distances), SMALLEST_TAIL, LARGEST_TAIL))
    excess = mean_log_excess(distances, m)
    if excess is None:
        return CopyThreshold(0.0, smallest, 0.0)
    rho = n_members / len(distances)
    factor = min(MOST_FACTOR, float(np.exp(-critical_ratio(m, rho, alpha) * excess)))
    return CopyThreshold(factor * smallest, smallest, 1 / excess if excess else float("inf"))


def mean_log_excess(distances: NDArray[np.float64], m: int) -> float | None:
    """Mean of log(d_(m+1) / d_(i)) over the m smallest of sorted distances; None if one is 0."""
    if distances[0] <= 0:
        return None
    return float(np.log(distances[m] / distances[:m]).mean())


@functools.cache
def critical_ratio(m: int, rho: float, alpha: float) -> float:
    """The value that R exceeds with probability alpha under the null.

    rho: members for each nonmember. In units in which k = 1 and nonmembers have density 1, the
    (m + 1)-th smallest distance is Gamma(m + 1), those below it are uniform, and members below x
    are Poisson with mean rho x; the law is averaged over simulated nonmembers.
    """
    rng = np.random.default_rng(0)
    edge = rng.gamma(m + 1, size=SIMULATIONS)
    below = np.sort(rng.random((SIMULATIONS, m)), axis=1)
    excess = -np.log(below).mean(axis=1)
    smallest = edge * below[:, 0]

    def surplus(ratio: float) -> float:
        expected = rho * smallest * np.exp(-ratio * excess)
        return float(-np.expm1(-expected).mean() - alpha)

    if surplus(0.0) <= 0:
        return 0.0
    return float(brentq(surplus, 0.0, 200.0))


def smallest_by_record(
    index: NDArray[np.integer], distances: NDArray[np.floating], n_records: int
) -> NDArray[np.float64]:
    """(n_records,) smallest of (n,) distances by the record that each belongs to, inf for none."""
    found = np.full(n_records, np.inf)
    np.minimum.at(found, index, distances)
    return found
