"""TESLA's own question: does averaging many records into a few pictures hide any one of them?

Every figure is about a released set: its pictures, and a student trained on them. A start from
real records makes these records literal ingredients; `compare_starts` repeats the audit with a
start from noise, where the rows that would have been used are known and were not, so that the
same figures are their own control.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from attacks.results import Estimate
from auditor.methods.classifiers import NetworkClassifier, centred_by_class, true_class_confidence
from auditor.methods.findings import MethodFinding, compared, counted
from auditor.methods.protocol import Records, checked_keep
from auditor.methods.tesla.config import TeslaConfig
from auditor.methods.tesla.distillation import as_classifier, distill

COPY_RMS = 0.01
"""Root mean square difference, pixels in [0, 1], up to which a picture is a copy of a record."""
INSUFFICIENT = (
    "An average near one half does not show that single records are hidden: that takes canaries "
    "and models trained with and without them."
)


def own_question(
    trained: NetworkClassifier, records: Records, keep: NDArray[np.bool_]
) -> tuple[MethodFinding, ...]:
    """Copies, nearness to members, traces of the start, and membership through a student."""
    mask, classes = checked_keep(records, keep), records.required_classes()
    nearness = nearness_by_class(trained, records)
    logits = trained.logits(records.features)
    confidence = centred_by_class(true_class_confidence(logits, classes), classes)
    return (
        copies(trained, records, mask),
        compared(
            "nearest_picture",
            "Members told by their nearness to the distilled pictures of their class. "
            + INSUFFICIENT,
            nearness[mask],
            nearness[~mask],
        ),
        *traces_of_the_start(trained, records, mask),
        compared(
            "membership_through_student",
            "Members told by the confidence of a student of the distilled pictures. "
            + INSUFFICIENT,
            confidence[mask],
            confidence[~mask],
        ),
    )


def compare_starts(
    records: Records, keep: NDArray[np.bool_], seed: int, config: TeslaConfig
) -> dict[str, tuple[MethodFinding, ...]]:
    """The answers for a start from real records, and for one from noise, seeds alike."""
    starts: tuple[Literal["real", "noise"], ...] = ("real", "noise")
    answers: dict[str, tuple[MethodFinding, ...]] = {}
    for initial in starts:
        changed = replace(config, initial=initial)
        distilled = distill(records, keep, seed, changed)
        trained = as_classifier(records, distilled, seed, changed)
        answers[initial] = own_question(trained, records, keep)
    return answers


def copies(trained: NetworkClassifier, records: Records, mask: NDArray[np.bool_]) -> MethodFinding:
    """The certain leak: pictures that are a training record as it is."""
    members = records.features[mask]
    n = sum(
        bool(np.min(_rms(members - picture[None])) <= COPY_RMS)
        for picture in trained.parts["images"]
    )
    total = len(trained.parts["images"])
    return counted(
        "copied_records",
        f"{n} of the {total} released pictures are a training record as it is.",
        "count",
        n,
        n_members=total,
    )


def nearness_by_class(trained: NetworkClassifier, records: Records) -> NDArray[np.float64]:
    """(n,) minus the distance to the nearest picture of the record's class, centred by class."""
    return _best_by_class(
        trained,
        records,
        lambda rows, picture: -np.linalg.norm((rows - picture).reshape(len(rows), -1), axis=1),
    )


def likeness_by_class(trained: NetworkClassifier, records: Records) -> NDArray[np.float64]:
    """(n,) largest correlation with a picture of the record's class, centred by class."""
    return _best_by_class(trained, records, correlations)


def _best_by_class(
    trained: NetworkClassifier, records: Records, likeness: Callable[[NDArray, NDArray], NDArray]
) -> NDArray[np.float64]:
    classes, parts = records.required_classes(), trained.parts
    scores = np.full(len(records), -np.inf)
    for picture, c in zip(parts["images"], parts["classes"], strict=True):
        rows = classes == c
        scores[rows] = np.maximum(scores[rows], likeness(records.features[rows], picture))
    scores[np.isneginf(scores)] = 0.0  # classes without a picture tell nothing
    return centred_by_class(scores, classes)


def traces_of_the_start(
    trained: NetworkClassifier, records: Records, mask: NDArray[np.bool_]
) -> tuple[MethodFinding, ...]:
    """Whether the records that pictures started from stand out among the members."""
    from attacks.statistics import clopper_pearson

    parts = trained.parts
    used = (
        "the pictures started from"
        if parts["initial"] == "real"
        else ("were drawn but not used, as the pictures started from noise (a control)")
    )
    likeness, starts = likeness_by_class(trained, records), parts["initial_rows"]
    others = np.setdiff1d(np.flatnonzero(mask), starts)
    n_first, n = ranked_first(trained, records, mask), len(starts)
    low, high = clopper_pearson(n_first, n)
    return (
        compared(
            "start_residue",
            f"Members that {used}, told from the others by their likeness to a picture.",
            likeness[starts],
            likeness[others],
        ),
        MethodFinding(
            "start_ranked_first",
            f"Share of members that {used} and are the most alike of their class to their picture.",
            "share",
            Estimate(n_first / n, float(low), float(high)),
            n,
            0,
        ),
    )


def ranked_first(trained: NetworkClassifier, records: Records, mask: NDArray[np.bool_]) -> int:
    """Pictures whose most similar member of the class is the row drawn for their start."""
    classes, parts = records.required_classes(), trained.parts
    hits = 0
    for picture, row in zip(parts["images"], parts["initial_rows"], strict=True):
        members = np.flatnonzero(mask & (classes == classes[row]))
        alike = correlations(records.features[members], picture)
        hits += bool(members[alike.argmax()] == row)
    return hits


def correlations(features: NDArray, picture: NDArray) -> NDArray[np.float64]:
    """(n,) Pearson correlation over pixels of each record with one picture; 0 if one is flat."""
    rows = np.asarray(features, dtype=np.float64).reshape(len(features), -1)
    rows = rows - rows.mean(axis=1, keepdims=True)
    other = np.asarray(picture, dtype=np.float64).ravel()
    other = other - other.mean()
    scale = np.linalg.norm(rows, axis=1) * np.linalg.norm(other)
    return (rows @ other) / np.where(scale > 0, scale, 1.0)


def _rms(differences: NDArray) -> NDArray[np.float64]:
    flat = np.asarray(differences, dtype=np.float64).reshape(len(differences), -1)
    return np.sqrt(np.mean(flat**2, axis=1))
