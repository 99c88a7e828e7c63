"""Rows of JSONL and CSV files, each with its number and nothing guessed."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from attacks.errors import DataError
from auditor.records.sources import Unreadable, printable, read_regular_file

TABLE_SUFFIXES = (".jsonl", ".csv", ".tsv")
"""Text tables that are read; `.json` is not, since it has no rows."""


@dataclass(frozen=True, slots=True, repr=False)
class TableRow:
    """One row of a text table."""

    number: int
    """Line of a JSONL file; row of a CSV file, where the header is row 1."""
    cells: dict[str, object]
    """Value by column."""


@dataclass(frozen=True, slots=True, repr=False)
class Table:
    """A text table in memory; pictures are not part of it."""

    path: Path
    """The file."""
    columns: tuple[str, ...]
    """Columns in the order in which they first occur."""
    rows: tuple[TableRow, ...]
    """Rows in file order."""

    def where(self, row: TableRow) -> str:
        """The file and row for an error."""
        word = "line" if self.path.suffix.lower() == ".jsonl" else "row"
        return f"{printable(self.path.name)} {word} {row.number}"

    def text(self, row: TableRow, column: str | None) -> str | None:
        """The cell as text, None where it is missing. Raises DataError for lists and the like."""
        value = None if column is None else row.cells.get(column)
        if value is None or isinstance(value, str):
            return value
        if isinstance(value, int | float) and not isinstance(value, bool):
            return str(value)
        raise DataError(
            f"{self.where(row)}: column '{printable(column)}' holds a {type(value).__name__}; "
            "give one text per row"
        )


def read_table(path: Path) -> Table:
    """Read a JSONL, CSV or TSV file, UTF-8 with or without a byte order mark.

    Raises DataError that names file and row, never the content.
    """
    shown = printable(path.name)
    text = read_text(path)
    is_lines = path.suffix.lower() == ".jsonl"
    rows = tuple(_json_rows(shown, text) if is_lines else _csv_rows(path, shown, text))
    columns = tuple(dict.fromkeys(column for row in rows for column in row.cells))
    return Table(path, columns, rows)


def read_text(path: Path) -> str:
    """The text of a UTF-8 file, without a byte order mark. Raises DataError."""
    shown = printable(path.name)
    try:
        return read_regular_file(str(path)).decode("utf-8-sig")
    except UnicodeDecodeError:
        raise DataError(f"{shown} is not UTF-8 text; save it as UTF-8") from None
    except Unreadable as reason:
        raise DataError(f"{shown} cannot be read: {reason}") from None


def separator(path: Path) -> str:
    """What separates the cells of a CSV or TSV file."""
    return "\t" if path.suffix.lower() == ".tsv" else ","


def _json_rows(shown: str, text: str) -> Iterator[TableRow]:
    # Not splitlines: it would also cut at U+2028 inside a caption.
    for number, line in enumerate(io.StringIO(text, newline=None), start=1):
        if not line.strip():
            continue
        try:
            cells = json.loads(line)
        except (ValueError, RecursionError):
            raise DataError(
                f"{shown} line {number} is not JSON; give one JSON object per line"
            ) from None
        if not isinstance(cells, dict):
            raise DataError(f"{shown} line {number} is not a JSON object; give one per line")
        yield TableRow(number, cells)


def _csv_rows(path: Path, shown: str, text: str) -> Iterator[TableRow]:
    rows = csv_cells(text, separator(path), shown)
    _, header = next(rows)
    names = [name.strip() for name in header]
    if len(set(names)) != len(names):
        raise DataError(f"{shown} names a column twice in its header; rename one")
    for number, cells in rows:
        yield TableRow(number, dict(zip(names, cells, strict=True)))


def csv_cells(text: str, comma: str, shown: str) -> Iterator[tuple[int, list[str]]]:
    """Row numbers and cells of every row, the first one (maybe empty) included; blank rows left out.

    Raises DataError for a row with more or fewer cells than the first, and for broken quotes.
    """
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=comma, strict=True)
    number = 1
    try:
        first = next(reader, [])
        if len(first) == 1 and (";" in first[0] or "\t" in first[0]):
            raise DataError(f"{shown} is not separated by commas; save it so, or as .tsv with tabs")
        yield number, first
        for number, cells in enumerate(reader, start=2):
            if not cells:
                continue
            if len(cells) != len(first):
                raise DataError(
                    f"{shown} row {number} has {len(cells)} cells where the header has "
                    f"{len(first)}; put quotes around texts with commas or line breaks"
                )
            yield number, cells
    except csv.Error:
        raise DataError(
            f"{shown} row {number} or the one after it is not valid CSV (an open quote, or a cell "
            f"above {csv.field_size_limit():,} characters); repair it, or save the table as JSONL"
        ) from None
