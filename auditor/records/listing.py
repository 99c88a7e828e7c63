"""What a data set holds, before any picture is read: one row per picture, from every format.

image folder      <- folders.py      metadata.jsonl / metadata.csv, .txt files, or no captions
JSONL, CSV, TSV   <- folders.py      paths relative to the file
Parquet           <- shards.py       a file or a folder of shards
"""

from __future__ import annotations

import dataclasses
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
GUESS_COLUMNS = ("caption_guess",)
"""Where what a captioner says is looked for."""

LABEL_COLUMNS = ("label", "target", "class", "y")
"""Where labels are looked for if no column is named, in this order."""


@dataclass(frozen=True, slots=True)
class Beside:
    """The text that is read beside each picture: its caption, or its label."""

    noun: str
    """What it is called in notes and errors."""
    option: str
    """The field of ReadOptions that names its column."""
    guesses: tuple[str, ...]
    """Where it is looked for if no column is named, in this order."""
    is_required: bool
    """Whether a picture without it is an error."""


CAPTIONS = Beside("caption", "text_column", TEXT_COLUMNS, is_required=False)
LABELS = Beside("label", "label_column", LABEL_COLUMNS, is_required=True)


@dataclass(frozen=True, slots=True, repr=False)
class Row:
    """One row of a data set: a picture that has not been read yet."""

    source: Source
    """Where the picture is."""
    caption: str | None = None
    """NFC caption; None also for an empty one."""
    subject: str | None = None
    """Data subject; None also for an empty one."""
    guess: str | None = None
    """What a captioner says about the picture; None also for an empty one."""


@dataclass(frozen=True, slots=True, repr=False)
class Listing:
    """The rows of one side, in an order in which they can be read fast."""

    rows: tuple[Row, ...]
    """Rows; neighbours lie near each other on the disk."""
    caption_source: str
    """Where captions come from: `column 'text'`, `.txt files` or `none`."""
    notes: tuple[str, ...] = ()
    """What the report should say about the reading."""
    noun: str = "caption"
    """What the texts are."""

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
    """Captions, or labels."""
    subject: str | None
    """Data subjects."""
    split: str | None
    """Splits."""
    guess: str | None = None
    """What a captioner says about the pictures."""

    @property
    def caption_source(self) -> str:
        """As in Listing."""
        return "none" if self.text is None else f"column '{printable(self.text)}'"


def normal_text(value: str | None) -> str | None:
    """NFC; a text without any visible character is no text."""
    return nfc(value) if value is not None and value.strip() else None


def find_column(
    names: Sequence[str], option: str, wanted: str | None, guesses: Iterable[str], where: str
) -> str | None:
    """The column that an option names, or the first guess that is there.

    where: the file, for the error. Raises DataError if the option names no column.
    """
    if wanted is None:
        return next((guess for guess in guesses if guess in names), None)
    if wanted not in names:
        hint = did_you_mean(wanted, map(printable, names)) if names else "it has no columns"
        raise DataError(f"{where} has no column '{printable(wanted)}' ({option}); {hint}")
    return wanted


def find_label_column(names: Sequence[str], wanted: str | None, where: str) -> str:
    """The column of labels. Raises DataError that lists the columns if there is none."""
    found = find_column(names, LABELS.option, wanted, LABELS.guesses, where)
    if found is None:
        raise DataError(
            f"{where} has no column of labels ({', '.join(LABELS.guesses)}); name it with "
            f"label_column; known: {', '.join(map(printable, names)) or 'none'}"
        )
    return found


def resolve_columns(
    names: Sequence[str], options: ReadOptions, where: str, beside: Beside = CAPTIONS
) -> Columns:
    """Match the options to the columns that exist.

    where: the file, for the error. Raises DataError for a column that is not there.
    """
    image = find_column(names, "image_column", options.image_column, IMAGE_COLUMNS, where)
    if image is None:
        raise DataError(
            f"{where} has no column of pictures ({', '.join(IMAGE_COLUMNS[:3])} ...); "
            f"name it with image_column; known: {', '.join(map(printable, names)) or 'none'}"
        )
    text: str | None = None
    if beside is LABELS:
        text = find_label_column(names, options.label_column, where)
    elif options.captions:
        text = find_column(names, beside.option, options.text_column, beside.guesses, where)
    subject = find_column(names, "subject_column", options.subject_column, ("subject",), where)
    split = find_column(names, "split_column", options.split_column, (), where)
    guess: str | None = None
    if beside is CAPTIONS and options.captions:
        guess = find_column(names, "guess_column", options.guess_column, GUESS_COLUMNS, where)
    return Columns(image, text, subject, split, guess)


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


def list_rows(
    path: Path,
    options: ReadOptions,
    *,
    split: str | None,
    side: str,
    beside: Beside = CAPTIONS,
) -> Listing:
    """The rows of a data set, or of one of its splits.

    split: value of options.split_column to keep; None keeps all.
    side: what to call the set in errors, such as "members".
    beside: whether a picture's text is its caption or its label.
    Raises DataError if the path is missing, of an unknown kind, inconsistent or empty.
    """
    from auditor.records.folders import list_manifest
    from auditor.records.shards import list_parquet
    from auditor.records.tables import TABLE_SUFFIXES

    if not os.path.exists(path):
        raise DataError(f"{side}: {printable(path)} does not exist; check the path")
    suffix = path.suffix.lower()
    if path.is_dir():
        listing = _list_folder(path, options, split, beside)
    elif suffix == ".parquet":
        listing = list_parquet([(path, path.name)], options, split, beside)
    elif suffix in TABLE_SUFFIXES and path.is_file():
        listing = list_manifest(path, options, split, beside)
    else:
        raise DataError(
            f"{side}: {printable(path)} is no data set; pass a folder of images, a Parquet file or "
            f"a folder of them, or a table ({', '.join(TABLE_SUFFIXES)}) with paths of images"
        )
    if not listing.rows:
        raise DataError(f"{side}: {printable(path)} holds no records; check the path and the split")
    n_bare = sum(row.caption is None for row in listing.rows) if beside.is_required else 0
    if n_bare:
        raise DataError(
            f"{side}: {n_bare} of {len(listing.rows)} pictures have no {beside.noun}; "
            "give each its own, or leave them out"
        )
    return dataclasses.replace(listing, noun=beside.noun)


def _list_folder(path: Path, options: ReadOptions, split: str | None, beside: Beside) -> Listing:
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
        return list_parquet([(Path(f), folder.name(f)) for f in shards], options, split, beside)
    listing = list_image_folder(folder, files, pictures, options, split, beside)
    if not n_linked:
        return listing
    note = f"{n_linked} linked folders were not entered"
    return Listing(listing.rows, listing.caption_source, (*listing.notes, note))
