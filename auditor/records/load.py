"""From two data sets to members and nonmembers that an audit can compare.

Copies. Two rows are copies if their RGB pixels are equal, whatever their captions, names and
encodings. Inside a split they become one record, with the caption of most of them: a picture counts
once, since scores of its copies are not independent. Pictures that occur, or nearly occur, on both
sides are evaluated on neither (`across.py` says why).

Limit. With `limit`, every file is still read and compared by its encoded bytes, so that
multiplicities and copies across splits are those of the whole data; only the sample is decoded.
Re-encoded copies and near-duplicates are then found within the sample only, and a note says so.
Near-duplicates are left out after the sample is drawn, and are not replaced.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from attacks.errors import DataError
from auditor.records.across import Compared, read_sides
from auditor.records.compare import (
    check_arguments,
    copy_notes,
    divide,
    repeats,
    subject_notes,
    wanted_splits,
)
from auditor.records.listing import CAPTIONS, Beside, list_rows
from auditor.records.model import ReadOptions, Splits
from auditor.records.side import Progress, Side


def load_splits(
    members: Path,
    nonmembers: Path,
    *,
    options: ReadOptions | None = None,
    calibration_share: float = 0.0,
    limit: int | None = None,
    seed: int = 0,
    on_progress: Progress | None = None,
) -> Splits:
    """Read, check, de-duplicate, sample and divide members and nonmembers.

    members, nonmembers: data sets; the same one if options.split_column tells them apart.
    calibration_share: expected share of both sides set aside for fitted attacks, in [0, 0.9].
    limit: most records of each side, drawn at random by content; None takes all.
    seed: of the sample and of the calibration part; file names and order have no influence.

    Raises DataError for everything that would make the comparison meaningless.
    """
    return load_pictures(
        Path(members),
        Path(nonmembers),
        options=options or ReadOptions(),
        calibration_share=calibration_share,
        limit=limit,
        seed=seed,
        on_progress=on_progress,
    )


def load_pictures(
    members: Path,
    nonmembers: Path,
    *,
    options: ReadOptions,
    calibration_share: float,
    limit: int | None,
    seed: int,
    on_progress: Progress | None,
    beside: Beside = CAPTIONS,
) -> Splits:
    """As `load_splits`; beside: what the records carry as their text, captions or labels."""
    check_arguments(calibration_share, limit)
    sides = _list_sides(members, nonmembers, options, beside)
    for side in sides:
        side.hash_rows(on_progress)
    found = read_sides(sides, limit, seed, on_progress)
    own, other = found.members.records, found.nonmembers.records
    caption_sources = dict.fromkeys(side.listing.caption_source for side in sides)
    return Splits(
        *divide(own, other, calibration_share, seed),
        n_cross_split_dropped=found.n_dropped,
        withheld_members=found.withheld,
        n_withheld_members=found.n_withheld,
        n_unreadable=sum(side.n_unreadable for side in sides),
        near_duplicates=found.near,
        repeats=repeats(own),
        nonmember_repeats=repeats(other),
        has_captions=all(side.listing.has_captions for side in sides),
        has_subjects=all(r.subject is not None for r in (*own, *other)),
        caption_source="; nonmembers: ".join(caption_sources),
        notes=tuple(_reading_notes(sides, found)),
    )


def _list_sides(
    members: Path, nonmembers: Path, options: ReadOptions, beside: Beside
) -> tuple[Side, Side]:
    """List both sides and refuse what can be refused before a picture is read."""
    splits = wanted_splits(members, nonmembers, options)

    def listed(name: str, path: Path, split: str | None) -> Side:
        return Side(name, list_rows(path, options, split=split, side=name, beside=beside), options)

    sides = (
        listed("members", members, splits[0]),
        listed("nonmembers", nonmembers, splits[1]),
    )
    with_captions = [side.name for side in sides if side.listing.has_captions]
    if len(with_captions) == 1:
        raise DataError(
            f"only the {with_captions[0]} have captions, so that any difference may be the "
            "captions'; give captions to both sides (text_column names the column), or read none "
            "(captions: false under records in the configuration)"
        )
    return sides


def _reading_notes(sides: Sequence[Side], found: Compared) -> list[str]:
    """What the report should say about captions, subjects, copies and damage."""
    merged = (found.members, found.nonmembers)
    notes = [f"{side.name}: {note}" for side in sides for note in side.listing.notes]
    for side, part, is_sample in zip(sides, merged, found.are_samples, strict=True):
        n = len(part.records)
        n_bare = sum(record.caption is None for record in part.records)
        noun = side.listing.noun
        notes += copy_notes(side.name, part.records)
        if part.n_several_captions:
            notes.append(
                f"{part.n_several_captions} {side.name} come with several {noun}s; "
                "the most frequent one is used"
            )
        if side.listing.has_captions and n_bare:
            notes.append(f"{n_bare} of {n} {side.name} have no {noun}")
        if side.n_unreadable:
            notes.append(f"{side.n_unreadable} rows of the {side.name} are unreadable")
        if is_sample:
            notes.append(
                f"{n} {side.name} were drawn from {len(side.copies)} distinct files; copies were "
                "sought among all, re-encoded copies and near-duplicates in the sample only"
            )
    notes += subject_notes(merged[0].records, merged[1].records)
    return [*notes, *found.notes]
