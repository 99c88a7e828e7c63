"""What a data set holds, before any picture is read: one row per picture, from every format.

image folder      <- folders.py      metadata.jsonl / metadata.csv, .txt files, or no captions
JSONL, CSV, TSV   <- folders.py      paths relative to the file
Parquet           <- shards.py       a file or a folder of shards
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from attacks.errors import DataError, did_you_mean
from auditor.records.identity import nfc
from auditor.records.model import ReadOptions
from auditor.records.sources import Source, printable

IMAGE_COLUMNS = ("file_name", "image", "img", "image_path", "path", "file", "image_bytes", "bytes")
"""Where pictures are looked for if no column is named, in this order."""

TEXT_COLUMNS = ("text", "caption")
"""Where captions are looked for if no column is named, in this order."""


@dataclass(frozen=True, slots=True, repr=False)
class Row:
    """One row of a data set: a picture that has not been read yet."""

    source: Source
    """Where the picture is."""
    caption: str | None = None
    """NFC caption; None also for an empty one."""
    subject: str | None = None
    """Data subject; None also for an empty one."""


@dataclass(frozen=True, slots=True, repr=False)
class Listing:
    """The rows of one side, in an order in which they can be read fast."""

    rows: tuple[Row, ...]
    """Rows; neighbours lie near each other on the disk."""
    caption_source: str
    """Where captions come from: `column 'text'`, `.txt files` or `none`."""
    notes: tuple[str, ...] = ()
    """What the report should say about the reading."""

    @property
    def has_captions(self) -> bool:
        """Whether any row has a caption."""
        return any(row.caption is not None for row in self.rows)


@dataclass(frozen=True, slots=True)
class Columns:
    """The columns to read, resolved against those that exist."""

    image: str
    """Pictures or their paths."""
    text: str | None
    """Captions."""
    subject: str | None
    """Data subjects."""
    split: str | None
    """Splits."""

    @property
    def caption_source(self) -> str:
        """As in Listing."""
        return "none" if self.text is None else f"column '{printable(self.text)}'"


def normal_text(value: str | None) -> str | None:
    """NFC; a text without any visible character is no text."""
    return nfc(value) if value is not None and value.strip() else None


def resolve_columns(names: Sequence[str], options: ReadOptions, where: str) -> Columns:
    """Match the options to the columns that exist.

    where: the file, for the error. Raises DataError for a column that is not there.
    """

    def named(option: str, wanted: str | None, guesses: Iterable[str]) -> str | None:
        if wanted is None:
            return next((guess for guess in guesses if guess in names), None)
        if wanted not in names:
            hint = did_you_mean(wanted, map(printable, names)) if names else "it has no columns"
            raise DataError(f"{where} has no column '{printable(wanted)}' ({option}); {hint}")
        return wanted

    image = named("image_column", options.image_column, IMAGE_COLUMNS)
    if image is None:
        raise DataError(
            f"{where} has no column of pictures ({', '.join(IMAGE_COLUMNS[:3])} ...); "
            f"name it with image_column; known: {', '.join(map(printable, names)) or 'none'}"
        )
    text = named("text_column", options.text_column, TEXT_COLUMNS) if options.captions else None
    subject = named("subject_column", options.subject_column, ("subject",))
    return Columns(image, text, subject, named("split_column", options.split_column, ()))


def check_split_found(values: Sequence[str | None], wanted: str, column: str, where: str) -> None:
    """Raise DataError if no row is of the wanted split.

    The values are listed only where they are plainly categories: a wrong column may hold texts.
    """
    if wanted in values or not values:
        return
    kinds = sorted({value for value in values if value is not None})
    listed = len(kinds) <= 8 and len(values) >= 5 * len(kinds) and all(len(k) <= 24 for k in kinds)
    known = f"; it holds: {', '.join(map(printable, kinds))}" if listed and kinds else ""
    raise DataError(
        f"{where} has no row whose column '{printable(column)}' is '{printable(wanted)}'{known}; "
        "set member_split and nonmember_split to two values of that column"
    )


def list_rows(path: Path, options: ReadOptions, *, split: str | None, side: str) -> Listing:
    """The rows of a data set, or of one of its splits.

    split: value of options.split_column to keep; None keeps all.
    side: what to call the set in errors, such as "members".
    Raises DataError if the path is missing, of an unknown kind, inconsistent or empty.
    """
    from auditor.records.folders import list_manifest
    from auditor.records.shards import list_parquet
    from auditor.records.tables import TABLE_SUFFIXES

    if not os.path.exists(path):
        raise DataError(f"{side}: {printable(path)} does not exist; check the path")
    suffix = path.suffix.lower()
    if path.is_dir():
        listing = _list_folder(path, options, split)
    elif suffix == ".parquet":
        listing = list_parquet([(path, path.name)], options, split)
    elif suffix in TABLE_SUFFIXES and path.is_file():
        listing = list_manifest(path, options, split)
    else:
        raise DataError(
            f"{side}: {printable(path)} is no data set; pass a folder of images, a Parquet file or "
            f"a folder of them, or a table ({', '.join(TABLE_SUFFIXES)}) with paths of images"
        )
    if not listing.rows:
        raise DataError(f"{side}: {printable(path)} holds no records; check the path and the split")
    return listing


def _list_folder(path: Path, options: ReadOptions, split: str | None) -> Listing:
    """An image folder or a folder of Parquet shards, by what it holds."""
    from auditor.records.folders import list_image_folder
    from auditor.records.images import SUFFIXES
    from auditor.records.paths import DataFolder
    from auditor.records.shards import list_parquet

    folder = DataFolder(path)
    files, n_linked = folder.walk()
    pictures = [f for f in files if Path(f).suffix.lower() in SUFFIXES]
    shards = [f for f in files if Path(f).suffix.lower() == ".parquet"]
    if pictures and shards:
        raise DataError(
            f"{printable(path)} holds both pictures and Parquet files; "
            "pass the folder that holds only those that are meant"
        )
    if shards:
        return list_parquet([(Path(f), folder.name(f)) for f in shards], options, split)
    listing = list_image_folder(folder, files, pictures, options, split)
    if not n_linked:
        return listing
    note = f"{n_linked} linked folders were not entered"
    return Listing(listing.rows, listing.caption_source, (*listing.notes, note))
