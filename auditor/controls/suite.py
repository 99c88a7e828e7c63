"""What the controls of every family share: their result, and the halves of the nonmembers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from attacks.results import ControlResult
from auditor.controls.blind import BlindBaseline
from auditor.controls.negative import random_half, separates

if TYPE_CHECKING:
    from auditor.prepare import Observed, PreparedScan, Record


@dataclass(frozen=True)
class Controls:
    """Outcomes of all controls."""

    results: tuple[ControlResult, ...]
    caught_at: dict[str, int | None]
    """Attack -> smallest dose at which the positive control was caught."""
    blind_score: NDArray[np.float64] | None
    """(n,) score of a classifier that never saw the target, in the order of the records."""


def halves_of_nonmembers(scan: PreparedScan, observed: Observed) -> ControlResult:
    """The negative control that costs nothing: one half of the nonmembers against the other."""
    nonmembers = observed.nonmembers
    units = [str(r.subject) if scan.splits.has_subjects else r.id for r in nonmembers]
    return separates(
        "negative",
        "One half of the nonmembers against the other",
        {name: values[~observed.is_member] for name, values in observed.scores.items()},
        random_half(units, scan.options.seed),
        scan.options.seed,
        subjects(scan, nonmembers),
    )


def subjects(scan: PreparedScan, records: Sequence[Record]) -> NDArray | None:
    """(n,) data subjects, where the subject is the unit of the audit."""
    return np.array([r.subject for r in records]) if scan.splits.has_subjects else None


def blind_scores(blind: BlindBaseline, records: Sequence[Record]) -> NDArray[np.float64] | None:
    """(n,) blind scores in the order of the records; None if only a part was scored."""
    if not all(record.id in blind.scores for record in records):
        return None
    return np.array([blind.scores[record.id] for record in records])
