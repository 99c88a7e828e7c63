"""Pictures in Parquet files, listed without reading them; they are read by row group."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from attacks.errors import DataError
from auditor.records.listing import (
    CAPTIONS,
    Beside,
    Columns,
    Listing,
    Row,
    check_split_found,
    normal_text,
    resolve_columns,
)
from auditor.records.model import ReadOptions
from auditor.records.sources import ParquetSource, printable

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq


def list_parquet(
    files: Sequence[tuple[Path, str]],
    options: ReadOptions,
    split: str | None,
    beside: Beside = CAPTIONS,
) -> Listing:
    """The rows of Parquet files.

    files: pairs of a file and its name relative to the data folder.
    Raises DataError for damaged files, missing columns and columns of the wrong type.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows: list[Row] = []
    splits: list[str | None] = []
    caption_sources: dict[str, None] = {}
    for path, name in files:
        if not os.path.isfile(path):
            raise DataError(f"{printable(name)} is not a regular file; remove or restore it")
        try:
            with pq.ParquetFile(path) as file:
                if file.metadata.num_rows == 0:
                    continue
                columns = resolve_columns(file.schema_arrow.names, options, printable(name), beside)
                _check_types(file.schema_arrow, columns, printable(name))
                caption_sources[columns.caption_source] = None
                rows += _list_file(file, path, name, columns, split, splits)
        except (OSError, pa.ArrowException):
            raise DataError(
                f"{printable(name)} cannot be read as Parquet; it is damaged or something else"
            ) from None
    if split is not None:
        check_split_found(splits, split, str(options.split_column), printable(files[0][1]))
    return Listing(tuple(rows), " and ".join(caption_sources) or "none")


def _list_file(
    file: pq.ParquetFile,
    path: Path,
    name: str,
    columns: Columns,
    split: str | None,
    splits: list[str | None],
) -> list[Row]:
    """The rows of one open file; the values of its split column are added to `splits`."""
    rows: list[Row] = []
    start = 0
    for group in range(file.num_row_groups):
        n_group = file.metadata.row_group(group).num_rows
        captions = _texts(file, group, columns.text, n_group)
        subjects = _texts(file, group, columns.subject, n_group)
        guesses = _texts(file, group, columns.guess, n_group)
        values = _texts(file, group, columns.split, n_group) if split is not None else None
        splits.extend(values or ())
        for i in range(n_group):
            if values is not None and values[i] != split:
                continue
            source = ParquetSource(str(path), name, columns.image, group, i, start + i)
            texts = (normal_text(column[i]) for column in (captions, subjects, guesses))
            rows.append(Row(source, *texts))
        start += n_group
    return rows


def _texts(file: pq.ParquetFile, group: int, column: str | None, n_rows: int) -> list[Any]:
    """One column of a row group as texts; Nones if there is no column."""
    if column is None:
        return [None] * n_rows
    values = file.read_row_group(group, columns=[column], use_threads=False).column(column)
    return [v if v is None or isinstance(v, str) else str(v) for v in values.to_pylist()]


def _check_types(schema: pa.Schema, columns: Columns, shown: str) -> None:
    """Raise DataError unless pictures are bytes and texts are plain values."""
    import pyarrow.types as kinds

    def is_bytes(kind: pa.DataType) -> bool:
        return bool(kinds.is_binary(kind) or kinds.is_large_binary(kind))

    image = schema.field(columns.image).type
    if kinds.is_struct(image):
        position = image.get_field_index("bytes")
        held = image.field(position).type if position >= 0 else image
    else:
        held = image
    if not is_bytes(held):
        raise DataError(
            f"{shown}: column '{printable(columns.image)}' holds {printable(image)}, not encoded "
            "pictures; name one of bytes, or of a struct with bytes, with image_column"
        )
    for column in (columns.text, columns.subject, columns.split, columns.guess):
        kind = None if column is None else schema.field(column).type
        if kind is not None and kinds.is_dictionary(kind):
            kind = kind.value_type
        if kind is not None and (kinds.is_nested(kind) or is_bytes(kind)):
            raise DataError(
                f"{shown}: column '{printable(column)}' holds {printable(kind)}; "
                "give one text per row"
            )
