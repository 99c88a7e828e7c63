"""Subpopulations: which records of one class lie so close that they teach the same?

Feldman's theorem (STOC 2020, arXiv:1906.05271) is about points, and extends to subpopulations, but
does not say how to find them. Our reading: records of one class belong together if no two of them
are further apart than records usually are from the nearest record of another class. So a cluster
is as wide as the data tell classes apart, and a record that is alone at this scale is a singleton.
Invalid when: distances between the features mean nothing to the model.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.spatial.distance import cdist

from attacks.errors import DataError, Inapplicable, ShapeError
from attacks.memorization._design import Floats, blocks

MOST_OF_A_CLASS = 6000
"""Records of one class that are clustered; their distances take 144 MB."""
_PROBES = 2000
_ELEMENTS = 1 << 22  # of a block of distances: 32 MiB


@dataclass(frozen=True, slots=True, eq=False)
class Subpopulations:
    """Clusters of records."""

    cluster: NDArray[np.int64]
    """(n,) number of the cluster of each record, from 0."""
    radius: float
    """Largest distance between two records of one cluster."""


def subpopulations(points: ArrayLike, labels: ArrayLike, cells: ArrayLike) -> Subpopulations:
    """Clusters of records that share a cell and lie within one radius of each other.

    points: (n, d) finite features on comparable scales; labels: (n,) classes, at least two.
    cells: (n,) what a cluster may not straddle: the class, or class and group together.
    The radius is the median distance of a record to the nearest record of another class, over at
    most 2000 records that are spread evenly over the data; clusters are cut from complete linkage.

    Raises ShapeError or DataError for arrays that do not fit, Inapplicable for a cell of more than
    6000 records, whose distances would not fit in memory.
    """
    features, classes = np.asarray(points, dtype=np.float64), np.asarray(labels)
    of_cell = np.unique(np.asarray(cells), return_inverse=True)[1]
    if features.ndim != 2 or classes.shape != features.shape[:1] or of_cell.shape != classes.shape:
        raise ShapeError("expected points of shape (n, d), and n labels and cells")
    if not np.isfinite(features).all() or np.unique(classes).size < 2:
        raise DataError("subpopulations need finite points of at least two classes")
    largest = int(np.bincount(of_cell).max())
    if largest > MOST_OF_A_CLASS:
        raise Inapplicable(
            f"{largest:,} records of one class are too many to cluster by all their distances; "
            f"the limit is {MOST_OF_A_CLASS:,}"
        )
    radius = _radius(features, classes)
    cluster = np.empty(classes.size, dtype=np.int64)
    n_clusters = 0
    for cell in range(int(of_cell.max()) + 1):
        own = np.flatnonzero(of_cell == cell)
        numbers = np.ones(1, dtype=np.int64)
        if own.size > 1:
            tree = linkage(features[own], method="complete")
            numbers = fcluster(tree, t=radius, criterion="distance").astype(np.int64)
        cluster[own] = n_clusters + numbers - 1
        n_clusters += int(numbers.max())
    return Subpopulations(cluster, radius)


def _radius(features: Floats, classes: NDArray) -> float:
    """Median distance to the nearest record of another class."""
    n = len(features)
    probes = np.unique(np.linspace(0, n - 1, min(n, _PROBES)).astype(np.int64))
    nearest = np.empty(probes.size)
    for part in blocks(probes.size, max(1, _ELEMENTS // n)):
        rows = probes[part]
        distances = cdist(features[rows], features)
        distances[classes[rows][:, None] == classes] = np.inf
        nearest[part] = distances.min(axis=1)
    return float(np.median(nearest))
