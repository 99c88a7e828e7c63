"""From two labelled data sets to members and nonmembers that an audit can compare.

Copies. Two rows are copies if their features are equal, whatever their labels and files. As with
pictures, copies inside a split become one record, with the label of most of them. Rows that occur
on both sides are evaluated on neither: the nonmember was trained on, and if the member stayed,
common and therefore easy rows would be left among the members alone, which looks like a leak.

Limit. All rows are read and compared; the sample is drawn among the distinct ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from attacks.errors import DataError
from auditor.records.compare import (
    across_note,
    check_arguments,
    check_left,
    check_share_of_copies,
    copy_notes,
    divide,
    repeats,
    subject_notes,
    wanted_splits,
)
from auditor.records.identity import keyed_rank
from auditor.records.model import ReadOptions
from auditor.records.rows.distinct import Distinct, distinct_rows
from auditor.records.rows.model import RowRecord, RowSplits, SavedPredictions
from auditor.records.rows.reading import RawSide, data_kind, read_side
from auditor.records.rows.table import Table

if TYPE_CHECKING:
    from auditor.records.side import Progress

NO_NEAR_DUPLICATES = (
    "near-duplicates across splits were not looked for: rows have no fixed distance"
)
NO_COPIES = "copies were not looked for: the data hold predictions but no features"


def load_row_splits(
    members: Path,
    nonmembers: Path,
    *,
    options: ReadOptions | None = None,
    calibration_share: float = 0.0,
    limit: int | None = None,
    seed: int = 0,
    predictions: tuple[Path, Path] | Literal["columns"] | None = None,
    on_progress: Progress | None = None,
) -> RowSplits:
    """Read, check, de-duplicate, sample and divide labelled members and nonmembers.

    members, nonmembers: tables, NPZ files or labelled pictures; the same one if
        options.split_column tells them apart.
    calibration_share, limit, seed: as in `load_splits`.
    predictions: a file of saved predictions for each side, row by row in the order of its records;
        or "columns", if the data hold them themselves.

    Raises DataError for everything that would make the comparison meaningless.
    """
    options = options or ReadOptions()
    check_arguments(calibration_share, limit)
    paths = (Path(members), Path(nonmembers))
    sides = ("members", "nonmembers")
    kinds = [data_kind(path, options, side) for path, side in zip(paths, sides, strict=True)]
    if kinds[0] != kinds[1]:
        raise DataError(
            f"the members are {_PLAIN[kinds[0]]} and the nonmembers are {_PLAIN[kinds[1]]}, so that "
            "any difference may be the format's; store both in the same way"
        )
    if kinds[0] == "pictures":
        from auditor.records.rows.pictures import load_labelled_pictures

        if predictions is not None:
            raise DataError(
                "saved predictions go with tables and NPZ files, row by row; save the labels and "
                "predictions of the pictures as a table, without the pictures"
            )
        return load_labelled_pictures(
            *paths,
            options=options,
            calibration_share=calibration_share,
            limit=limit,
            seed=seed,
            on_progress=on_progress,
        )
    splits = wanted_splits(*paths, options)
    raw = []
    for path, split, side in zip(paths, splits, sides, strict=True):
        raw.append(
            read_side(path, options, split=split, side=side, with_answers=predictions == "columns")
        )
        if on_progress is not None:
            on_progress(f"reading {side}", len(raw[-1].labels), len(raw[-1].labels))
    return _compare((raw[0], raw[1]), paths, options, calibration_share, limit, seed, predictions)


_PLAIN = {"table": "a table", "array": "an NPZ file", "pictures": "pictures"}


def _compare(
    raw: tuple[RawSide, RawSide],
    paths: tuple[Path, Path],
    options: ReadOptions,
    calibration_share: float,
    limit: int | None,
    seed: int,
    predictions: tuple[Path, Path] | Literal["columns"] | None,
) -> RowSplits:
    from auditor.records.rows.joining import join_features, join_predictions

    saved = join_predictions(raw, paths, predictions)
    joined = join_features(raw, has_predictions=saved is not None)
    n_members = len(raw[0].labels)
    groups = (
        distinct_rows(raw[0], joined.hashes[:n_members], 0),
        distinct_rows(raw[1], joined.hashes[n_members:], n_members),
    )
    shared = {d.content for d in groups[0]} & {d.content for d in groups[1]}
    clean = [[d for d in side if d.content not in shared] for side in groups]
    check_share_of_copies(len(shared), len(groups[1]), options)
    check_left(len(clean[0]), len(groups[0]), "member", "nonmember")
    drawn = (_drawn(clean[0], limit, seed), _drawn(clean[1], limit, seed))
    withheld = [d for d in groups[0] if d.content in shared] if limit is None else []
    order = sorted((*drawn[0], *drawn[1], *withheld), key=lambda d: d.id)
    position = {distinct.id: i for i, distinct in enumerate(order)}
    rows = np.array([distinct.row for distinct in order], np.int64)
    records = tuple(
        [d.record(position[d.id]) for d in sorted(side, key=lambda d: d.id)] for side in drawn
    )
    notes = [*joined.notes, *_drawing_notes(groups, drawn, records, limit)]
    notes += across_note(len(shared))
    table = Table(
        joined.rows(rows),
        [distinct.label for distinct in order],
        predictions=None
        if saved is None
        else SavedPredictions(saved.values[rows], saved.classes, saved.kind, saved.files),
    )
    return assemble(
        records,
        table,
        calibration_share,
        seed,
        n_cross_split_dropped=len(shared),
        n_withheld=len(shared),
        withheld=tuple(d.record(position[d.id]) for d in sorted(withheld, key=lambda d: d.id)),
        label_source="; nonmembers: ".join(dict.fromkeys(side.label_source for side in raw)),
        notes=(*notes, NO_COPIES if joined.is_by_place else NO_NEAR_DUPLICATES),
    )


def assemble(
    sides: Sequence[Sequence[RowRecord]],
    table: Table,
    calibration_share: float,
    seed: int,
    *,
    n_cross_split_dropped: int,
    n_withheld: int,
    label_source: str,
    notes: Sequence[str],
    n_unreadable: int = 0,
    near_duplicates: tuple[str, ...] = (),
    withheld: tuple[RowRecord, ...] = (),
) -> RowSplits:
    """Calibration part, counts and labels of two sides of records.

    Raises DataError if a part is empty, all labels are equal, or subjects are on both sides.
    """
    members, nonmembers = sides
    labels = _label_notes(members, nonmembers)
    return RowSplits(
        *divide(members, nonmembers, calibration_share, seed),
        table=table,
        n_cross_split_dropped=n_cross_split_dropped,
        n_unreadable=n_unreadable,
        near_duplicates=near_duplicates,
        withheld_members=withheld,
        n_withheld_members=n_withheld,
        repeats=repeats(members),
        nonmember_repeats=repeats(nonmembers),
        has_subjects=all(r.subject is not None for side in sides for r in side),
        label_source=label_source,
        notes=tuple(dict.fromkeys([*notes, *labels, *subject_notes(members, nonmembers)])),
    )


def _label_notes(members: Sequence[RowRecord], nonmembers: Sequence[RowRecord]) -> list[str]:
    first, second = ({record.label for record in side} for side in (members, nonmembers))
    if len(first | second) == 1:
        raise DataError(
            "every record has the same label, so that there is nothing to classify; check "
            "label_column, or give records of all classes"
        )
    alone = {"members": first - second, "nonmembers": second - first}
    return [f"{len(s)} labels occur among the {name} only" for name, s in alone.items() if s]


def _drawn(groups: Sequence[Distinct], limit: int | None, seed: int) -> list[Distinct]:
    """At most `limit` of the groups, at random by content and seed."""
    if limit is None or limit >= len(groups):
        return list(groups)

    def rank(group: Distinct) -> tuple[int, str]:
        return keyed_rank("limit", seed, bytes.fromhex(group.content)), group.content

    return sorted(groups, key=rank)[:limit]


def _drawing_notes(
    groups: Sequence[Sequence[Distinct]],
    drawn: Sequence[Sequence[Distinct]],
    records: Sequence[Sequence[RowRecord]],
    limit: int | None,
) -> list[str]:
    """What the report should say about copies and the sample."""
    notes: list[str] = []
    for i, name in enumerate(("members", "nonmembers")):
        notes += copy_notes(name, records[i])
        n_several = sum(group.n_labels > 1 for group in drawn[i])
        if n_several:
            notes.append(f"{n_several} {name} come with several labels; the most frequent is used")
        if limit is not None and len(drawn[i]) < len(groups[i]):
            notes.append(f"{len(drawn[i])} {name} were drawn from {len(groups[i])} distinct rows")
    return notes
