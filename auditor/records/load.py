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

from collections.abc import Sequence
from pathlib import Path

from attacks.errors import DataError
from auditor.records.compare import (
    check_arguments,
    check_share_of_copies,
    copy_notes,
    divide,
    repeats,
    subject_notes,
    wanted_splits,
)
from auditor.records.listing import CAPTIONS, Beside, list_rows
from auditor.records.model import ReadOptions, Splits
from auditor.records.near import near_pairs
from auditor.records.side import Merged, Progress, Side, merge_copies


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
    member_side, nonmember_side = _list_sides(members, nonmembers, options, beside)
    member_side.hash_rows(on_progress)
    nonmember_side.hash_rows(on_progress)
    check_share_of_copies(
        sum(digest in member_side.copies for digest in nonmember_side.copies),
        len(nonmember_side.copies),
        options,
    )
    merged_members = read_members(member_side, limit, seed, on_progress)
    merged_nonmembers, n_dropped = read_nonmembers(
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
    parts = divide(merged[0].records, merged[1].records, calibration_share, seed)
    caption_sources = dict.fromkeys(side.listing.caption_source for side in sides)
    return Splits(
        *parts,
        n_cross_split_dropped=n_cross_split_dropped,
        n_unreadable=sum(side.n_unreadable for side in sides),
        near_duplicates=near,
        repeats=repeats(merged[0].records),
        nonmember_repeats=repeats(merged[1].records),
        has_captions=all(side.listing.has_captions for side in sides),
        has_subjects=all(r.subject is not None for part in merged for r in part.records),
        caption_source="; nonmembers: ".join(caption_sources),
        notes=(*notes, *near_notes),
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
            "captions'; give captions to both sides (text_column names the column), or set "
            "captions=False to read none"
        )
    return sides


def read_members(side: Side, limit: int | None, seed: int, on_progress: Progress | None) -> Merged:
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


def read_nonmembers(
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
        check_share_of_copies(n_dropped, n_dropped + len(kept), side.options)
    else:
        check_share_of_copies(n_recoded, n_recoded + len(kept), side.options, is_sample=True)
    return merge_copies(side, kept), len(copied) + n_recoded


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


def _reading_notes(sides: Sequence[Side], merged: Sequence[Merged], limit: int | None) -> list[str]:
    """What the report should say about captions, subjects, copies and damage."""
    notes = [f"{side.name}: {note}" for side in sides for note in side.listing.notes]
    for side, part in zip(sides, merged, strict=True):
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
        if limit is not None and n < len(side.copies):
            notes.append(
                f"{n} {side.name} were drawn from {len(side.copies)} distinct files; copies were "
                "sought among all, re-encoded copies and near-duplicates in the sample only"
            )
    return notes + subject_notes(merged[0].records, merged[1].records)
