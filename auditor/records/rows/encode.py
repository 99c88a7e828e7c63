"""Features as numbers, without labels: for baselines, shadows and attacks that want a vector.

Everything is decided from the whole table, members and nonmembers together, so that the encoding
itself tells neither apart.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from auditor.records.rows.canonical import ColumnValues

MAX_LEVELS = 32
"""Most frequent levels of a category that get a feature of their own; the others share one."""

_CHUNK = 4096


class Encoded(NamedTuple):
    """Numbers for n records."""

    values: NDArray[np.float64]
    """(n, d), finite."""
    sources: tuple[int, ...]
    """(d,) position of the column that each feature comes from."""


def encode_columns(columns: Mapping[str, ColumnValues], n: int) -> Encoded:
    """(n, d) encoding of the columns of a table, in their order."""
    blocks: list[NDArray[np.float64]] = []
    sources: list[int] = []
    for i, column in enumerate(columns.values()):
        block = _category_block(column) if column.numbers is None else _number_block(column)
        blocks.append(block)
        sources += [i] * block.shape[1]
    values = np.concatenate(blocks, axis=1) if blocks else np.empty((n, 0))
    return Encoded(values, tuple(sources))


def _number_block(column: ColumnValues) -> NDArray[np.float64]:
    """Standardised numbers or 0/1, missing ones filled by the median, and a flag for them."""
    assert column.numbers is not None
    is_missing = column.is_missing
    known = column.numbers[~is_missing]
    filled = np.where(is_missing, np.median(known) if len(known) else 0.0, column.numbers)
    if column.kind == "numeric":
        filled = _standardised(filled, filled.mean(), filled.std())
    flags = [is_missing.astype(np.float64)] if is_missing.any() else []
    return np.stack([filled, *flags], axis=1)


def _category_block(column: ColumnValues) -> NDArray[np.float64]:
    """One-hot levels, the most frequent first; one feature for all others, one for missing."""
    counts = np.bincount(column.codes[column.codes >= 0], minlength=len(column.levels))
    order = np.argsort(-counts, kind="stable")  # levels ascend, so ties go to the smaller text
    n_own = min(len(order), MAX_LEVELS)
    slot = np.full(len(order) + 1, n_own)
    slot[order[:n_own]] = np.arange(n_own)
    slot[-1] = n_own + 1  # code -1
    one_hot = np.zeros((len(column.codes), n_own + 2))
    one_hot[np.arange(len(column.codes)), slot[column.codes]] = 1.0
    kept = list(range(n_own))
    kept += [n_own] if len(order) > n_own else []
    kept += [n_own + 1] if column.is_missing.any() else []
    return one_hot[:, kept]


def _standardised(values: NDArray, mean: float, deviation: float) -> NDArray[np.float64]:
    return (values - mean) / (deviation if deviation > 0 else 1.0)


def encode_array(array: NDArray, rows: NDArray[np.int64] | slice) -> NDArray[np.float64]:
    """(n, d) flattened items, standardised by one mean and deviation of the whole array.

    Missing numbers become 0, which is the mean.
    """
    total, square, n_known = 0.0, 0.0, 0
    for low in range(0, len(array), _CHUNK):
        known = array[low : low + _CHUNK].astype(np.float64)
        known = known[~np.isnan(known)]
        total, n_known = total + known.sum(), n_known + known.size
    mean = total / max(n_known, 1)
    for low in range(0, len(array), _CHUNK):
        centred = array[low : low + _CHUNK].astype(np.float64) - mean
        square += np.nansum(centred**2)
    chosen = array[rows].astype(np.float64)
    flat = chosen.reshape(len(chosen), -1)
    return np.nan_to_num(_standardised(flat, mean, float(np.sqrt(square / max(n_known, 1)))))
