"""Logits of k classes from what a scikit-learn classifier answers.

A target and its shadow models must be read in the same way, or attacks compare unlike things: so
clipping, and what a class gets that a model has never seen, are those of
`auditor.targets.classifier`. A classifier has a column only for each class of its training set;
the columns are moved to the k classes by `classes_`.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from attacks.errors import ShapeError


class Answers(NamedTuple):
    """What a classifier said about n records."""

    logits: NDArray[np.float64]
    """(n, k) log-probabilities, or decision values where there are no probabilities."""
    clipped: float
    """Share of the answered probabilities that were clipped, in [0, 1]."""


def class_logits(estimator: Any, features: Any, n_classes: int) -> Answers:
    """(n, k) logits of a fitted classifier whose classes are indices 0..k-1.

    Decision values stand for logits as they are, as (0, s) if there is one for two classes.
    Raises ShapeError if the answers do not fit the classes.
    """
    from auditor.targets.classifier.answers import UNSEEN, log_probabilities, smooth_floor
    from auditor.targets.classifier.estimators import probability_floor

    classes = np.asarray(estimator.classes_)
    if hasattr(estimator, "predict_proba"):
        known = _columns(estimator.predict_proba(features), classes)
        floor = probability_floor(estimator)
        eps = smooth_floor(n_classes) if floor is None else floor
        logits = log_probabilities(known, eps)
        clipped = float(np.mean(np.abs(np.exp(logits) - known) > 1e-12)) if known.size else 0.0
        rest = np.full(len(known), np.log(eps / max(len(classes) - 1, 1)))
    else:
        values = np.asarray(estimator.decision_function(features), dtype=np.float64)
        if values.ndim == 1:
            values = np.stack([np.zeros_like(values), values], axis=1)
        logits = _columns(values, classes)
        clipped, rest = 0.0, logits.max(axis=1) + UNSEEN
    full = np.repeat(rest[:, None], n_classes, axis=1)
    full[:, classes] = logits
    return Answers(full, clipped)


def _columns(answers: Any, classes: NDArray) -> NDArray[np.float64]:
    array = np.asarray(answers, dtype=np.float64)
    if array.ndim != 2 or array.shape[1] != len(classes):
        raise ShapeError(
            f"expected answers of shape (n, {len(classes)}) from the classifier, got {array.shape}; "
            "use a classifier of one label per record"
        )
    return array
