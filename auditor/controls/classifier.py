"""All controls of a scan of a classifier.

The blind baseline never sees the target. The positive control trains copies by the user's recipe
on the members and on nonmembers that are repeated as often as the dose says.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from attacks.membership._confidence import loss, phi
from attacks.observations import Classes, Logits
from attacks.results import ControlResult, ControlStatus
from auditor.controls.blind import blind_baseline
from auditor.controls.positive import (
    DOSES,
    N_INJECTED,
    DoseScores,
    PositiveControl,
    chosen_records,
    is_established,
    positive_control,
)
from auditor.controls.row_features import row_features
from auditor.controls.suite import Controls, blind_scores, halves_of_nonmembers
from auditor.progress import Progress
from auditor.records.rows import RowRecord
from auditor.scoring import Scores, score_all

if TYPE_CHECKING:
    from auditor.families.classifier import ClassifierScan
    from auditor.prepare import Observed

FEWEST = 10
"""Nonmembers below which competence cannot be judged."""
SIGNIFICANT = 2.326  # one-sided 1 % of the normal distribution


def run_controls(scan: ClassifierScan, observed: Observed, progress: Progress) -> Controls:
    """Run every control on the evaluated records."""
    table = scan.splits.table
    results = [_competence(observed), halves_of_nonmembers(scan, observed)]
    progress.stage("control: blind baseline", 1, "step")
    blind = blind_baseline(
        observed.members,
        observed.nonmembers,
        lambda records: row_features(records, table),
        seed=scan.options.seed,
    )
    results.append(blind.control)
    planted = _planted(scan, observed, progress)
    results.append(planted.result)
    return Controls(tuple(results), planted.caught_at, blind_scores(blind, observed.records))


def competence(correct: NDArray[np.bool_], classes: NDArray[np.integer]) -> ControlResult:
    """Whether a classifier does better than one that never looks at the record.

    correct: (n,) nonmembers classified rightly; classes: (n,) their true classes. Any constant or
    random answer has a mean recall over the k classes that occur of 1/k, however unequal they are.
    Passed if the mean recall is above that beyond chance (one-sided 1 %).
    """
    present, codes, counts = np.unique(classes, return_inverse=True, return_counts=True)
    if len(correct) < FEWEST or len(present) < 2:
        summary = (
            f"not run: it needs {FEWEST} nonmembers of two classes, there are {len(correct)} of "
            f"{len(present)}"
        )
        return ControlResult("competence", ControlStatus.NOT_RUN, summary)
    recall = np.bincount(codes, weights=correct) / counts
    chance = 1 / len(present)
    spread = math.sqrt(float((np.maximum(recall * (1 - recall), 1 / (4 * counts)) / counts).sum()))
    z = (float(recall.mean()) - chance) / max(spread / len(present), 1e-12)
    is_competent = z > SIGNIFICANT
    verb = "beats" if is_competent else "does not beat"
    summary = (
        f"On {len(correct)} nonmembers the mean recall over {len(present)} classes is "
        f"{recall.mean():.3f}; the model {verb} guessing ({chance:.3f}) beyond chance."
    )
    figures: dict[str, float | int | str | bool | None] = {
        "mean_recall": float(recall.mean()),
        "chance": chance,
        "accuracy": float(correct.mean()),
        "n_nonmembers": len(correct),
    }
    status = ControlStatus.PASSED if is_competent else ControlStatus.FAILED
    return ControlResult("competence", status, summary, figures)


def _competence(observed: Observed) -> ControlResult:
    out = ~observed.is_member
    classes = np.asarray(observed.observations[Classes()])[out]
    predicted = np.asarray(observed.observations[Logits()])[out, 0].argmax(axis=1)
    return competence(predicted == classes, classes)


def _planted(scan: ClassifierScan, observed: Observed, progress: Progress) -> PositiveControl:
    """Nonmembers repeated in the training set of a copy, dose by dose."""
    if scan.recipe is None:
        summary = (
            "Not run: without a recipe (--train) no copy can be trained, so that nobody knows what "
            "the attacks would have seen."
        )
        return PositiveControl(ControlResult("positive", ControlStatus.NOT_RUN, summary), {})
    chosen = chosen_records(observed.nonmembers, scan.options.seed)
    progress.stage("control: planted records", len(DOSES), "copies")
    doses = _doses(scan, observed, chosen, progress)
    fpr = scan.policy.rules.identified.fpr
    return positive_control(doses, [*scan.plan.configs], len(chosen), fpr)


def _doses(
    scan: ClassifierScan, observed: Observed, chosen: Sequence[RowRecord], progress: Progress
) -> Iterator[DoseScores]:
    """Copies trained on the members and the repeated nonmembers, from the smallest dose."""
    most = scan.policy.accepted_dose
    doses = [dose for dose in DOSES if dose <= most] or [most]
    place = {record.id: i for i, record in enumerate(observed.records)}
    injected = [place[record.id] for record in chosen[:N_INJECTED]]
    before = float(loss(_phi(observed, injected)).mean())
    for copy in scan.copies(chosen[:N_INJECTED], doses):
        observer = scan.observer_of(copy.classifier, copy.cache)
        found = observer.observe(chosen, scan.plan.requests)
        progress.advance(1)
        logits = np.asarray(found[Logits()])[:N_INJECTED, 0]
        after = float(loss(phi(logits, np.asarray(found[Classes()])[:N_INJECTED])).mean())
        scores: Scores | None = None
        if is_established(before, after):
            scores = score_all(scan.plan, found, observed.calibration)[0]
        yield DoseScores(copy.dose, before, after, scores)


def _phi(observed: Observed, rows: Sequence[int]) -> NDArray[np.float64]:
    logits = np.asarray(observed.observations[Logits()])[list(rows), 0]
    return phi(logits, np.asarray(observed.observations[Classes()])[list(rows)])
