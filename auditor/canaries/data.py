"""Labelled data of one file, and the same file again with other rows.

What is written keeps the format, the columns and the spelling of what was read: cells of a CSV file
are copied as text, columns of a Parquet file with their types, arrays of an NPZ file as they are.
"""

from __future__ import annotations

import csv
import hashlib
import io
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from attacks.errors import DataError
from auditor.canaries.draw import Draw, Rows
from auditor.records.listing import find_column, find_label_column
from auditor.records.model import ReadOptions
from auditor.records.rows.arrays import FEATURE_ARRAYS, LABEL_ARRAYS, read_arrays
from auditor.records.rows.canonical import (
    ColumnValues,
    array_hashes,
    column_values,
    row_hashes,
)
from auditor.records.rows.reading import data_kind, read_frame, read_side
from auditor.records.rows.table import Features
from auditor.records.sources import printable
from auditor.records.tables import csv_cells, read_text, separator

if TYPE_CHECKING:
    import pandas as pd

FORMATS = (".csv", ".tsv", ".parquet", ".npz")
"""Files that canaries can be planted in."""


class TrainingRows(NamedTuple):
    """The rows of a training file, in their order."""

    rows: Rows
    """(t,) row of the data that each one is, or that lends a canary its other columns."""
    canary: Rows
    """(t,) which canary it is, -1 for none."""


@dataclass(frozen=True, repr=False, eq=False)
class LabelledData:
    """The rows of one file with their classes."""

    path: Path
    """The file."""
    options: ReadOptions
    """How it was read."""
    features: Features
    """n rows of the model's input."""
    labels: list[str]
    """(n,) classes as text."""
    label: str
    """Name of the column or array of the labels."""
    feature_names: tuple[str, ...]
    """Names of the columns of features, or of their one array."""
    has_subjects: bool
    """Whether a column names the person or thing that a row is about."""
    sha256: str
    """Hash of the file."""

    @property
    def format(self) -> str:
        """The suffix of the file in small letters."""
        return self.path.suffix.lower()

    @property
    def n_features(self) -> int:
        """Columns of a table, or numbers of one item of an array."""
        return int(np.prod(self.features.shape[1:]))

    @cached_property
    def class_names(self) -> tuple[str, ...]:
        """Distinct labels, ascending."""
        return tuple(sorted(set(self.labels)))

    @cached_property
    def classes(self) -> NDArray[np.int64]:
        """(n,) position of each label in `class_names`."""
        return np.unique(np.asarray(self.labels, dtype=str), return_inverse=True)[1]

    @cached_property
    def _columns(self) -> dict[str, ColumnValues]:
        frame = self.features
        assert not isinstance(frame, np.ndarray)
        return {n: column_values(frame[n], f"column '{printable(n)}'") for n in frame.columns}

    @cached_property
    def contents(self) -> list[str]:
        """(n,) 32 hex digits of the features of each row."""
        if isinstance(self.features, np.ndarray):
            return array_hashes(self.features)
        return row_hashes(self._columns)

    def contents_of(self, cells: Rows) -> list[str]:
        """(m,) the same of rows made of cells, (m, d) rows of the data."""
        if isinstance(self.features, np.ndarray):
            return array_hashes(self._items(cells))
        mixed = {}
        for (name, column), rows in zip(self._columns.items(), cells.T, strict=True):
            numbers = None if column.numbers is None else column.numbers[rows]
            codes = column.codes[rows] if column.numbers is None else column.codes
            mixed[name] = ColumnValues(column.kind, numbers, codes, column.levels)
        return row_hashes(mixed)

    def _items(self, cells: Rows) -> NDArray:
        """(m, ...) items of an array made of single numbers."""
        array = self.features
        assert isinstance(array, np.ndarray)
        flat = array.reshape(len(array), -1)
        return flat[cells, np.arange(flat.shape[1])].reshape(len(cells), *array.shape[1:])

    def canaries(self, draw: Draw) -> bytes:
        """Features and labels of all canaries: a Parquet or NPZ file with the types of the data.

        A CSV file of few rows could be read with other types than the whole, so it is none.
        """
        content = io.BytesIO()
        labels = np.array([self.labels[row] for row in draw.label], dtype=str)
        if isinstance(self.features, np.ndarray):
            arrays = {self.feature_names[0]: self._items(draw.features), self.label: labels}
            np.savez(content, **arrays)  # type: ignore[arg-type]
        else:
            frame = self._frame(draw.features)
            frame[self.label] = labels
            frame.to_parquet(content, index=False)
        return content.getvalue()

    def _frame(self, cells: Rows) -> pd.DataFrame:
        import pandas as pd

        frame = self.features
        assert not isinstance(frame, np.ndarray)
        columns = {
            name: frame[name].take(rows).reset_index(drop=True)
            for name, rows in zip(frame.columns, cells.T, strict=True)
        }
        return pd.DataFrame(columns)

    def training_file(self, draw: Draw, order: TrainingRows) -> bytes:
        """The file to train on, in the format of the data."""
        if self.format == ".npz":
            return self._npz(draw, order)
        return self._parquet(draw, order) if self.format == ".parquet" else self._csv(draw, order)

    def _column_rows(self, name: str, draw: Draw, order: TrainingRows) -> Rows:
        """(t,) row of the data that each cell of a column comes from."""
        at = np.flatnonzero(order.canary >= 0)
        rows = order.rows.copy()
        if name == self.label:
            rows[at] = draw.label[order.canary[at]]
        elif name in self.feature_names:
            rows[at] = draw.features[order.canary[at], self.feature_names.index(name)]
        return rows

    def _csv(self, draw: Draw, order: TrainingRows) -> bytes:
        comma, shown = separator(self.path), printable(self.path.name)
        cells = [row for _, row in csv_cells(read_text(self.path), comma, shown)]
        header = cells.pop(0) if self.options.header else None
        names = [str(name) for name in read_frame_names(self.path, self.options)]
        columns = [
            [cells[row][j] for row in self._column_rows(name, draw, order).tolist()]
            for j, name in enumerate(names)
        ]
        text = io.StringIO(newline="")
        writer = csv.writer(text, delimiter=comma, lineterminator="\n")
        if header is not None:
            writer.writerow(header)
        writer.writerows(zip(*columns, strict=True))
        return text.getvalue().encode()

    def _parquet(self, draw: Draw, order: TrainingRows) -> bytes:
        import pyarrow as pa
        import pyarrow.parquet as pq

        table = pq.ParquetFile(self.path).read()
        columns = [
            table.column(j).take(pa.array(self._column_rows(str(name), draw, order)))
            for j, name in enumerate(table.column_names)
        ]
        content = io.BytesIO()
        pq.write_table(pa.table(columns, schema=table.schema), content)
        return content.getvalue()

    def _npz(self, draw: Draw, order: TrainingRows) -> bytes:
        arrays, n = read_arrays(self.path), len(self.labels)
        at = np.flatnonzero(order.canary >= 0)
        for name, array in arrays.items():
            if array.ndim == 0 or len(array) != n:
                continue  # not one entry a row, such as the names of the classes
            is_label = name == self.label
            arrays[name] = array[self._column_rows(name, draw, order) if is_label else order.rows]
        (x,) = self.feature_names
        shape = arrays[x].shape
        arrays[x][at] = self._items(draw.features[order.canary[at]]).reshape(len(at), *shape[1:])
        content = io.BytesIO()
        np.savez(content, **arrays)  # type: ignore[arg-type]
        return content.getvalue()


def read_frame_names(path: Path, options: ReadOptions) -> Sequence[str]:
    """Names of all columns of a table, in their order."""
    return list(read_frame(path, options)[0].columns)


def read_labelled(path: Path, options: ReadOptions) -> LabelledData:
    """Read one labelled file. Raises DataError that names file and column, never a cell."""
    shown = printable(path.name)
    if path.suffix.lower() not in FORMATS or path.is_dir():
        raise DataError(
            f"canaries are planted in one file of labelled rows ({', '.join(FORMATS)}), and "
            f"{shown} is none; save the training data as one"
        )
    if options.split_column is not None:
        raise DataError("split_column is set: give the rows to train on alone, without the others")
    if data_kind(path, options, "data") == "pictures":
        raise DataError(f"{shown} holds encoded pictures; save them as arrays in an NPZ file")
    side = read_side(path, options, split=None, side="data", with_answers=False)
    if len(set(side.labels)) < 2:
        raise DataError(
            f"every row of {shown} has the same label, so that no label is wrong; check label_column"
        )
    if isinstance(side.features, np.ndarray):
        names = list(read_arrays(path))
        named = options.feature_columns[0] if options.feature_columns else None
        x = find_column(names, "feature_columns", named, FEATURE_ARRAYS, shown)
        y = find_column(names, "label_column", options.label_column, LABEL_ARRAYS, shown)
        features: tuple[str, ...] = (str(x),)
        label = str(y)
    else:
        features = tuple(map(str, side.features.columns))
        label = find_label_column(read_frame_names(path, options), options.label_column, shown)
    return LabelledData(
        path=path,
        options=options,
        features=side.features,
        labels=side.labels,
        label=label,
        feature_names=features,
        has_subjects=any(subject is not None for subject in side.subjects),
        sha256=hashlib.sha256(path.read_bytes()).hexdigest(),
    )
