"""Records as the plain numbers that networks take."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from attacks.errors import TargetError
from auditor.records.rows.canonical import shown_names
from auditor.records.rows.table import Features

BATCH_VALUES = 2**22
"""Numbers in one batch; what decides its size, together with MAX_BATCH."""
MAX_BATCH = 4096
"""Records in one batch at most."""


def as_numbers(features: Features, shown: str, dtype: str = "float32") -> NDArray:
    """(n, ...) numbers of records, the columns of a table in their order.

    Raises TargetError that names the columns that hold something else.
    """
    if isinstance(features, np.ndarray):
        if features.dtype.kind not in "biuf":
            raise TargetError(f"{shown} takes numbers, and the records are {features.dtype}")
        return features.astype(dtype)
    words = [str(n) for n in features.columns if features[n].dtype.kind not in "biuf"]
    if words:
        raise TargetError(
            f"{shown} takes numbers, and these columns hold something else: {shown_names(words)}; "
            "encode them as they were for training, or leave them out with drop_columns"
        )
    return np.array(features.to_numpy(dtype=dtype, na_value=np.nan))  # torch wants it writable


def batches(n: int, n_values: int, fixed: int | None) -> Iterator[slice]:
    """Slices of n records of n_values numbers each; `fixed` is the only size that is taken."""
    size = fixed or min(max(BATCH_VALUES // max(n_values, 1), 1), MAX_BATCH)
    for start in range(0, n, size):
        yield slice(start, start + size)


def padded(batch: NDArray, size: int | None) -> NDArray:
    """The batch with its last record repeated up to a fixed size."""
    if size is None or len(batch) == size:
        return batch
    return np.concatenate([batch, np.repeat(batch[-1:], size - len(batch), axis=0)])
