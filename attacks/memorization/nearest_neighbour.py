"""The exact memorization of a nearest-neighbour classifier: an oracle for every estimate of it.

Idea: a 1-NN classifier that trained on a record always returns its label; without the record it
returns the label of the nearest other record that was selected. For a random subset of size s the
probability that this is the r-th nearest has a closed form, so memorization is known without
training anything. Subsampled estimates, masks and counts can be checked against it.
Citation: the quantities are those of Feldman and Zhang 2020, arXiv:2008.03703; the closed form
is our derivation.
Score: P(right | trained on it) - P(right | not), in [0, 1]. Higher means more memorized.
Cost: all pairwise distances, one block of rows at a time; no n x n array is kept.
Invalid when: records coincide. They are refused, because the classifier then has to choose.

Among records at one distance, the one that comes first in the data is taken to be the nearer.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.spatial.distance import cdist
from scipy.special import gammaln

from attacks.errors import DataError, ShapeError
from attacks.memorization._design import Floats, blocks

_ELEMENTS = 1 << 22  # of a block of distances: 32 MiB


@dataclass(frozen=True, slots=True, eq=False)
class NearestNeighbourMemorization:
    """Exact memorization of each record by a 1-NN classifier."""

    value: NDArray[np.float64]
    """(n,) memorization, in [0, 1]; higher is more memorized."""
    subset_size: int
    """Records that the classifier trains on; n stands for leave-one-out."""

    @property
    def mean_out(self) -> NDArray[np.float64]:
        """(n,) probability of the right label without the record; with it, it is 1."""
        return 1 - self.value


def leave_one_out_memorization(
    points: ArrayLike, labels: ArrayLike
) -> NearestNeighbourMemorization:
    """Memorization when a single record is left out: 1 if the nearest other label differs.

    points: (n, d) features, no two the same; labels: (n,) classes.
    Raises ShapeError below two records or where the arrays do not fit, DataError for points that
    coincide or are not finite.
    """
    features, classes = _checked(points, labels)

    def nearest_differs(rows: slice, distances: Floats) -> Floats:
        return (classes[distances.argmin(axis=1)] != classes[rows]).astype(np.float64)

    value = _by_rows(features, nearest_differs)
    return NearestNeighbourMemorization(value, subset_size=classes.size)


def nearest_neighbour_memorization(
    points: ArrayLike, labels: ArrayLike, subset_size: int
) -> NearestNeighbourMemorization:
    """Memorization when the classifier trains on a random subset of the records.

    points: (n, d) features, no two the same; labels: (n,) classes.
    subset_size: records in a subset, in 1 .. n - 1. At n - 1 this is `leave_one_out_memorization`.
    mem(i) = 1 - sum of P(the nearest selected record is the r-th nearest of the others) over the
    ranks r whose label is that of i.
    Raises as `leave_one_out_memorization`, and DataError for an impossible size.
    """
    features, classes = _checked(points, labels)
    weights = rank_probabilities(classes.size, subset_size)

    def one_minus_agreement(rows: slice, distances: Floats) -> Floats:
        # A stable sort puts the record itself, at infinity, last: finite ones come before it.
        order = np.argsort(distances, axis=1, kind="stable")[:, : weights.size]
        return 1 - (classes[order] == classes[rows, None]) @ weights

    value = np.clip(_by_rows(features, one_minus_agreement), 0, 1)
    return NearestNeighbourMemorization(value, subset_size=subset_size)


def rank_probabilities(n_records: int, subset_size: int) -> NDArray[np.float64]:
    """(n - s,) P(nearest selected record = r-th nearest other) for r = 1 .. n - s; they sum to 1.

    C(n-1-r, s-1) / C(n-1, s) with s the subset size, in logarithms: the binomials overflow from
    about a thousand records on. Raises DataError unless 1 <= s <= n - 1.
    """
    n, s = n_records, subset_size
    if not 1 <= s <= n - 1:
        raise DataError(f"a subset of {n} records without one of them holds 1 to {n - 1}, not {s}")
    rank = np.arange(1, n - s + 1)
    ways = gammaln(n - rank) - gammaln(s) - gammaln(n - rank - s + 1)
    return np.exp(ways - (gammaln(n) - gammaln(s + 1) - gammaln(n - s)))


def _by_rows(features: Floats, measure: Callable[[slice, Floats], Floats]) -> Floats:
    """(n,) a measure of the distances of each record to all others, its own set to infinity."""
    n = len(features)
    out = np.empty(n)
    for rows in blocks(n, max(1, _ELEMENTS // n)):
        distances = cdist(features[rows], features, "sqeuclidean")
        distances[np.arange(len(distances)), np.arange(n)[rows]] = np.inf
        same = int(np.count_nonzero(distances.min(axis=1) == 0))
        if same:
            raise DataError(
                f"at least {same} of {n} records coincide with another one; merge copies first, "
                "or the nearest record is not defined"
            )
        out[rows] = measure(rows, distances)
    return out


def _checked(points: ArrayLike, labels: ArrayLike) -> tuple[Floats, NDArray]:
    features, classes = np.asarray(points, dtype=np.float64), np.asarray(labels)
    if features.ndim != 2 or len(features) < 2:
        raise ShapeError(f"expected points of shape (n, d) with n >= 2, got {features.shape}")
    if classes.shape != (len(features),):
        raise ShapeError(f"expected labels of shape ({len(features)},), got {classes.shape}")
    if not np.all(np.isfinite(features)):
        raise DataError("some points are NaN or infinite; replace or drop them")
    return features, classes
