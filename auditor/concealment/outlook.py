"""What a concealment test will cost and what it can decide, before it is run."""

from __future__ import annotations

import math
from dataclasses import dataclass

from attacks.concealment.verdict import DELAY, FEWEST_NONMEMBERS
from auditor.concealment.scan import ConcealmentScan
from auditor.targets.timing import seconds_per_call
from auditor.wording import percent


@dataclass(frozen=True, slots=True)
class ConcealmentOutlook:
    """The answer of `--dry-run`."""

    models: tuple[str, ...]
    n_members: int
    n_nonmembers: int
    checkpoints: tuple[int, ...]
    calls_per_record: int
    """On one model, a backward pass counted as two."""
    n_calls: int
    """Forward calls at most, over all models."""
    seconds: float
    device: str
    reachable: tuple[str, ...]
    """What these numbers can decide."""


def look_ahead(scan: ConcealmentScan) -> ConcealmentOutlook:
    """Time a batch on the edited model and extrapolate."""
    n_calls = len(scan.records) * scan.setting.calls * len(scan.targets)
    rate = seconds_per_call(scan.targets["edited"], scan.batch_size)
    return ConcealmentOutlook(
        models=tuple(scan.targets),
        n_members=scan.n_members,
        n_nonmembers=len(scan.splits.nonmembers),
        checkpoints=scan.setting.attack.checkpoints,
        calls_per_record=scan.setting.calls,
        n_calls=n_calls,
        seconds=float(math.ceil(n_calls * rate)),
        device=str(scan.targets["edited"].device),
        reachable=reachable(scan),
    )


def reachable(scan: ConcealmentScan) -> tuple[str, ...]:
    """What these numbers of records and steps can decide, and what they cannot."""
    n, n0 = scan.n_members, len(scan.splits.nonmembers)
    margin, fewest = scan.limits.margin, scan.limits.fewest_members
    lines = ["concealed: if clearly more records come back than never-seen ones"]
    if n < fewest:
        lines.append(
            f"erased: never with {n:,} records at a margin of {percent(margin)}; it takes "
            f"{fewest:,} that the original gives away and of which none comes back"
        )
    else:
        lines.append(
            f"erased: if the attack works on the original and fewer than {percent(margin)} of "
            "such records can come back (95 % upper bound)"
        )
    if n0 < FEWEST_NONMEMBERS:
        lines.append(f"erased: needs {FEWEST_NONMEMBERS} never-seen records instead of {n0:,}")
    first, last = scan.setting.attack.checkpoints[0], scan.setting.attack.steps
    if last < DELAY * first:
        lines.append(
            f"erased: needs {DELAY * first} steps, {DELAY} times the first budget that is looked at"
        )
    return tuple(lines)
