"""Where the bytes of one picture lie, and how to read them again."""

from __future__ import annotations

import os
import stat
import threading
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from attacks.errors import DataError

if TYPE_CHECKING:
    import pyarrow as pa

MAX_PICTURE_BYTES = 512 * 2**20
"""Encoded pictures and text tables above this size count as unreadable."""

MAX_PIXELS = 89_478_485
"""Width times height above which a picture counts as a decompression bomb (Pillow's own limit)."""

GROUP_CACHE_BYTES = 512 * 2**20
"""Memory that decompressed Parquet row groups may take; the last one read always stays."""


class Unreadable(Exception):
    """One picture cannot be read; the message is the reason, without names or content."""


def printable(name: object) -> str:
    """A file name or column name that is safe on a terminal: escapes escaped, at most 120 long."""
    shown = "".join(
        c if c.isprintable() else c.encode("unicode_escape", "backslashreplace").decode()
        for c in str(name)
    )
    return shown if len(shown) <= 120 else f"{shown[:80]}...{shown[-37:]}"


@dataclass(frozen=True, slots=True, repr=False)
class FileSource:
    """A picture in a file of its own."""

    path: str
    """Where the file is."""
    name: str
    """The file relative to its data folder, for the private map and console errors."""

    @property
    def place(self) -> str:
        """The name as it may be printed."""
        return printable(self.name)

    @property
    def row(self) -> int | None:
        """None: the file is the picture."""
        return None

    def read(self) -> bytes:
        """The encoded picture. Raises Unreadable."""
        return read_regular_file(self.path)


@dataclass(frozen=True, slots=True, repr=False)
class ParquetSource:
    """A picture in one row of a Parquet file."""

    path: str
    """The Parquet file."""
    name: str
    """The Parquet file relative to its data folder."""
    column: str
    """The column that holds the pictures."""
    group: int
    """Row group."""
    index: int
    """Row inside the row group."""
    row: int
    """Row inside the file, from 0."""

    @property
    def place(self) -> str:
        """The file and row as they may be printed."""
        return f"{printable(self.name)} row {self.row}"

    def read(self) -> bytes:
        """The encoded picture. Raises Unreadable, or DataError if the Parquet file is broken."""
        cell = _GROUPS.column(self.path, self.group, self.column)[self.index].as_py()
        if isinstance(cell, dict):
            cell = cell.get("bytes")
        if not cell:
            raise Unreadable("the row has no picture bytes")
        if len(cell) > MAX_PICTURE_BYTES:
            raise Unreadable(f"larger than {MAX_PICTURE_BYTES // 2**20} MiB")
        return bytes(cell)


Source = FileSource | ParquetSource


def read_regular_file(path: str) -> bytes:
    """Bytes of a regular file of acceptable size (a pipe would block). Raises Unreadable."""
    try:
        status = os.stat(path)
        if not stat.S_ISREG(status.st_mode):
            raise Unreadable("not a regular file")
        if status.st_size > MAX_PICTURE_BYTES:
            raise Unreadable(f"larger than {MAX_PICTURE_BYTES // 2**20} MiB")
        with open(path, "rb") as stream:
            return stream.read()
    except FileNotFoundError:
        raise Unreadable("the file or the target of its link is missing") from None
    except (OSError, ValueError):
        raise Unreadable("the file cannot be opened") from None


class _RowGroups:
    """The picture column of the row groups read last, bounded by GROUP_CACHE_BYTES."""

    def __init__(self) -> None:
        self._columns: OrderedDict[tuple[Any, ...], pa.ChunkedArray] = OrderedDict()
        self._n_bytes = 0
        self._lock = threading.Lock()

    def column(self, path: str, group: int, name: str) -> pa.ChunkedArray:
        """One column of one row group. Raises DataError."""
        try:
            status = os.stat(path)
            key = (path, status.st_size, status.st_mtime_ns, group, name)
            with self._lock:
                if key in self._columns:
                    self._columns.move_to_end(key)
                else:
                    self._add(key, _read_column(path, group, name))
                return self._columns[key]
        except _parquet_errors():
            raise DataError(
                f"row group {group} of {printable(os.path.basename(path))} cannot be read; "
                "the Parquet file is damaged or was changed: write it again"
            ) from None

    def _add(self, key: tuple[Any, ...], column: pa.ChunkedArray) -> None:
        self._columns[key] = column
        self._n_bytes += column.nbytes
        while self._n_bytes > GROUP_CACHE_BYTES and len(self._columns) > 1:
            self._n_bytes -= self._columns.popitem(last=False)[1].nbytes


def _parquet_errors() -> tuple[type[BaseException], ...]:
    import pyarrow as pa

    return (OSError, LookupError, pa.ArrowException)


def _read_column(path: str, group: int, name: str) -> pa.ChunkedArray:
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as file:
        return file.read_row_group(group, columns=[name], use_threads=False).column(name)


_GROUPS = _RowGroups()
