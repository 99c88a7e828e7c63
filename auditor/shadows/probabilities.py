"""Logits of k classes from what a scikit-learn classifier answers.

A classifier has a column only for each class of its training set, and trees answer exact 0 and 1.
So the columns are moved to the k classes by `classes_`, and probabilities are clipped to
[eps, 1 - eps] with eps = 1 / (2 n_trees) for a forest, whose votes are multiples of 1 / n_trees,
and 1e-6 otherwise. A target must be read in the same way as its shadow models.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from attacks.errors import ShapeError

EPSILON = 1e-6
"""Smallest probability of a class, unless the model is a forest."""


class Answers(NamedTuple):
    """What a classifier said about n records."""

    logits: NDArray[np.float64]
    """(n, k) log-probabilities, or decision values where there are no probabilities."""
    clipped: float
    """Share of the answered probabilities that were clipped, in [0, 1]."""


def class_logits(estimator: Any, features: Any, n_classes: int) -> Answers:
    """(n, k) logits of a fitted classifier.

    Decision values stand for logits as they are, as (0, s) if there is one for two classes. A
    class that the training set lacked has the probability eps, or a decision value that lies
    -log(eps) below the highest one.

    Raises ShapeError if the answers do not fit the classes.
    """
    classes = np.asarray(estimator.classes_)
    if hasattr(estimator, "predict_proba"):
        probabilities = _columns(estimator.predict_proba(features), classes)
        return _from_probabilities(probabilities, classes, n_classes, smallest(estimator))
    values = np.asarray(estimator.decision_function(features), dtype=np.float64)
    if values.ndim == 1:
        values = np.stack([np.zeros_like(values), values], axis=1)
    values = _columns(values, classes)
    logits = np.repeat(values.max(axis=1, keepdims=True) + np.log(EPSILON), n_classes, axis=1)
    logits[:, classes] = values
    return Answers(logits, 0.0)


def smallest(estimator: Any) -> float:
    """eps: what a probability is clipped to, for a fitted classifier."""
    from sklearn.ensemble import BaggingClassifier, ExtraTreesClassifier, RandomForestClassifier

    model = _innermost(estimator)
    if isinstance(model, BaggingClassifier | ExtraTreesClassifier | RandomForestClassifier):
        return 0.5 / model.n_estimators if model.n_estimators > 1 else EPSILON
    return EPSILON


def _from_probabilities(
    probabilities: NDArray[np.float64], classes: NDArray, n_classes: int, eps: float
) -> Answers:
    clipped = np.clip(probabilities, eps, 1 - eps)
    share = float(np.mean(clipped != probabilities)) if probabilities.size else 0.0
    logits = np.full((len(probabilities), n_classes), np.log(eps))
    logits[:, classes] = np.log(clipped)
    return Answers(logits, share)


def _columns(answers: Any, classes: NDArray) -> NDArray[np.float64]:
    array = np.asarray(answers, dtype=np.float64)
    if array.ndim != 2 or array.shape[1] != len(classes):
        raise ShapeError(
            f"expected answers of shape (n, {len(classes)}) from the classifier, got {array.shape}; "
            "use a classifier of one label per record"
        )
    return array


def _innermost(estimator: Any) -> Any:
    """The classifier at the end of a pipeline or a search."""
    while True:
        if hasattr(estimator, "best_estimator_"):
            estimator = estimator.best_estimator_
        elif hasattr(estimator, "steps"):
            estimator = estimator.steps[-1][1]
        else:
            return estimator
