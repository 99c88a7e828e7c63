"""Pictures that occur, or nearly occur, on both sides: counted, and evaluated on neither.

A nonmember with the pixels of a member was trained on, so that it is no clean nonmember under any
caption. Its member goes too: what occurs on both sides is common, and common pictures are easy for
any model. If only the nonmember went, they would be left among the members alone, which looks like
a leak. The same holds for pictures that nearly equal one another.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

from attacks.wording import plural
from auditor.records.compare import across_note, check_left, check_share_of_copies
from auditor.records.model import ReadOptions, Record
from auditor.records.near import near_pairs
from auditor.records.side import Merged, Progress, Side, merge_copies

Sides: TypeAlias = "tuple[Side, Side]"
"""Members and nonmembers."""


@dataclass(frozen=True, slots=True)
class Compared:
    """Two sides without what they share."""

    members: Merged
    """Members that no nonmember equals or nearly equals."""
    nonmembers: Merged
    """Nonmembers that no member equals or nearly equals."""
    withheld: tuple[Record, ...]
    """Members left out, in the order of their ids; empty if a sample was drawn."""
    n_withheld: int
    """Distinct members left out."""
    n_dropped: int
    """Distinct files of nonmembers left out because their pixels are those of a member."""
    near: tuple[str, ...]
    """Content ids of nonmembers left out because they nearly equal a member."""
    are_samples: tuple[bool, bool]
    """Whether files of a side were left unread because the limit was reached."""
    notes: tuple[str, ...]
    """What the report should say about what was left out."""


class Near(NamedTuple):
    """Positions of pictures that nearly equal one of the other side."""

    members: set[int]
    nonmembers: set[int]


def read_sides(
    sides: Sides, limit: int | None, seed: int, on_progress: Progress | None
) -> Compared:
    """Decode both sides, or a sample of them, and leave out what they share.

    Raises DataError if too much is unreadable or shared, or nothing is left.
    """
    own, other = sides
    options = own.options
    files = own.copies.keys() & other.copies.keys()
    check_share_of_copies(len(files), len(other.copies), options)
    is_whole = limit is None or limit >= max(len(side.copies) for side in sides)
    n_unseen = 0 if is_whole else len(files)  # files on both sides are no part of a sample
    are_samples = _decode(sides, set() if is_whole else files, limit, seed, on_progress)
    for side in sides:
        side.check_readable()
    shared = _pixels(own) & _pixels(other)
    members, copied = _parted(own, shared)
    nonmembers, _ = _parted(other, shared)
    near, notes = _near_duplicates(members, nonmembers, options)
    n_dropped = sum(picture.pixels in shared for picture in other.pictures.values())
    n_counted = n_dropped if are_samples[1] else n_dropped + n_unseen
    close = {nonmembers.records[i].pixels for i in near.nonmembers}
    n_near = sum(picture.pixels in close for picture in other.pictures.values())
    n_all = n_counted + len(other.pictures) - n_dropped
    check_share_of_copies(n_counted, n_all, options, n_near=n_near, is_sample=are_samples[1])
    left = members.without(near.members), nonmembers.without(near.nonmembers)
    n_copied = len(copied.records) + n_unseen
    check_left(len(left[0].records), n_copied + len(members.records), "member", "nonmember")
    check_left(len(left[1].records), n_all, "nonmember", "member")
    withheld = [*copied.records, *(members.records[i] for i in near.members)]
    return Compared(
        *left,
        withheld=tuple(sorted(withheld, key=lambda r: r.id)) if is_whole else (),
        n_withheld=len(withheld) + n_unseen,
        n_dropped=n_dropped + n_unseen,
        near=tuple(nonmembers.records[i].id for i in sorted(near.nonmembers)),
        are_samples=are_samples,
        notes=(*across_note(n_copied), *notes),
    )


def _parted(side: Side, shared: set[str]) -> tuple[Merged, Merged]:
    """The decoded pictures of a side that are not, and that are, among the shared ones."""
    parts: tuple[list[bytes], list[bytes]] = ([], [])
    for digest, picture in side.pictures.items():
        parts[picture.pixels in shared].append(digest)
    return merge_copies(side, parts[0]), merge_copies(side, parts[1])


def _decode(
    sides: Sides,
    skipped: set[bytes],
    limit: int | None,
    seed: int,
    on_progress: Progress | None,
) -> tuple[bool, bool]:
    """Decode until each side has `limit` pictures that the other lacks, or comes to its end.

    Both sides are asked in turn and treated alike. Returns whether files were left unread.
    """
    orders = [[d for d in side.sample_order(seed) if d not in skipped] for side in sides]
    at = [0, 0]
    is_done = False
    while not is_done:
        is_done = True
        shared = _pixels(sides[0]) & _pixels(sides[1])
        for i, side in enumerate(sides):
            wanted = len(orders[i]) if limit is None else limit
            missing = max(wanted - len(_pixels(side) - shared), 0)
            batch = orders[i][at[i] : at[i] + missing]
            if batch:
                is_done = False
                at[i] += len(batch)
                side.decode(batch, on_progress)
    return at[0] < len(orders[0]), at[1] < len(orders[1])


def _pixels(side: Side) -> set[str]:
    return {picture.pixels for picture in side.pictures.values()}


def _near_duplicates(
    members: Merged, nonmembers: Merged, options: ReadOptions
) -> tuple[Near, list[str]]:
    """Members and nonmembers that nearly equal each other, and what to say about them."""
    nothing = Near(set(), set())
    if not options.near_duplicate_rms:
        return nothing, [
            "near-duplicates across splits were not looked for: near_duplicate_rms is 0"
        ]
    n_pairs = len(members.records) * len(nonmembers.records)
    if n_pairs > options.max_near_pairs:
        return nothing, [
            f"near-duplicates across splits were not looked for: {n_pairs:,} pairs are above "
            f"max_near_pairs = {options.max_near_pairs:,}"
        ]
    pairs = near_pairs(nonmembers.thumbs, members.thumbs, options.near_duplicate_rms)
    near = Near(set(pairs.keys.tolist()), set(pairs.queries.tolist()))
    notes = []
    if near.nonmembers:
        notes.append(
            f"not evaluated: {plural(len(near.members), 'member')} and {plural(len(near.nonmembers), 'nonmember')}"
            f" that nearly equal each other (RMS up to {options.near_duplicate_rms:g} at 16 x 16)"
        )
    if not pairs.is_complete:
        notes.append("the search for near-duplicates gave up early: too many similar pictures")
    return near, notes
