"""When a generated image is a copy of a record: a threshold that the other side sets.

How close is too close depends on the data: two handwritten digits are nearer to each other than
two photographs. Records that were never trained on tell. If the model knows neither side, the
smallest distances to members and to nonmembers have one law; close to zero it behaves like d^k,
where k is the (local intrinsic) dimension of the data, so that a member falls below c times the
smallest nonmember distance with probability rho c^k / (1 + rho c^k), where rho is the number of
members for each nonmember. The threshold takes the c at which this is `alpha`, with the lower
95 % limit of Hill's estimate (Ann. Statist. 1975) in place of k, and never more than one half.
Our reading: published thresholds are absolute (RMS 0.15 in Carlini et al., arXiv:2301.13188) and
claim ordinary digits.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import chi2

from attacks.errors import DataError
from attacks.statistics.rates import checked_scores

MOST_FACTOR = 0.5
"""A copy is at most this share of the smallest nonmember distance away from its record."""
SMALLEST_TAIL, LARGEST_TAIL, TAIL_SHARE = 5, 50, 0.1
"""How many of the smallest distances the dimension is estimated from."""
FEWEST_BACKGROUND = 20
"""Nonmembers below which there is no threshold."""


@dataclass(frozen=True, slots=True)
class CopyThreshold:
    """Below which distance a generated image is a copy."""

    distance: float
    """The threshold; 0 claims nothing."""
    background: float
    """The smallest distance of a nonmember."""
    dimension: float
    """Lower 95 % limit of the dimension k of the data near zero distance."""


def copy_threshold(background: ArrayLike, n_members: int, *, alpha: float = 0.01) -> CopyThreshold:
    """The threshold that nonmembers set.

    background: (n0,) smallest distance of each nonmember to any generated image; n_members: how
    many members are compared with the same number of images for each record; alpha: probability
    that any member of a model that knows neither side falls below it.
    Raises DataError for fewer than 20 nonmembers.
    """
    distances = np.sort(checked_scores(background, "background distances"))
    if len(distances) < FEWEST_BACKGROUND:
        raise DataError(
            f"a threshold for copies needs {FEWEST_BACKGROUND} nonmembers, got {len(distances)}"
        )
    smallest = float(distances[0])
    dimension = tail_dimension(distances)
    if smallest <= 0 or dimension <= 0:
        return CopyThreshold(0.0, smallest, dimension)
    rho = n_members / len(distances)
    factor = min(MOST_FACTOR, (alpha / (1 - alpha) / max(rho, 1e-12)) ** (1 / dimension))
    return CopyThreshold(factor * smallest, smallest, dimension)


def tail_dimension(distances: ArrayLike) -> float:
    """Lower one-sided 95 % limit of k from Hill's estimator on the smallest distances.

    With m distances below the (m + 1)-th smallest, 2 k sum log(d_(m+1) / d_(i)) is chi-squared
    with 2 m degrees of freedom. 0 where the smallest distance is 0.
    """
    values = np.sort(np.asarray(distances, np.float64))
    m = int(np.clip(TAIL_SHARE * len(values), SMALLEST_TAIL, LARGEST_TAIL))
    m = min(m, len(values) - 1)
    if values[0] <= 0:
        return 0.0
    total = float(np.log(values[m] / values[:m]).sum())
    if total <= 0:
        return float("inf")
    return float(chi2.ppf(0.05, 2 * m) / (2 * total))


def smallest_by_record(
    index: NDArray[np.integer], distances: NDArray[np.floating], n_records: int
) -> NDArray[np.float64]:
    """(n_records,) smallest of (n,) distances by the record that each belongs to, inf for none."""
    found = np.full(n_records, np.inf)
    np.minimum.at(found, index, distances)
    return found
