"""The records that shadow models are trained on and asked about."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from attacks.errors import DataError, ShapeError
from auditor.shadows.fingerprint import described, hashed

if TYPE_CHECKING:
    from pandas import DataFrame


@dataclass(frozen=True)
class Pool:
    """n labelled records with their features in the form that the recipe takes."""

    record_ids: Sequence[str]
    """Stable ids, each once."""
    features: NDArray[Any] | DataFrame
    """(n, ...) numbers, or a table with named columns for a scikit-learn pipeline."""
    classes: NDArray[np.integer]
    """(n,) class indices 0..k-1."""
    n_classes: int
    """k; a class may be absent from the pool."""
    groups: Sequence[str] | None = None
    """(n,) data subjects, whose records are never torn apart."""
    n_asked: int = 0
    """The last so many records are only asked about: no model is trained on them."""

    def __post_init__(self) -> None:
        n = len(self.record_ids)
        columns = {"features": self.features, "classes": self.classes, "groups": self.groups}
        for name, column in columns.items():
            if column is not None and len(column) != n:
                raise ShapeError(
                    f"expected {n} {name} in the pool, one per record, got {len(column)}"
                )
        if not 0 <= self.n_asked <= n:
            raise ShapeError(f"n_asked must lie between 0 and {n}, got {self.n_asked}")
        classes = np.asarray(self.classes)
        if classes.ndim != 1 or not np.issubdtype(classes.dtype, np.integer):
            raise ShapeError(
                f"expected classes of shape ({n},) as integers, got {classes.dtype} of shape "
                f"{classes.shape}; pass the index of each record's class"
            )
        if n and not 0 <= classes.min() <= classes.max() < self.n_classes:
            raise DataError(
                f"classes of the pool run from {classes.min()} to {classes.max()}, but there are "
                f"{self.n_classes}; number them from 0"
            )
        object.__setattr__(self, "classes", classes)

    @cached_property
    def key(self) -> str:
        """A hash of the ordered record ids, classes, groups, features and their roles."""
        return hashed(
            *("\n".join(map(str, ids)) for ids in (self.record_ids, self.groups or ())),
            described(np.asarray(self.classes, dtype=np.int64)),
            str(self.n_classes),
            _of_features(self.features),
            *([f"asked {self.n_asked}"] if self.n_asked else []),
        )

    @property
    def n_trainable(self) -> int:
        """Records that training sets are drawn from: the first ones."""
        return len(self.record_ids) - self.n_asked


def version_id(record_id: str, query: int) -> str:
    """Id under which an augmented version of a record is asked about; 0 is the record itself."""
    return f"{record_id}#{query}" if query else record_id


def _of_features(features: NDArray[Any] | DataFrame) -> str:
    if isinstance(features, np.ndarray) and not features.dtype.hasobject:
        return described(features)
    from pandas import DataFrame
    from pandas.util import hash_pandas_object

    table = DataFrame(features)
    rows = hash_pandas_object(table, index=False).to_numpy()
    columns = [f"{name!r} {kind}" for name, kind in table.dtypes.items()]
    return hashed(*columns, hashlib.sha256(rows.tobytes()).hexdigest())
