"""All controls of a scan of a classifier.

The blind baseline never sees the target. The positive control trains copies by the user's recipe
on the members and on 18 nonmembers with wrong labels, as often as the dose says. An easy record
with its own label leaves no trace in a good classifier, however often it is repeated: members and
nonmembers both get a confidence of nearly 1. A wrong label cannot be guessed, only remembered, so
that finding it shows what an attack can see. The planted records are compared with other
nonmembers under wrong labels, who differ from them in nothing but training, and with the same ones
under their own labels. The shadow models know all of them by their true labels alone, which is
unfair to online attacks: `lira` may miss its control where it would see a real leak.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from attacks.observations import Classes, Floor, Logits, Observations
from attacks.results import ControlResult, ControlStatus
from attacks.signals import clipped, loss, phi
from attacks.wording import plural
from auditor.controls.blind import blind_baseline
from auditor.controls.positive import (
    DOSES,
    N_INJECTED,
    DoseScores,
    PositiveControl,
    chosen_records,
    is_established,
    positive_control,
    threshold_of,
)
from auditor.controls.row_features import row_features
from auditor.controls.suite import Controls, blind_scores, halves_of_nonmembers
from auditor.progress import Progress
from auditor.records.identity import keyed_rank
from auditor.records.rows import RowRecord
from auditor.scoring import Scores, score_all

if TYPE_CHECKING:
    from auditor.families.classifier_scan import ClassifierScan
    from auditor.prepare import Observed

WRONG = ":wrong"
"""Marks the id of a record under a wrong label."""
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
        f"On {plural(len(correct), 'nonmember')} the mean recall over {len(present)} classes is "
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
    """Nonmembers with wrong labels in the training set of a copy, dose by dose."""
    if scan.recipe is None:
        summary = (
            "Not run: without a recipe (--train) no copy can be trained, so that nobody knows what "
            "the attacks would have seen."
        )
        return PositiveControl(ControlResult("positive", ControlStatus.NOT_RUN, summary), {})
    chosen = chosen_records(observed.nonmembers, scan.options.seed)
    progress.stage("control: planted records", len(DOSES) + 1, "copies")
    doses = _doses(scan, observed, chosen, progress)
    fpr = scan.policy.rules.identified.fpr
    return positive_control(doses, [*scan.plan.configs], len(chosen), fpr)


def _doses(
    scan: ClassifierScan, observed: Observed, chosen: Sequence[RowRecord], progress: Progress
) -> Iterator[DoseScores]:
    """Copies from the smallest dose, asked about all chosen records under wrong labels.

    A planted record also has to stand above the others under their own labels: those are what
    sets the threshold of the scan itself. Whether a copy memorized anything is measured against
    one that was trained in the same way without the planted records: the target may speak on
    another scale, as an ONNX file or rounded predictions do.
    """
    most = scan.policy.accepted_dose
    doses = [dose for dose in DOSES if dose <= most] or [most]
    n, n_chosen = N_INJECTED, len(chosen)
    wrong = {f"{r.id}{WRONG}": c for r, c in zip(chosen, _wrong_classes(scan, chosen), strict=True)}
    relabelled = [dataclasses.replace(record, id=f"{record.id}{WRONG}") for record in chosen]
    asked = [*relabelled, *chosen[n:]]
    without, *copies = scan.copies(relabelled[:n], wrong, [0, *doses])
    before = _loss(
        scan.observer_of(without.classifier, without.cache, wrong).observe(asked, [Floor()])
    )
    progress.advance(1)
    for copy in copies:
        found = scan.observer_of(copy.classifier, copy.cache, wrong).observe(
            asked, [Floor(), *scan.plan.requests]
        )
        progress.advance(1)
        after = _loss(found)
        scores: Scores | None = None
        if is_established(before, after):
            scores = {}
            for name, values in score_all(scan.plan, found, observed.calibration)[0].items():
                limit = threshold_of(values[n_chosen:], scan.policy.rules.identified.fpr)
                planted = np.where(values[:n] > limit, values[:n], -np.inf)
                scores[name] = np.concatenate([planted, values[n:n_chosen]])
        yield DoseScores(copy.dose, before, after, scores)


def _wrong_classes(scan: ClassifierScan, records: Sequence[RowRecord]) -> list[int]:
    """For each record a class that is not its own, by a keyed hash."""
    k, seed = scan.target.capabilities.n_classes, scan.options.seed
    steps = [1 + keyed_rank("wrong class", seed, record.id) % (k - 1) for record in records]
    own = [int(scan.classes[record.position]) for record in records]
    return [(c + step) % k for c, step in zip(own, steps, strict=True)]


def _loss(observations: Observations) -> float:
    """Mean loss of the planted records."""
    logits = np.asarray(observations[Logits()])[:N_INJECTED, 0]
    classes, eps = (np.asarray(observations[r])[:N_INJECTED] for r in (Classes(), Floor()))
    return float(loss(phi(clipped(logits, classes, eps[0]), classes)).mean())
