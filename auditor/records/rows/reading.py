"""One side of labelled rows, as its files hold it: CSV, TSV, JSONL, Parquet, NPZ."""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias

from attacks.errors import DataError, did_you_mean
from auditor.records.listing import (
    IMAGE_COLUMNS,
    check_split_found,
    find_column,
    find_label_column,
)
from auditor.records.model import ReadOptions
from auditor.records.paths import DataFolder
from auditor.records.rows.canonical import label_texts, shown_names, texts
from auditor.records.rows.model import RowSource
from auditor.records.rows.predictions import Answers, answers_of_frame
from auditor.records.rows.table import Features
from auditor.records.sources import printable
from auditor.records.tables import TABLE_SUFFIXES, csv_cells, read_table, read_text, separator

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

DataKind: TypeAlias = Literal["table", "array", "pictures"]


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class RawSide:
    """The rows of one side, in the order of its files."""

    name: str
    """"members" or "nonmembers"."""
    features: Features
    """n rows of the model's input, without any other column."""
    labels: list[str]
    """Classes as text."""
    subjects: list[str | None]
    """Data subjects."""
    sources: list[RowSource]
    """Where each row lies."""
    answers: Answers | None
    """Saved predictions in the same files, if they were asked for."""
    label_source: str
    """Where the labels come from."""
    groups: list[str | None] | None = None
    """The group of each row, if a column of groups was named."""


def data_kind(path: Path, options: ReadOptions, side: str) -> DataKind:
    """What a path holds, by its name and schema. Raises DataError if it is nothing we read."""
    if not path.exists():
        raise DataError(f"{side}: {printable(path)} does not exist; check the path")
    suffix = path.suffix.lower()
    if path.is_dir():
        files, _ = DataFolder(path).walk()
        shards = [f for f in files if f.lower().endswith(".parquet")]
        return _parquet_kind(Path(shards[0]), options) if shards else "pictures"
    if suffix == ".parquet":
        return _parquet_kind(path, options)
    if suffix == ".npz":
        return "array"
    if suffix in TABLE_SUFFIXES:
        return "table" if options.image_column is None else "pictures"
    raise DataError(
        f"{side}: {printable(path)} is no labelled data set; pass a table "
        f"({', '.join(TABLE_SUFFIXES)}, .parquet), an .npz file, or a folder of pictures with "
        "a label for each"
    )


def _parquet_kind(path: Path, options: ReadOptions) -> DataKind:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        schema = pq.read_schema(path)
    except (OSError, pa.ArrowException):
        raise _not_parquet(path.name) from None
    named = (options.image_column,) if options.image_column is not None else IMAGE_COLUMNS
    for name in named:
        kind = schema.field(name).type if name in schema.names else None
        if kind is not None and _may_hold_pictures(kind):
            return "pictures"
    return "table"


def _may_hold_pictures(kind: pa.DataType) -> bool:
    import pyarrow.types as kinds

    return bool(kinds.is_struct(kind) or kinds.is_binary(kind) or kinds.is_large_binary(kind))


def _not_parquet(name: str) -> DataError:
    return DataError(
        f"{printable(name)} cannot be read as Parquet; it is damaged or something else"
    )


def read_side(
    path: Path, options: ReadOptions, *, split: str | None, side: str, with_answers: bool
) -> RawSide:
    """The rows of a table or of an NPZ file, or of one of its splits.

    with_answers: whether columns of saved predictions are taken out of the features.
    Raises DataError that names file and column, never a cell.
    """
    if path.suffix.lower() == ".npz":
        from auditor.records.rows.arrays import read_array_side

        return read_array_side(path, options, split=split, side=side, with_answers=with_answers)
    frame, sources = read_frame(path, options)
    if not len(frame):
        raise DataError(f"{side}: {printable(path)} holds no records; check the path and the split")
    names = list(frame.columns)
    shown = printable(path.name)
    label = find_label_column(names, options.label_column, shown)
    subject = find_column(names, "subject_column", options.subject_column, ("subject",), shown)
    group = find_column(names, "group_column", options.group_column, (), shown)
    if split is not None:
        frame, sources = _of_split(frame, sources, options, split, shown)
    labels = label_texts(frame[label], f"{shown}: column '{printable(label)}'")
    answers = answers_of_frame(frame, shown) if with_answers else None
    taken = {label, subject, options.split_column, *(answers.columns if answers else ())}
    features = _feature_names(names, options, taken, shown)
    if not features and answers is None:
        raise DataError(f"{shown} has no column of features beside its labels; check the columns")
    return RawSide(
        side,
        frame[features],
        labels,
        texts(frame[subject]) if subject is not None else [None] * len(frame),
        sources,
        answers,
        f"column '{printable(label)}'",
        texts(frame[group]) if group is not None else None,
    )


def _of_split(
    frame: pd.DataFrame, sources: list[RowSource], options: ReadOptions, split: str, shown: str
) -> tuple[pd.DataFrame, list[RowSource]]:
    column = find_column(list(frame.columns), "split_column", options.split_column, (), shown)
    values = texts(frame[str(column)])
    check_split_found(values, split, str(column), shown)
    chosen = [i for i, value in enumerate(values) if value == split]
    return frame.iloc[chosen].reset_index(drop=True), [sources[i] for i in chosen]


def _feature_names(
    names: Sequence[str], options: ReadOptions, taken: Iterable[str | None], shown: str
) -> list[str]:
    """The columns of features, in the order of the file."""
    reserved = set(taken)
    for option in ("feature_columns", "drop_columns"):
        for wanted in getattr(options, option) or ():
            if wanted not in names:
                raise DataError(
                    f"{shown} has no column '{printable(wanted)}' ({option}); "
                    f"{did_you_mean(wanted, map(printable, names))}"
                )
    if options.feature_columns is None:
        return [n for n in names if n not in reserved and n not in options.drop_columns]
    clash = [n for n in options.feature_columns if n in reserved]
    if clash:
        raise DataError(
            f"feature_columns names {shown_names(clash)}, which is no feature: it holds the "
            "label, the subject, the split or a saved prediction"
        )
    return list(dict.fromkeys(options.feature_columns))


def read_frame(path: Path, options: ReadOptions) -> tuple[pd.DataFrame, list[RowSource]]:
    """All columns of a table, and the place of every row. Raises DataError."""
    import pandas as pd

    files = [(path, path.name)]
    if path.is_dir():
        folder = DataFolder(path)
        found, _ = folder.walk()
        files = [(Path(f), folder.name(f)) for f in found if f.lower().endswith(".parquet")]
    frames: list[pd.DataFrame] = []
    sources: list[RowSource] = []
    for file, name in files:
        if file.suffix.lower() == ".parquet":
            frame = _read_parquet(file)
        elif file.suffix.lower() == ".jsonl":
            table = read_table(file)
            frame = pd.DataFrame([row.cells for row in table.rows], columns=list(table.columns))
        else:
            frame = _read_csv(file, options)
        if frames and list(frame.columns) != list(frames[0].columns):
            raise DataError(
                f"{printable(name)} has other columns than {printable(files[0][1])}; "
                "unite the Parquet files"
            )
        frames.append(frame)
        sources += [RowSource(str(file), name, row) for row in range(len(frame))]
    whole = frames[0] if len(frames) == 1 else pd.concat(frames, ignore_index=True)
    return whole, sources


def _read_parquet(path: Path) -> pd.DataFrame:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        frame = pq.ParquetFile(path).read().to_pandas()
    except (OSError, ValueError, pa.ArrowException):
        raise _not_parquet(path.name) from None
    if len(set(frame.columns)) != len(frame.columns):
        raise DataError(f"{printable(path.name)} names a column twice; rename one")
    frame = frame.reset_index(drop=True)
    frame.columns = [str(name) for name in frame.columns]
    return frame


def _read_csv(path: Path, options: ReadOptions) -> pd.DataFrame:
    """As `pandas.read_csv(path)` reads it, after every row was found to have all its cells."""
    import pandas as pd

    text, comma, shown = read_text(path), separator(path), printable(path.name)
    rows = csv_cells(text, comma, shown)
    _, first = next(rows)
    n_rows = sum(1 for _ in rows) + (not options.header and bool(first))
    if options.header and len(set(first)) != len(first):
        raise DataError(f"{shown} names a column twice in its header; rename one")
    if not n_rows:
        return pd.DataFrame(columns=first)
    try:
        frame = pd.read_csv(
            io.StringIO(text),
            sep=comma,
            header=0 if options.header else None,
            index_col=False,
            low_memory=False,
        )
    except (ValueError, pd.errors.ParserError):
        frame = pd.DataFrame()
    if len(frame) != n_rows:
        raise DataError(
            f"{shown} cannot be read as a table of {n_rows} rows; save it with plain quotes and "
            "line ends, or as Parquet"
        )
    frame.columns = [str(name) for name in frame.columns]
    return frame
