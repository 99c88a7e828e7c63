"""One side of labelled rows from the arrays of an NPZ file."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from attacks.errors import DataError
from auditor.records.listing import check_split_found, find_column
from auditor.records.model import ReadOptions
from auditor.records.rows.canonical import label_texts, shown_names, texts
from auditor.records.rows.model import RowSource
from auditor.records.rows.predictions import answers_of_arrays
from auditor.records.rows.reading import RawSide
from auditor.records.sources import printable

FEATURE_ARRAYS = ("x", "X", "data", "features")
"""Where the features of an NPZ file are looked for if none is named, in this order."""
LABEL_ARRAYS = ("y", "labels", "targets", "label", "target")
"""Where its labels are looked for if none is named, in this order."""


def read_array_side(
    path: Path, options: ReadOptions, *, split: str | None, side: str, with_answers: bool
) -> RawSide:
    """The rows of an NPZ file; options that name columns name its arrays."""
    arrays, shown = read_arrays(path), printable(path.name)
    names = list(arrays)
    answers = answers_of_arrays(arrays, shown) if with_answers else None
    named = options.feature_columns or ()
    if len(named) > 1:
        raise DataError(f"{shown}: feature_columns names {len(named)} arrays; name the one")
    wanted = named[0] if named else None
    x = find_column(names, "feature_columns", wanted, FEATURE_ARRAYS, shown)
    y = find_column(names, "label_column", options.label_column, LABEL_ARRAYS, shown)
    if y is None or (x is None and answers is None):
        missing, option = ("features", "feature_columns") if y else ("labels", "label_column")
        raise DataError(
            f"{shown} has no array of {missing}; name it with {option}; "
            f"known: {shown_names(names) or 'none'}"
        )
    subject = find_column(names, "subject_column", options.subject_column, ("subject",), shown)
    group = find_column(names, "group_column", options.group_column, (), shown)
    split_name = find_column(names, "split_column", options.split_column, (), shown)
    _check_lengths(
        arrays, [x, y, subject, group, split_name, *(answers.columns if answers else ())], shown
    )
    n = len(arrays[y])
    chosen = np.arange(n)
    if split is not None and split_name is not None:
        values = texts(arrays[split_name])
        check_split_found(values, split, split_name, shown)
        chosen = np.flatnonzero([value == split for value in values])
    if not n:
        raise DataError(f"{side}: {printable(path)} holds no records; check the path and the split")
    return RawSide(
        side,
        _feature_array(arrays[x], f"{shown}: array '{printable(x)}'")[chosen]
        if x is not None
        else np.empty((len(chosen), 0)),
        label_texts(_column_of(arrays[y], shown, y)[chosen], f"{shown}: array '{printable(y)}'"),
        texts(_column_of(arrays[subject], shown, subject)[chosen])
        if subject is not None
        else [None] * len(chosen),
        [RowSource(str(path), path.name, int(row)) for row in chosen],
        answers.rows(chosen) if answers is not None else None,
        f"array '{printable(y)}'",
        texts(_column_of(arrays[group], shown, group)[chosen]) if group is not None else None,
    )


def read_arrays(path: Path) -> dict[str, NDArray]:
    """All arrays of an NPZ file, none of them pickled. Raises DataError."""
    shown = printable(path.name)
    if not os.path.isfile(path):
        raise DataError(f"{shown} is not a regular file; remove or restore it")
    try:
        if not zipfile.is_zipfile(path):
            raise zipfile.BadZipFile
        with np.load(path, allow_pickle=False) as held:
            return {name: held[name] for name in held.files}
    except ValueError:
        raise DataError(
            f"{shown} holds an array of Python objects, which is a pickle and is not read; save "
            "plain numbers and texts, such as `labels.astype(str)`"
        ) from None
    except (OSError, EOFError, zipfile.BadZipFile):
        raise DataError(f"{shown} cannot be read as NPZ; it is damaged or something else") from None


def _check_lengths(arrays: dict[str, NDArray], names: Iterable[str | None], shown: str) -> None:
    used = [name for name in names if name is not None]
    scalars = [name for name in used if arrays[name].ndim == 0]
    if scalars:
        raise DataError(f"{shown}: array '{printable(scalars[0])}' is one value; give one per row")
    lengths = {name: len(arrays[name]) for name in used}
    if len(set(lengths.values())) > 1:
        listed = ", ".join(f"'{printable(name)}' {n}" for name, n in lengths.items())
        raise DataError(f"{shown}: its arrays have different lengths ({listed}); save them again")


def _column_of(array: NDArray, shown: str, name: str) -> NDArray:
    """(n,) of (n,) or (n, 1). Raises DataError."""
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.ndim != 1:
        raise DataError(
            f"{shown}: array '{printable(name)}' has shape {array.shape}; give one value per row"
        )
    return array


def _feature_array(array: NDArray, where: str) -> NDArray:
    if array.dtype.kind not in "biuf":
        raise DataError(
            f"{where} holds {array.dtype}, not numbers; save a table as Parquet instead"
        )
    return array[:, None] if array.ndim == 1 else array
