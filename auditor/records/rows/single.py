"""One labelled data set, perhaps with a test set: what a scan of data without a model reads.

Copies. As in a comparison of two sides, rows with equal features become one record, and a test
record that is a copy of a record is dropped: models that train on the data see its features.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from attacks.errors import DataError
from auditor.records.compare import copy_notes
from auditor.records.model import ReadOptions
from auditor.records.rows.distinct import Distinct, distinct_rows
from auditor.records.rows.model import RowRecord
from auditor.records.rows.reading import DataKind, RawSide, data_kind, read_side
from auditor.records.rows.table import Table

if TYPE_CHECKING:
    from auditor.records.side import Progress

RECORDS, TEST = "records", "test records"
"""What the two sets are called in notes and errors."""


@dataclass(frozen=True, slots=True, eq=False)
class LabelledRows:
    """Distinct labelled records, then distinct test records, each in the order of their ids."""

    records: tuple[RowRecord, ...]
    """What models train on; rows 0 .. n-1 of the table."""
    test: tuple[RowRecord, ...]
    """What they are only asked about; the rows behind."""
    table: Table
    """Features and labels of both."""
    groups: tuple[str | None, ...] | None
    """(n,) group of each record; None if no column of groups was named."""
    n_test_dropped: int
    """Distinct test records dropped because their features are those of a record."""
    n_unreadable: int
    """Rows that could not be read."""
    label_source: str
    """Where the labels come from."""
    notes: tuple[str, ...]
    """What a reader of the report should know; names no record and no cell."""


def load_rows(
    data: Path,
    test: Path | None = None,
    *,
    options: ReadOptions | None = None,
    on_progress: Progress | None = None,
) -> LabelledRows:
    """Read, check and de-duplicate a labelled data set and, if given, a test set like it.

    With options.split_column, the rows of its member_split are read, and of the test set those of
    its nonmember_split.

    Raises DataError for everything that cannot be read or makes no classification.
    """
    options = options or ReadOptions()
    named = [(RECORDS, Path(data))] + ([] if test is None else [(TEST, Path(test))])
    kinds = [data_kind(path, options, name) for name, path in named]
    if len(set(kinds)) > 1:
        raise DataError(
            f"the {RECORDS} and the {TEST} are stored in different formats; store both in the "
            "same way, so that a model can take either"
        )
    return _load(named, kinds[0], options, on_progress)


def _load(
    named: Sequence[tuple[str, Path]],
    kind: DataKind,
    options: ReadOptions,
    on_progress: Progress | None,
) -> LabelledRows:
    wanted = (options.member_split, options.nonmember_split)
    splits = wanted if options.split_column is not None else (None, None)
    if kind == "pictures":
        from auditor.records.rows.pictures import read_pictures

        if options.group_column is not None:
            raise DataError("a column of groups is read from tables and NPZ files, not of pictures")
        found = read_pictures(named, splits, options, on_progress)
    else:
        found = _read_tables(named, splits, options, on_progress)
    distinct = len({record.label for record in found.records})
    if distinct < 2:
        raise DataError(
            "every record has the same label, so that there is nothing to classify; check "
            "label_column, or give records of all classes"
        )
    if len(named) > 1 and not found.test:
        raise DataError(
            f"every one of {found.n_test_dropped} {TEST} is also among the {RECORDS}; pass "
            "records that are not trained on"
        )
    unknown = {r.label for r in found.test} - {r.label for r in found.records}
    if unknown:
        n = sum(record.label in unknown for record in found.test)
        raise DataError(
            f"{n} {TEST} have labels that no record has ({len(unknown)} labels); correct these "
            "labels, or leave the test records out"
        )
    notes = [*found.notes, *copy_notes(RECORDS, found.records)]
    if found.n_test_dropped:
        notes.append(
            f"{found.n_test_dropped} distinct {TEST} have the features of a record and were dropped"
        )
    return replace(found, notes=tuple(dict.fromkeys(notes)))


def _read_tables(
    named: Sequence[tuple[str, Path]],
    splits: tuple[str | None, str | None],
    options: ReadOptions,
    on_progress: Progress | None,
) -> LabelledRows:
    from auditor.records.rows.joining import join_features

    raw: list[RawSide] = []
    for (name, path), split in zip(named, splits, strict=False):
        own = options if not raw else replace(options, group_column=None)
        raw.append(read_side(path, own, split=split, side=name, with_answers=False))
        if on_progress is not None:
            on_progress(f"reading {name}", len(raw[-1].labels), len(raw[-1].labels))
    joined = join_features(raw, has_predictions=False)
    n = len(raw[0].labels)
    own_rows = sorted(distinct_rows(raw[0], joined.hashes[:n], 0), key=lambda d: d.id)
    other = distinct_rows(raw[1], joined.hashes[n:], n) if len(raw) > 1 else []
    known = {distinct.content for distinct in own_rows}
    test = sorted((d for d in other if d.content not in known), key=lambda d: d.id)
    order = [*own_rows, *test]
    records = [distinct.record(i) for i, distinct in enumerate(order)]
    return LabelledRows(
        records=tuple(records[: len(own_rows)]),
        test=tuple(records[len(own_rows) :]),
        table=Table(
            joined.rows(np.array([distinct.row for distinct in order], np.int64)),
            [distinct.label for distinct in order],
        ),
        groups=_groups(raw[0], own_rows),
        n_test_dropped=len(other) - len(test),
        n_unreadable=0,
        label_source="; test: ".join(dict.fromkeys(side.label_source for side in raw)),
        notes=(*joined.notes, *_label_notes(own_rows)),
    )


def _groups(side: RawSide, rows: Sequence[Distinct]) -> tuple[str | None, ...] | None:
    return None if side.groups is None else tuple(side.groups[row.at] for row in rows)


def _label_notes(rows: Sequence[Distinct]) -> list[str]:
    n_several = sum(row.n_labels > 1 for row in rows)
    if not n_several:
        return []
    return [f"{n_several} {RECORDS} come with several labels; the most frequent is used"]
