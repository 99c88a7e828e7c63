"""Logits of k classes from what a scikit-learn classifier answers.

A classifier has a column only for each class of its training set, so the columns are moved to the k
classes by `classes_`. All else is as `auditor.targets.classifier.answers` has it for a target: a
target and its shadow models must be read in the same way, or attacks compare numbers of two scales.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from attacks.errors import ShapeError
from auditor.targets.classifier.answers import STEPPED_FLOOR, log_probabilities, unseen_logit
from auditor.targets.classifier.estimators import probability_floor


class Answers(NamedTuple):
    """What a classifier said about n records."""

    logits: NDArray[np.float64]
    """(n, k) log-probabilities, or decision values where there are no probabilities."""
    eps: float
    """How far from 0 and 1 the probability of the true class counts; 0 for smooth models."""


def class_logits(
    estimator: Any, features: Any, n_classes: int, labels: Sequence[Any] | None = None
) -> Answers:
    """(n, k) logits of a fitted classifier.

    labels: (k,) what it calls class 0, 1, ...; None if it was fitted on these numbers.

    Decision values stand for logits as they are, as (0, s) if there is one for two classes. A
    class that the training set lacked has the probability of `answers.unseen_logit`, or lies
    -log(1e-6) below the highest decision value.

    Raises ShapeError if the answers do not fit the classes.
    """
    classes = np.asarray(estimator.classes_)
    if labels is not None:
        position = {label: i for i, label in enumerate(labels)}
        classes = np.array([position[label] for label in classes.tolist()])
    if hasattr(estimator, "predict_proba"):
        probabilities = _columns(estimator.predict_proba(features), classes)
        eps = probability_floor(estimator) or 0.0
        logits = np.full((len(probabilities), n_classes), unseen_logit(eps, n_classes))
        logits[:, classes] = log_probabilities(probabilities)
        return Answers(logits, eps)
    values = np.asarray(estimator.decision_function(features), dtype=np.float64)
    if values.ndim == 1:
        values = np.stack([np.zeros_like(values), values], axis=1)
    values = _columns(values, classes)
    logits = np.repeat(values.max(axis=1, keepdims=True) + np.log(STEPPED_FLOOR), n_classes, axis=1)
    logits[:, classes] = values
    return Answers(logits, 0.0)


def _columns(answers: Any, classes: NDArray) -> NDArray[np.float64]:
    array = np.asarray(answers, dtype=np.float64)
    if array.ndim != 2 or array.shape[1] != len(classes):
        raise ShapeError(
            f"expected answers of shape (n, {len(classes)}) from the classifier, got {array.shape}; "
            "use a classifier of one label per record"
        )
    return array
