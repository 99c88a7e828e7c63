"""All sides in one table: the same columns of the same kinds, and finite numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from attacks.errors import DataError
from auditor.records.rows.canonical import (
    ColumnValues,
    array_hashes,
    column_values,
    row_hashes,
    shown_names,
    unique_hashes,
)
from auditor.records.rows.encode import MAX_LEVELS
from auditor.records.rows.model import SavedPredictions
from auditor.records.rows.predictions import Answers, read_answers
from auditor.records.rows.reading import RawSide
from auditor.records.rows.table import Features
from auditor.records.sources import printable

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class Joined:
    """The features of all sides, one side behind the other, in the order of their files."""

    features: Features
    """All rows."""
    hashes: list[str]
    """Content of each row."""
    is_by_place: bool
    """Whether rows have no features, so that each counts as its own content."""
    notes: tuple[str, ...]
    """What the report should say about columns."""

    def rows(self, chosen: NDArray[np.int64]) -> Features:
        """Some rows, with positions from 0."""
        if isinstance(self.features, np.ndarray):
            return self.features[chosen]
        return self.features.iloc[chosen].reset_index(drop=True)


def join_features(raw: Sequence[RawSide], *, has_predictions: bool) -> Joined:
    """One table of one side or several. Raises DataError if their columns, kinds or shapes differ.

    has_predictions: rows without features are allowed; then no two rows are copies.
    """
    if any(isinstance(side.features, np.ndarray) for side in raw):
        joined = _join_arrays(raw)
    else:
        joined = _join_frames(raw)
    features, hashes, notes = joined
    if hashes is None:
        if not has_predictions:
            raise DataError("the data hold no features; check feature_columns and drop_columns")
        places = [(side.name, row) for side in raw for row in range(len(side.labels))]
        return Joined(features, unique_hashes(places), True, tuple(notes))
    return Joined(features, hashes, False, tuple(notes))


def _join_arrays(raw: Sequence[RawSide]) -> tuple[Features, list[str] | None, list[str]]:
    arrays = [np.asarray(side.features) for side in raw]
    for side, array in zip(raw, arrays, strict=True):
        if array.shape[1:] != arrays[0].shape[1:]:
            raise DataError(
                f"the {raw[0].name} have features of shape {arrays[0].shape[1:]} and the "
                f"{side.name} of {array.shape[1:]}; prepare both sides in the same way"
            )
    for side, array in zip(raw, arrays, strict=True):
        n_infinite = int(np.isinf(array).any(axis=tuple(range(1, array.ndim))).sum())
        if n_infinite:
            raise DataError(
                f"{side.name}: {n_infinite} of {len(array)} records hold infinite values; "
                "repair them or leave them out"
            )
    joined = np.concatenate(arrays)
    return joined, array_hashes(joined) if joined[:1].size else None, []


def _join_frames(
    raw: Sequence[RawSide],
) -> tuple[Features, list[str] | None, list[str]]:
    import pandas as pd

    frames: list[pd.DataFrame] = [side.features for side in raw]  # type: ignore[misc]
    names = [str(name) for name in frames[0].columns]
    for side, frame in zip(raw[1:], frames[1:], strict=True):
        _check_columns(raw[0].name, names, side.name, [str(name) for name in frame.columns])
    values = [
        {name: column_values(f[name], f"{s.name}: column '{printable(name)}'") for name in names}
        for s, f in zip(raw, frames, strict=True)
    ]
    for other in values[1:]:
        _check_kinds((values[0], other))
    for side, columns in zip(raw, values, strict=True):
        _check_finite(side.name, columns)
    joined = pd.concat([frame[names] for frame in frames], ignore_index=True)
    for name in names:
        if isinstance(frames[0][name].dtype, pd.CategoricalDtype) and joined[name].dtype == object:
            joined[name] = joined[name].astype("category")
    if not names:
        return joined, None, []
    united = {n: column_values(joined[n], f"column '{printable(n)}'") for n in names}
    return joined, row_hashes(united), _column_notes(united)


def _column_notes(columns: dict[str, ColumnValues]) -> list[str]:
    """What the report should say about columns with many texts, and about row numbers."""
    notes = []
    rare = [name for name, c in columns.items() if len(c.levels) > MAX_LEVELS]
    if rare:
        notes.append(
            f"{len(rare)} columns have more than {MAX_LEVELS} levels "
            f"({shown_names(rare)}); where records are compared as numbers, the rarest share one"
        )
    numbers = [name for name, c in columns.items() if _counts_rows(c)]
    if numbers:
        notes.append(
            f"the columns {shown_names(numbers)} hold another whole number in every row, as row "
            "numbers do: copies cannot be found beside them; if the model does not take them, "
            "leave them out with drop_columns"
        )
    return notes


def _counts_rows(column: ColumnValues) -> bool:
    """Whether at least 20 cells are whole numbers, all different."""
    values = column.numbers
    if values is None or len(values) < 20 or not np.array_equal(values, np.floor(values)):
        return False
    return len(np.unique(values)) == len(values)


def _check_columns(
    first: str, members: Sequence[str], second: str, nonmembers: Sequence[str]
) -> None:
    pairs = ((first, members, nonmembers), (second, nonmembers, members))
    for name, own, other in pairs:
        extra = [column for column in own if column not in other]
        if extra:
            raise DataError(
                f"only the {name} have the columns {shown_names(extra)}; give both sides the same "
                "columns, or leave these out with drop_columns"
            )


def _check_kinds(values: Sequence[dict[str, ColumnValues]]) -> None:
    mixed = [
        name
        for name, column in values[0].items()
        if (column.numbers is None) != (values[1][name].numbers is None)
        and not column.is_missing.all()
        and not values[1][name].is_missing.all()
    ]
    if mixed:
        raise DataError(
            f"the columns {shown_names(mixed)} hold numbers on one side and texts on the other; "
            "store both sides with the same types"
        )


def _check_finite(side: str, columns: dict[str, ColumnValues]) -> None:
    infinite = [
        name for name, c in columns.items() if c.numbers is not None and np.isinf(c.numbers).any()
    ]
    if infinite:
        raise DataError(
            f"{side}: the columns {shown_names(infinite)} hold infinite values; "
            "repair them or leave the records out"
        )


def join_predictions(
    raw: tuple[RawSide, RawSide],
    paths: tuple[Path, Path],
    predictions: tuple[Path, Path] | Literal["columns"] | None,
) -> SavedPredictions | None:
    """Predictions about members, then nonmembers. Raises DataError if they do not fit the rows."""
    if predictions is None:
        return None
    files = paths if predictions == "columns" else (Path(predictions[0]), Path(predictions[1]))
    answers: list[Answers] = []
    for side, file in zip(raw, files, strict=True):
        found = side.answers or read_answers(file)
        if len(found.values) != len(side.labels):
            raise DataError(
                f"{printable(file.name)} has {len(found.values)} predictions for "
                f"{len(side.labels)} {side.name}; save one for each record, in the same order"
            )
        answers.append(found)
    first, second = answers
    if first.kind != second.kind:
        raise DataError(
            f"the members come with {first.kind} and the nonmembers with {second.kind}; "
            "save the same for both"
        )
    if first.classes != second.classes or first.values.shape[1] != second.values.shape[1]:
        raise DataError(
            f"the predictions about members name {first.values.shape[1]} classes and those about "
            f"nonmembers {second.values.shape[1]} or others; save the same classes for both"
        )
    return SavedPredictions(
        np.concatenate([first.values, second.values]),
        first.classes,
        first.kind,
        tuple(dict.fromkeys(files)),
    )
