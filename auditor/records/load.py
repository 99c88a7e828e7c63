"""From two data sets to members and nonmembers that an audit can compare.

Copies. Two rows are copies if their RGB pixels are equal, whatever their captions, names and
encodings. Inside a split they become one record, with the caption of most of them: a picture counts
once, since scores of its copies are not independent. Across splits the nonmember is dropped: the
target was trained on its pixels, so that it is no clean nonmember under any caption.

Limit. With `limit`, every file is still read and compared by its encoded bytes, so that
multiplicities and copies across splits are those of the whole data; only the sample is decoded.
Re-encoded copies and near-duplicates are then found within the sample only, and a note says so.
"""

from __future__ import annotations

import math
import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from attacks.errors import DataError
from auditor.records.identity import keyed_rank
from auditor.records.listing import list_rows
from auditor.records.model import ReadOptions, Record, Splits
from auditor.records.near import near_pairs
from auditor.records.side import Merged, Progress, Side, merge_copies
from auditor.records.sources import printable


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
    options = options or ReadOptions()
    if not 0 <= calibration_share <= 0.9:
        raise DataError(f"calibration_share must lie between 0 and 0.9, got {calibration_share}")
    if limit is not None and limit < 1:
        raise DataError(f"limit must be at least 1, got {limit}")
    member_side, nonmember_side = _list_sides(Path(members), Path(nonmembers), options)
    member_side.hash_rows(on_progress)
    nonmember_side.hash_rows(on_progress)
    _check_share_of_copies(
        sum(digest in member_side.copies for digest in nonmember_side.copies),
        len(nonmember_side.copies),
        options,
    )
    merged_members = _read_members(member_side, limit, seed, on_progress)
    merged_nonmembers, n_dropped = _read_nonmembers(
        nonmember_side, member_side, limit, seed, on_progress
    )
    return _assemble(
        (member_side, nonmember_side),
        (merged_members, merged_nonmembers),
        calibration_share,
        seed,
        n_cross_split_dropped=n_dropped,
        notes=_reading_notes(
            (member_side, nonmember_side), (merged_members, merged_nonmembers), limit
        ),
    )


def _assemble(
    sides: tuple[Side, Side],
    merged: tuple[Merged, Merged],
    calibration_share: float,
    seed: int,
    *,
    n_cross_split_dropped: int,
    notes: Sequence[str],
) -> Splits:
    """Near-duplicates, calibration part and counts. Raises DataError if a part is empty."""
    near, near_notes = _near_duplicates(*merged, sides[0].options)
    members, calibration_members = _divide(merged[0].records, calibration_share, seed)
    nonmembers, calibration_nonmembers = _divide(merged[1].records, calibration_share, seed)
    parts = (members, nonmembers, calibration_members, calibration_nonmembers)
    if calibration_share and not all(parts):
        raise DataError(
            f"too few records to set aside {calibration_share:.0%} for calibration: a part is "
            "empty; give more records or subjects, or choose attacks that fit nothing"
        )
    caption_sources = dict.fromkeys(side.listing.caption_source for side in sides)
    return Splits(
        *parts,
        n_cross_split_dropped=n_cross_split_dropped,
        n_unreadable=sum(side.n_unreadable for side in sides),
        near_duplicates=near,
        repeats=_repeats(merged[0].records),
        nonmember_repeats=_repeats(merged[1].records),
        has_captions=all(side.listing.has_captions for side in sides),
        has_subjects=all(r.subject is not None for part in merged for r in part.records),
        caption_source="; nonmembers: ".join(caption_sources),
        notes=(*notes, *near_notes),
    )


def _list_sides(members: Path, nonmembers: Path, options: ReadOptions) -> tuple[Side, Side]:
    """List both sides and refuse what can be refused before a picture is read."""
    if options.split_column is None:
        _check_paths_differ(members, nonmembers)
        splits: tuple[str | None, str | None] = (None, None)
    else:
        splits = (options.member_split, options.nonmember_split)
    sides = (
        Side("members", list_rows(members, options, split=splits[0], side="members"), options),
        Side(
            "nonmembers",
            list_rows(nonmembers, options, split=splits[1], side="nonmembers"),
            options,
        ),
    )
    with_captions = [side.name for side in sides if side.listing.has_captions]
    if len(with_captions) == 1:
        raise DataError(
            f"only the {with_captions[0]} have captions, so that any difference may be the "
            "captions'; give captions to both sides (text_column names the column), or set "
            "captions=False to read none"
        )
    return sides


def _check_paths_differ(members: Path, nonmembers: Path) -> None:
    real = [os.path.realpath(path) for path in (members, nonmembers)]
    if not members.exists() or not nonmembers.exists():
        return
    if real[0] == real[1]:
        raise DataError(
            f"members and nonmembers are the same data set ({printable(members)}); pass two, or "
            "name the column that tells them apart with split_column"
        )
    for outer, inner in (real, real[::-1]):
        if os.path.isdir(outer) and os.path.isdir(inner) and inner.startswith(outer + os.sep):
            raise DataError(
                f"{printable(inner)} lies inside {printable(outer)}, which is read with all its "
                "folders; put members and nonmembers side by side"
            )


def _read_members(side: Side, limit: int | None, seed: int, on_progress: Progress | None) -> Merged:
    """Decode in the order of the sample until the limit or the end is reached."""
    order, kept, pixels = side.sample_order(seed), [], set[str]()
    wanted = len(order) if limit is None else limit
    at = 0
    while at < len(order) and len(pixels) < wanted:
        batch = order[at : at + wanted - len(pixels)]
        at += len(batch)
        side.decode(batch, on_progress)
        readable = [digest for digest in batch if digest in side.pictures]
        kept += readable
        pixels.update(side.pictures[digest].pixels for digest in readable)
    side.check_readable()
    return merge_copies(side, kept)


def _read_nonmembers(
    side: Side, members: Side, limit: int | None, seed: int, on_progress: Progress | None
) -> tuple[Merged, int]:
    """As for members, without copies of members; also how many distinct files were dropped."""
    copied = {d for d in side.copies if d in members.copies and d not in members.unreadable}
    member_pixels = {picture.pixels for picture in members.pictures.values()}
    order = [digest for digest in side.sample_order(seed) if digest not in copied]
    kept, pixels, n_recoded = list[bytes](), set[str](), 0
    wanted = len(order) if limit is None else limit
    at = 0
    while at < len(order) and len(pixels) < wanted:
        batch = order[at : at + wanted - len(pixels)]
        at += len(batch)
        side.decode(batch, on_progress)
        for digest in batch:
            picture = side.pictures.get(digest)
            if picture is not None and picture.pixels in member_pixels:
                n_recoded += 1
            elif picture is not None:
                kept.append(digest)
                pixels.add(picture.pixels)
    side.check_readable()
    if at == len(order):
        n_dropped = len(copied) + n_recoded
        _check_share_of_copies(n_dropped, n_dropped + len(kept), side.options)
    else:
        _check_share_of_copies(n_recoded, n_recoded + len(kept), side.options, is_sample=True)
    return merge_copies(side, kept), len(copied) + n_recoded


def _check_share_of_copies(
    n_copies: int, n_nonmembers: int, options: ReadOptions, *, is_sample: bool = False
) -> None:
    """Raise DataError if too many nonmembers are copies of members.

    is_sample: allow for chance, three standard errors and one record.
    """
    limit = options.max_cross_split_share
    slack = 1 + 3 * math.sqrt(limit * (1 - limit) * n_nonmembers) if is_sample else 1e-9
    if n_copies <= limit * n_nonmembers + slack:
        return
    if n_copies == n_nonmembers:
        raise DataError(
            f"every one of {n_nonmembers} nonmembers is also a member; "
            "pass records that the model was not trained on"
        )
    raise DataError(
        f"{n_copies} of {n_nonmembers} nonmembers ({n_copies / n_nonmembers:.1%}) are copies of "
        f"members; the limit is {limit:.0%}, since the splits look mixed up: pass records that "
        "the model was not trained on"
    )


def _near_duplicates(
    members: Merged, nonmembers: Merged, options: ReadOptions
) -> tuple[tuple[str, ...], list[str]]:
    """Ids of nonmembers that nearly equal a member, and what to say about them."""
    if not options.near_duplicate_rms:
        return (), ["near-duplicates across splits were not looked for: near_duplicate_rms is 0"]
    n_pairs = len(members.records) * len(nonmembers.records)
    if n_pairs > options.max_near_pairs:
        return (), [
            f"near-duplicates across splits were not looked for: {n_pairs:,} pairs are above "
            f"max_near_pairs = {options.max_near_pairs:,}"
        ]
    pairs = near_pairs(nonmembers.thumbs, members.thumbs, options.near_duplicate_rms)
    near = tuple(nonmembers.records[i].id for i in sorted(set(pairs.queries.tolist())))
    notes = []
    if near:
        notes.append(
            f"{len(near)} nonmembers nearly equal a member (RMS up to "
            f"{options.near_duplicate_rms:g} at 16 x 16); they stay in the evaluation, and if the "
            "model was trained on them they hide leaks: review their provenance"
        )
    if not pairs.is_complete:
        notes.append("the search for near-duplicates gave up early: too many similar pictures")
    return near, notes


def _divide(
    records: Sequence[Record], share: float, seed: int
) -> tuple[tuple[Record, ...], tuple[Record, ...]]:
    """The evaluated and the calibration part; whole subjects, on both sides, go together."""
    bound = int(share * 2**64)

    def in_calibration(record: Record) -> bool:
        unit = f"p:{record.pixels}" if record.subject is None else f"s:{record.subject}"
        return keyed_rank("calibration", seed, unit) < bound

    parts: tuple[list[Record], list[Record]] = ([], [])
    for record in records:
        parts[in_calibration(record)].append(record)
    return tuple(parts[0]), tuple(parts[1])


def _reading_notes(sides: Sequence[Side], merged: Sequence[Merged], limit: int | None) -> list[str]:
    """What the report should say about captions, subjects, copies and damage."""
    notes = [f"{side.name}: {note}" for side in sides for note in side.listing.notes]
    for side, part in zip(sides, merged, strict=True):
        n = len(part.records)
        n_bare = sum(record.caption is None for record in part.records)
        n_copied = sum(record.multiplicity > 1 for record in part.records)
        if n_copied:
            notes.append(f"{n_copied} of {n} {side.name} occur more than once and count once")
        if part.n_several_captions:
            notes.append(
                f"{part.n_several_captions} {side.name} come with several captions; "
                "the most frequent one is used"
            )
        if side.listing.has_captions and n_bare:
            notes.append(f"{n_bare} of {n} {side.name} have no caption")
        if side.n_unreadable:
            notes.append(f"{side.n_unreadable} rows of the {side.name} are unreadable")
        if limit is not None and n < len(side.copies):
            notes.append(
                f"{n} {side.name} were drawn from {len(side.copies)} distinct files; copies were "
                "sought among all, re-encoded copies and near-duplicates in the sample only"
            )
    subjects = [{r.subject for r in part.records if r.subject is not None} for part in merged]
    n_shared = len(subjects[0] & subjects[1])
    if n_shared and all(r.subject is not None for part in merged for r in part.records):
        raise DataError(
            f"{n_shared} subjects have records on both sides, so that they are neither members nor "
            "nonmembers; keep each subject on one side (`auditor split` does), or leave the "
            "subject column out"
        )
    if n_shared:
        notes.append(f"{n_shared} subjects have both members and nonmembers")
    if any(subjects) and any(r.subject is None for part in merged for r in part.records):
        notes.append("some records have no subject, so that the record is the unit of evaluation")
    return notes


def _repeats(records: Sequence[Record]) -> tuple[tuple[int, int], ...]:
    return tuple(sorted(Counter(record.multiplicity for record in records).items()))
