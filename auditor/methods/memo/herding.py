"""Herding: which records of a class are kept as its exemplars.

Source: Rebuffi et al., iCaRL, CVPR 2017, algorithm 4, as used by MEMO: features have unit
length, their mean is not normalised again, and records are drawn without replacement.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def unit_rows(features: NDArray) -> NDArray[np.float64]:
    """(n, d) features scaled to length 1; a zero row stays zero."""
    rows = np.asarray(features, dtype=np.float64)
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return rows / np.where(lengths > 0, lengths, 1.0)


def herd(features: NDArray, m: int) -> NDArray[np.int64]:
    """Indices of m rows of (n, d) unit features, in the order in which they were picked.

    The k-th pick brings the mean of the picks nearest to the mean of all rows, given the picks
    before it; ties go to the first row. All rows are picked, in order, where n <= m. Picking
    fewer gives a prefix.
    """
    rows = np.asarray(features, dtype=np.float64)
    centre = rows.mean(axis=0) if len(rows) else np.zeros(rows.shape[1])
    free = np.ones(len(rows), dtype=bool)
    picked_sum = np.zeros_like(centre)
    order: list[int] = []
    for k in range(1, min(m, len(rows)) + 1):
        distances = np.linalg.norm(centre - (rows + picked_sum) / k, axis=1)
        best = int(np.where(free, distances, np.inf).argmin())
        free[best] = False
        picked_sum += rows[best]
        order.append(best)
    return np.array(order, dtype=np.int64)


def herded_by_class(
    features: NDArray, classes: NDArray[np.integer], quota: dict[int, int]
) -> NDArray[np.int64]:
    """Rows that herding keeps of (n, d) unit features, with quota[c] rows of class c."""
    kept = []
    for c, m in quota.items():
        rows = np.flatnonzero(classes == c)
        if len(rows):
            kept.append(rows[herd(features[rows], m)])
    return np.concatenate(kept) if kept else np.zeros(0, dtype=np.int64)
