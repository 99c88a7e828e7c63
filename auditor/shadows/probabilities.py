"""Logits of k classes from what a scikit-learn classifier answers.

A classifier has a column only for each class of its training set, and trees answer exact 0 and 1.
So the columns are moved to the k classes by `classes_`, and probabilities are clipped as
`auditor.targets.classifier.answers` clips those of a target: a target and its shadow models must be
read in the same way, or attacks compare numbers of two scales.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from attacks.errors import ShapeError
from auditor.targets.classifier.answers import log_probabilities, smooth_floor
from auditor.targets.classifier.estimators import probability_floor

EPSILON = 1e-6
"""Least probability of a class that the training set lacked, all of them together."""


class Answers(NamedTuple):
    """What a classifier said about n records."""

    logits: NDArray[np.float64]
    """(n, k) log-probabilities, or decision values where there are no probabilities."""
    clipped: float
    """Share of the answered probabilities that were clipped, in [0, 1]."""


def class_logits(estimator: Any, features: Any, n_classes: int) -> Answers:
    """(n, k) logits of a fitted classifier.

    Decision values stand for logits as they are, as (0, s) if there is one for two classes. A
    class that the training set lacked has the least probability that the others can have, but no
    less than 1e-6 / (k - 1): the smooth models' own floor would drown every spread. Among decision
    values it lies -log(1e-6) below the highest one.

    Raises ShapeError if the answers do not fit the classes.
    """
    classes = np.asarray(estimator.classes_)
    if hasattr(estimator, "predict_proba"):
        probabilities = _columns(estimator.predict_proba(features), classes)
        return _from_probabilities(
            probabilities, classes, n_classes, smallest(estimator, n_classes)
        )
    values = np.asarray(estimator.decision_function(features), dtype=np.float64)
    if values.ndim == 1:
        values = np.stack([np.zeros_like(values), values], axis=1)
    values = _columns(values, classes)
    logits = np.repeat(values.max(axis=1, keepdims=True) + np.log(EPSILON), n_classes, axis=1)
    logits[:, classes] = values
    return Answers(logits, 0.0)


def smallest(estimator: Any, n_classes: int) -> float:
    """Eps of a fitted classifier: how far from 0 and 1 its probabilities are kept."""
    floor = probability_floor(estimator)
    return smooth_floor(n_classes) if floor is None else floor


def _from_probabilities(
    probabilities: NDArray[np.float64], classes: NDArray, n_classes: int, eps: float
) -> Answers:
    is_clipped = (probabilities < eps / (n_classes - 1)) | (probabilities > 1 - eps)
    share = float(is_clipped.mean()) if probabilities.size else 0.0
    least = np.log(max(eps, EPSILON) / (n_classes - 1))
    logits = np.full((len(probabilities), n_classes), least)
    logits[:, classes] = log_probabilities(probabilities, eps, n_classes)
    return Answers(logits, share)


def _columns(answers: Any, classes: NDArray) -> NDArray[np.float64]:
    array = np.asarray(answers, dtype=np.float64)
    if array.ndim != 2 or array.shape[1] != len(classes):
        raise ShapeError(
            f"expected answers of shape (n, {len(classes)}) from the classifier, got {array.shape}; "
            "use a classifier of one label per record"
        )
    return array
