"""Features and labels of all records of a comparison, by position."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import NDArray

from auditor.records.rows.canonical import ColumnValues, Kind, column_values
from auditor.records.rows.encode import encode_array, encode_columns
from auditor.records.rows.model import SavedPredictions

if TYPE_CHECKING:
    import pandas as pd

Features: TypeAlias = "pd.DataFrame | NDArray"
Positions: TypeAlias = "Sequence[int] | NDArray[np.integer]"


@dataclass(frozen=True, slots=True)
class Column:
    """One feature of a table, or an array with more than two axes as a whole."""

    name: str
    """The name in the data; positions where there is none."""
    kind: Kind
    """numeric, binary (0, 1, booleans) or category."""


class Table:
    """Features, labels and, where the audit has no model, saved predictions.

    Not comparable; the representation shows sizes alone.
    """

    def __init__(
        self,
        features: Features,
        labels: Sequence[str],
        *,
        is_pictures: bool = False,
        predictions: SavedPredictions | None = None,
    ) -> None:
        self.features = features
        """A DataFrame with the names and types of the data, or an array with n on axis 0; pictures
        are (n, height, width, channels) uint8."""
        self.labels: NDArray[np.object_] = np.array(labels, dtype=object)
        """(n,) classes as text."""
        self.is_pictures = is_pictures
        """Whether the features are decoded pictures."""
        self.predictions = predictions
        """What the model said about each record, if that was saved."""

    def __len__(self) -> int:
        return len(self.labels)

    def __repr__(self) -> str:
        return f"Table(n={len(self)}, columns={len(self.columns)})"

    def inputs(self, positions: Positions | None = None) -> Features:
        """What a model is asked with about some records, or all.

        Tables and arrays as they are; pictures as (n, channels, height, width) float32 in [0, 1];
        saved predictions, if there are any, as (n, k) float64: they are their own input.
        """
        rows = self._rows(positions)
        if self.predictions is not None:
            return self.predictions.values[rows]
        if not isinstance(self.features, np.ndarray):
            return self.features.iloc[rows]
        chosen = self.features[rows]
        if not self.is_pictures:
            return chosen
        return np.ascontiguousarray(chosen.transpose(0, 3, 1, 2), dtype=np.float32) / 255

    @cached_property
    def columns(self) -> tuple[Column, ...]:
        """The features: columns of a table or of a matrix; one for an array with more axes."""
        if isinstance(self.features, np.ndarray) and self.features.ndim > 2:
            return (Column("x", "numeric"),)
        return tuple(Column(name, values.kind) for name, values in self.values.items())

    @cached_property
    def values(self) -> dict[str, ColumnValues]:
        """The columns of a table or of a matrix in canonical form; empty for other arrays."""
        import pandas as pd

        if not isinstance(self.features, np.ndarray):
            named = {str(name): self.features[name] for name in self.features.columns}
        elif self.features.ndim == 2:
            named = {f"x{i}": pd.Series(column) for i, column in enumerate(self.features.T)}
        else:
            named = {}
        return {name: column_values(series, f"column '{name}'") for name, series in named.items()}

    def encoded(self, positions: Positions | None = None) -> NDArray[np.float64]:
        """(n, d) finite numbers that depend on the features of the whole table, never on labels.

        Numbers are standardised, with missing ones filled by the median and flagged; booleans are
        0/1; categories are one-hot up to MAX_LEVELS levels. Arrays with more than two axes are
        flattened and standardised as a whole. d is 0 for saved predictions without features.
        """
        rows = self._rows(positions)
        if isinstance(self.features, np.ndarray) and self.features.ndim > 2:
            return encode_array(self.features, rows)
        return encode_columns(self.values, len(self)).values[rows]

    @property
    def encoded_sources(self) -> tuple[int, ...]:
        """(d,) position in `columns` of each feature of `encoded`."""
        if isinstance(self.features, np.ndarray) and self.features.ndim > 2:
            return (0,) * int(np.prod(self.features.shape[1:]))
        return encode_columns(self.values, len(self)).sources

    def _rows(self, positions: Positions | None) -> NDArray[np.int64] | slice:
        return slice(None) if positions is None else np.asarray(positions, np.int64)
