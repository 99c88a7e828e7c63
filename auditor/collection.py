"""Claims about a collection as a whole: one p-value, or a refusal.

A claim compares records that nothing was fitted on, and is made only where the blind baseline ran
and could not tell the collection from the records it is compared with. It never enters the verdict
on single records.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from attacks.errors import Inapplicable, UnderPowered
from attacks.registry import attack
from attacks.results import ControlResult, ControlStatus, DatasetInference
from attacks.statistics.welch import welch_greater
from auditor.scoring import DATASET, names_of

if TYPE_CHECKING:
    from auditor.prepare import Observed, PreparedScan

ALPHA = 0.01
"""Error probability of a claim."""


def collection_claims(
    scan: PreparedScan, observed: Observed, controls: Sequence[ControlResult]
) -> tuple[DatasetInference, ...]:
    """One finding for each attack of the plan that judges collections."""
    blind = next((c for c in controls if c.name == "blind"), None)
    subjects = [r.subject for r in observed.records] if scan.splits.has_subjects else None
    found = []
    for name in names_of(scan.plan, DATASET):
        try:
            scores = attack(name).score(
                observed.observations, scan.plan.configs[name], observed.calibration
            )
        except Inapplicable as reason:
            found.append(claim(scan, name, None, observed.is_member, subjects, str(reason)))
            continue
        found.append(claim(scan, name, scores, observed.is_member, subjects, why_not(blind)))
    return tuple(found)


def why_not(blind: ControlResult | None) -> str | None:
    """Why no claim may be made; None if the blind baseline could not tell the two apart."""
    if blind is None or blind.status is ControlStatus.NOT_RUN:
        return (
            "The blind baseline did not run, so the two collections may differ without the model."
        )
    if blind.status is ControlStatus.FAILED:
        return (
            "The blind baseline tells the two collections apart without the model, so a difference "
            "in their scores says nothing about training."
        )
    return None


def claim(
    scan: PreparedScan,
    name: str,
    scores: NDArray[np.float64] | None,
    is_member: NDArray[np.bool_],
    subjects: Sequence[str | None] | None,
    reason: str | None,
) -> DatasetInference:
    """The finding on held-out scores (n,); reason: why it makes no claim, if it makes none."""
    manifest = attack(name).MANIFEST
    test = None
    sizes = int(is_member.sum()), int((~is_member).sum())
    if scores is not None:
        sides = [_by_subject(scores, is_member == side, subjects) for side in (True, False)]
        sizes = len(sides[0]), len(sides[1])
        try:
            test = None if reason else welch_greater(*sides)
        except UnderPowered as error:
            reason = f"{error}."
    return DatasetInference(
        attack=name,
        rule_id=manifest.id,
        title=manifest.title,
        access=str(manifest.access),
        n_published=sizes[0],
        n_unpublished=sizes[1],
        p_value=None if test is None else test.p_value,
        effect=None if test is None else test.effect,
        alpha=ALPHA,
        is_used=None if test is None else test.p_value <= ALPHA,
        explanation=reason or "" if test is None else _words(test.p_value, *sizes),
        cost=scan.plan.cost(name),
    )


def _by_subject(
    scores: NDArray[np.float64], side: NDArray[np.bool_], subjects: Sequence[str | None] | None
) -> NDArray[np.float64]:
    """Scores of one side, averaged over each data subject: records of one are not independent."""
    if subjects is None:
        return scores[side]
    names = np.array([str(s) for s in subjects])[side]
    _, index = np.unique(names, return_inverse=True)
    means: NDArray[np.float64] = np.bincount(index, scores[side]) / np.bincount(index)
    return means


def _words(p: float, n_published: int, n_unpublished: int) -> str:
    size = f"{n_published:,} published and {n_unpublished:,} unpublished"
    if p <= ALPHA:
        return (
            f"The published collection was used in training: its scores lie above those of "
            f"unpublished records ({size}, held out; one-sided p = {p:.2g}, limit {ALPHA:g})."
        )
    return (
        f"It is not shown that the published collection was used in training ({size}, held out; "
        f"one-sided p = {p:.2g}, limit {ALPHA:g}). This does not show that it was not."
    )
