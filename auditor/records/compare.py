"""What makes two sides comparable, whatever their records are: pictures or rows of a table."""

from __future__ import annotations

import math
import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, Protocol, TypeVar

from attacks.errors import DataError
from attacks.wording import plural
from auditor.records.identity import keyed_rank
from auditor.records.model import ReadOptions
from auditor.records.sources import printable


class Unit(Protocol):
    """What is asked of a record, of any kind, to put it on a side."""

    @property
    def content(self) -> str:
        """Hash that copies share."""

    @property
    def subject(self) -> str | None:
        """The person or thing that it is about."""

    @property
    def multiplicity(self) -> int:
        """Rows of its side that it stands for."""


AnyRecord = TypeVar("AnyRecord", bound=Unit)


class Parts(NamedTuple):
    """The four parts of a comparison."""

    members: tuple
    nonmembers: tuple
    calibration_members: tuple
    calibration_nonmembers: tuple


def check_arguments(calibration_share: float, limit: int | None) -> None:
    """Raise DataError for a share or a limit that makes no sense."""
    if not 0 <= calibration_share <= 0.9:
        raise DataError(f"calibration_share must lie between 0 and 0.9, got {calibration_share}")
    if limit is not None and limit < 1:
        raise DataError(f"limit must be at least 1, got {limit}")


def wanted_splits(
    members: Path, nonmembers: Path, options: ReadOptions
) -> tuple[str | None, str | None]:
    """Values of the split column for both sides; Nones, and distinct paths, without one."""
    if options.split_column is not None:
        return options.member_split, options.nonmember_split
    check_paths_differ(members, nonmembers)
    return None, None


def check_paths_differ(members: Path, nonmembers: Path) -> None:
    """Raise DataError if both sides are one data set, or one lies inside the other."""
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


def check_share_of_copies(
    n_copies: int,
    n_nonmembers: int,
    options: ReadOptions,
    *,
    n_near: int = 0,
    is_sample: bool = False,
) -> None:
    """Raise DataError if too many nonmembers are copies, or near-duplicates, of members.

    n_near: near-duplicates, beside the copies.
    is_sample: allow for chance, three standard errors and one record.
    """
    limit = options.max_cross_split_share
    slack = 1 + 3 * math.sqrt(limit * (1 - limit) * n_nonmembers) if is_sample else 1e-9
    n_left_out = n_copies + n_near
    if n_left_out <= limit * n_nonmembers + slack:
        return
    if n_copies == n_nonmembers:
        raise DataError(
            f"every one of {plural(n_nonmembers, 'nonmember')} is also a member; "
            "pass records that the model was not trained on"
        )
    kinds = f"copies or near-duplicates ({n_near})" if n_near else "copies"
    hint = "; if they only look alike, lower near_duplicate_rms" if n_near else ""
    raise DataError(
        f"{n_left_out} of {plural(n_nonmembers, 'nonmember')} ({n_left_out / n_nonmembers:.1%}) are {kinds} "
        f"of members; the limit is {limit:.0%} (max_cross_split_share), since the splits look "
        f"mixed up: pass records that the model was not trained on{hint}"
    )


def check_left(n_left: int, n_all: int, name: str, other: str) -> None:
    """Raise DataError if every record of a side was left out because the other side has it."""
    if n_left == 0:
        raise DataError(
            f"every one of {plural(n_all, name)} also occurs among the {other}s, so that none is left to "
            "compare; pass nonmembers that the model was not trained on"
        )


def across_note(n_members: int) -> list[str]:
    """That members which occur among the nonmembers are not evaluated, and why."""
    if not n_members:
        return []
    return [
        f"not evaluated: {plural(n_members, 'member')} found among the nonmembers too, since "
        "common records would otherwise be left among the members alone"
    ]


def divide(
    members: Sequence[AnyRecord], nonmembers: Sequence[AnyRecord], share: float, seed: int
) -> Parts:
    """Evaluated and calibration parts of both sides, by a keyed hash of content or subject.

    Raises DataError if a share is set aside and a part is empty.
    """
    kept, apart = zip(*(_divide(side, share, seed) for side in (members, nonmembers)), strict=True)
    parts = Parts(*kept, *apart)
    if share and not all(parts):
        raise DataError(
            f"too few records to set aside {share:.0%} for calibration: a part is "
            "empty; give more records or subjects, or choose attacks that fit nothing"
        )
    return parts


def _divide(
    records: Sequence[AnyRecord], share: float, seed: int
) -> tuple[tuple[AnyRecord, ...], tuple[AnyRecord, ...]]:
    """The evaluated and the calibration part; whole subjects, on both sides, go together."""
    bound = int(share * 2**64)

    def in_calibration(record: AnyRecord) -> bool:
        unit = f"p:{record.content}" if record.subject is None else f"s:{record.subject}"
        return keyed_rank("calibration", seed, unit) < bound

    parts: tuple[list[AnyRecord], list[AnyRecord]] = ([], [])
    for record in records:
        parts[in_calibration(record)].append(record)
    return tuple(parts[0]), tuple(parts[1])


def subject_notes(members: Sequence[Unit], nonmembers: Sequence[Unit]) -> list[str]:
    """What the report should say about subjects.

    Raises DataError if every record has a subject and some subjects are on both sides.
    """
    sides = (members, nonmembers)
    subjects = [{r.subject for r in side if r.subject is not None} for side in sides]
    is_whole = all(r.subject is not None for side in sides for r in side)
    n_shared = len(subjects[0] & subjects[1])
    if n_shared and is_whole:
        raise DataError(
            f"{n_shared} subjects have records on both sides, so that they are neither members nor "
            "nonmembers; keep each subject on one side (`auditor split` does), or leave the "
            "subject column out"
        )
    notes = []
    if n_shared:
        notes.append(f"{n_shared} subjects have both members and nonmembers")
    if any(subjects) and not is_whole:
        notes.append("some records have no subject, so that the record is the unit of evaluation")
    return notes


def copy_notes(name: str, records: Sequence[Unit]) -> list[str]:
    """How many records of a side stand for several rows."""
    n_copied = sum(record.multiplicity > 1 for record in records)
    if not n_copied:
        return []
    return [f"{n_copied} of {len(records)} {name} occur more than once and count once"]


def repeats(records: Sequence[Unit]) -> tuple[tuple[int, int], ...]:
    """Pairs (multiplicity, records with it), ascending."""
    return tuple(sorted(Counter(record.multiplicity for record in records).items()))
