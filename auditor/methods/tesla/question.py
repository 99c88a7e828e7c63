"""TESLA's own question: does averaging many records into a few pictures hide any one of them?

Every figure is about a released set: its pictures, and a student trained on them. A start from
real records makes these records literal ingredients; `compare_starts` repeats the audit with a
start from noise, where the rows that would have been used are known and were not, so that the
same figures are their own control.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from attacks.results import Estimate
from auditor.methods.classifiers import NetworkClassifier, true_class_confidence
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
    confidence = true_class_confidence(trained.logits(records.features), classes)
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
    """(n,) minus the distance to the nearest picture of the record's class.

    The median of the class is taken off, over all records whether members or not, so that
    classes of unlike spread compare.
    """
    classes = records.required_classes()
    scores = np.zeros(len(records))
    for c in np.unique(classes):
        rows, pictures = classes == c, trained.parts["images"][trained.parts["classes"] == c]
        if not len(pictures):
            continue
        gaps = records.features[rows][:, None] - pictures[None]
        nearest = -np.linalg.norm(gaps.reshape(*gaps.shape[:2], -1), axis=2).min(axis=1)
        scores[rows] = nearest - np.median(nearest)
    return scores


def traces_of_the_start(
    trained: NetworkClassifier, records: Records, mask: NDArray[np.bool_]
) -> tuple[MethodFinding, ...]:
    """Whether the records that pictures started from stand out among the members of their class."""
    from attacks.statistics import clopper_pearson

    classes, parts = records.required_classes(), trained.parts
    if parts["initial"] == "real":
        what = "the record that it started from"
    else:
        what = "a record that was drawn but not used, as it started from noise (a control)"
    likeness_in, likeness_out, n_first = [], [], 0
    for k, row in enumerate(parts["initial_rows"]):
        others = np.flatnonzero(mask & (classes == classes[row]))
        alike = correlations(records.features[others], parts["images"][k])
        is_start = others == row
        likeness_in.append(alike[is_start])
        likeness_out.append(alike[np.isin(others, parts["initial_rows"], invert=True)])
        n_first += bool(alike.argmax() == is_start.argmax())
    n = len(parts["initial_rows"])
    low, high = clopper_pearson(n_first, n)
    return (
        compared(
            "start_residue",
            f"A distilled picture's correlation with {what}, against other members of its class.",
            np.concatenate(likeness_in),
            np.concatenate(likeness_out),
        ),
        MethodFinding(
            "start_ranked_first",
            f"Share of distilled pictures whose most similar member of the class is {what}.",
            "share",
            Estimate(n_first / n, float(low), float(high)),
            n,
            0,
        ),
    )


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
