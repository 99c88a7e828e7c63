"""Pictures in files of their own: image folders, and tables that name files."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from attacks.errors import DataError
from auditor.records.listing import (
    CAPTIONS,
    LABELS,
    Beside,
    Listing,
    Row,
    check_split_found,
    normal_text,
    resolve_columns,
)
from auditor.records.model import ReadOptions
from auditor.records.paths import DataFolder
from auditor.records.sources import FileSource, Unreadable, printable, read_regular_file
from auditor.records.tables import Table, read_table

METADATA_NAMES = ("metadata.jsonl", "metadata.csv")
"""The Hugging Face ImageFolder convention."""


def list_image_folder(
    folder: DataFolder,
    files: Sequence[str],
    pictures: Sequence[str],
    options: ReadOptions,
    split: str | None,
    beside: Beside = CAPTIONS,
) -> Listing:
    """A folder of pictures with metadata files, .txt files, or no captions.

    Labels come from metadata files too, or from one folder for each class.
    files, pictures: all files below the folder, sorted, and those that are pictures.
    """
    metadata = [f for f in files if os.path.basename(f).lower() in METADATA_NAMES]
    if metadata:
        return _list_with_metadata(folder, metadata, pictures, options, split, beside)
    wanted = {
        beside.option: getattr(options, beside.option),
        "subject_column": options.subject_column,
        "split_column": options.split_column,
        "image_column": options.image_column,
    }
    for option, value in wanted.items():
        if value is not None:
            raise DataError(
                f"{option} is '{printable(value)}', but the folder {printable(folder.folder)} has "
                "no columns; add a metadata.jsonl with file_name and that column"
            )
    if beside is LABELS:
        return _list_class_folders(folder, pictures)
    return _list_with_sidecars(folder, files, pictures, options)


def list_manifest(
    path: Path, options: ReadOptions, split: str | None, beside: Beside = CAPTIONS
) -> Listing:
    """A JSONL, CSV or TSV file whose rows name pictures below its own folder."""
    table = read_table(path)
    return _list_tables(DataFolder(path.parent), [table], options, split, beside)[0]


def _list_with_metadata(
    folder: DataFolder,
    metadata: Sequence[str],
    pictures: Sequence[str],
    options: ReadOptions,
    split: str | None,
    beside: Beside,
) -> Listing:
    """Every metadata file governs its own folder; every picture needs its row."""
    parents = [os.path.dirname(f) for f in metadata]
    if len(set(parents)) < len(parents):
        raise DataError(
            f"a folder in {printable(folder.folder)} has both metadata.jsonl and metadata.csv; "
            "remove one"
        )
    tables = [read_table(Path(f)) for f in metadata]
    listing, named = _list_tables(folder, tables, options, split, beside)
    strays = [p for p in pictures if p not in named]
    if strays:
        raise DataError(
            f"{len(strays)} of {len(pictures)} pictures in {printable(folder.folder)} have no row "
            f"in its metadata (first: {printable(folder.name(strays[0]))}); add their rows, or "
            "move them out, or pass a JSONL file that names only the pictures that are meant"
        )
    return listing


def _list_tables(
    folder: DataFolder,
    tables: Sequence[Table],
    options: ReadOptions,
    split: str | None,
    beside: Beside,
) -> tuple[Listing, set[str]]:
    """The rows of tables, and every file that they name, in any split."""
    rows: list[Row] = []
    named: dict[str, str] = {}
    splits: list[str | None] = []
    caption_sources: dict[str, None] = {}
    n_rows = 0
    for table in tables:
        if not table.rows:
            continue
        shown = printable(table.path.name)
        columns = resolve_columns(table.columns, options, shown, beside)
        caption_sources[columns.caption_source] = None
        local = DataFolder(table.path.parent)
        for row in table.rows:
            n_rows += 1
            where = table.where(row)
            path = local.locate(table.text(row, columns.image) or "", where)
            if path in named:
                raise DataError(
                    f"{where} names a file that {named[path]} already names; "
                    "keep one row for each file"
                )
            named[path] = where
            if not os.path.lexists(path):
                raise DataError(
                    f"{where} names a file that is not there ({printable(folder.name(path))}); "
                    "restore it or remove the row"
                )
            if split is not None:
                splits.append(table.text(row, columns.split))
                if splits[-1] != split:
                    continue
            caption = normal_text(table.text(row, columns.text))
            subject = normal_text(table.text(row, columns.subject))
            guess = normal_text(table.text(row, columns.guess))
            rows.append(Row(FileSource(path, folder.name(path)), caption, subject, guess))
    if split is not None:
        shown = printable(tables[0].path.name)
        check_split_found(splits, split, str(options.split_column), shown)
    source = " and ".join(caption_sources) or "none"
    return Listing(tuple(rows), source), set(named)


def _list_class_folders(folder: DataFolder, pictures: Sequence[str]) -> Listing:
    """Pictures whose label is the first folder on the way to them."""
    names = [folder.name(picture) for picture in pictures]
    n_stray = sum(os.sep not in name for name in names)
    if n_stray:
        raise DataError(
            f"{n_stray} of {len(names)} pictures in {printable(folder.folder)} have no label: they "
            "lie in no folder of a class, and there is no metadata.csv or metadata.jsonl with "
            "file_name and label; add one of the two"
        )
    rows = (
        Row(FileSource(picture, name), normal_text(name.split(os.sep, 1)[0]))
        for picture, name in zip(pictures, names, strict=True)
    )
    return Listing(tuple(rows), "one folder for each class")


def _list_with_sidecars(
    folder: DataFolder, files: Iterable[str], pictures: Sequence[str], options: ReadOptions
) -> Listing:
    """Pictures whose captions, if any, lie in a .txt file of the same name."""
    texts = {os.path.splitext(f)[0]: f for f in files if f.lower().endswith(".txt")}
    captions: list[str | None] = [None] * len(pictures)
    if options.captions:
        for i, picture in enumerate(pictures):
            sidecar = texts.get(os.path.splitext(picture)[0])
            if sidecar is not None:
                captions[i] = _sidecar_text(sidecar, folder)
    rows = tuple(
        Row(FileSource(picture, folder.name(picture)), caption)
        for picture, caption in zip(pictures, captions, strict=True)
    )
    has_captions = any(caption is not None for caption in captions)
    return Listing(rows, ".txt files" if has_captions else "none")


def _sidecar_text(path: str, folder: DataFolder) -> str | None:
    """The caption in a .txt file: UTF-8, Windows line ends and outer white space removed."""
    shown = printable(folder.name(path))
    try:
        text = read_regular_file(path).decode("utf-8-sig")
    except UnicodeDecodeError:
        raise DataError(f"the caption file {shown} is not UTF-8 text; save it as UTF-8") from None
    except Unreadable as reason:
        raise DataError(f"the caption file {shown} cannot be read: {reason}") from None
    return normal_text(text.replace("\r\n", "\n").replace("\r", "\n").strip())
