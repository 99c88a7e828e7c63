"""Trained networks as classifiers, and methods as trainers of shadow models."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from attacks.errors import DataError
from attacks.manifest import ClassifierCapabilities
from attacks.protocols import Classifier
from auditor.methods.protocol import Records

UNSEEN_LOGIT = -1e4
"""Logit of a class that the model has never seen: low, and finite."""
BATCH = 1024
"""Records per forward call."""


@dataclass(slots=True)
class NetworkClassifier:
    """A torch network as a classifier of `attacks.protocols`, in eval mode on the CPU."""

    network: nn.Module
    """Features (n, ...) to logits of its own columns (n, q)."""
    columns: NDArray[np.int64]
    """(q,) class index of each column of the network."""
    capabilities: ClassifierCapabilities
    """What it can be asked; `n_classes` counts classes never seen too."""
    parts: Mapping[str, Any] = field(default_factory=dict)
    """Artefacts of the method by name."""

    def logits(self, features: NDArray) -> NDArray[np.float32]:
        """(n, k) logits; UNSEEN_LOGIT for classes that the training never met."""
        answered = apply_in_batches(self.network.eval(), features)
        full = np.full((len(features), self.capabilities.n_classes), UNSEEN_LOGIT, np.float32)
        full[:, self.columns] = answered
        return full


def apply_in_batches(function: Callable[[Tensor], Tensor], features: NDArray) -> NDArray:
    """A function of (n, ...) tensors applied to an array without gradients, in batches."""
    inputs = torch.from_numpy(np.ascontiguousarray(features, dtype=np.float32))
    with torch.no_grad():
        return torch.cat([function(batch) for batch in inputs.split(BATCH)]).numpy()


def accuracy(model: Classifier, records: Records, among: NDArray[np.int64] | None = None) -> float:
    """Share of records whose largest logit is that of their class.

    among: (q,) class indices; records and answers are limited to these. Raises DataError if no
    record is of such a class.
    """
    classes = records.required_classes()
    chosen = np.unique(classes) if among is None else among
    rows = np.isin(classes, chosen)
    if not rows.any():
        raise DataError("no record is of a class that accuracy is asked among")
    answers = np.asarray(model.logits(records.features[rows]))[:, chosen].argmax(axis=1)
    return float(np.mean(chosen[answers] == classes[rows]))


def true_class_confidence(logits: NDArray, classes: NDArray[np.int64]) -> NDArray[np.float64]:
    """(n,) log(p_y / (1 - p_y)) of the true class from (n, k) logits; higher speaks for a member.

    Taken as the true logit minus the log-sum-exp of the others, so that no probability rounds
    to 0 or 1.
    """
    from scipy.special import logsumexp

    others = np.asarray(logits, dtype=np.float64).copy()
    rows = np.arange(len(others))
    true = others[rows, classes]
    others[rows, classes] = -np.inf
    return true - logsumexp(others, axis=1)


def centred_by_class(
    scores: NDArray[np.float64], classes: NDArray[np.int64]
) -> NDArray[np.float64]:
    """(n,) scores less the median of their class, over all records, members or not.

    So an uneven mix of classes on the two sides of a comparison does not pass for membership,
    and records stay exchangeable where there is none.
    """
    centred = np.array(scores, dtype=np.float64)
    for c in np.unique(classes):
        rows = classes == c
        centred[rows] -= np.median(centred[rows])
    return centred


@dataclass(frozen=True, slots=True)
class MethodTrainer:
    """A method's `train` or `baseline` as a recipe for shadow models of `attacks.protocols`."""

    recipe: Callable[[Records, NDArray[np.bool_], int], Any]
    """`method.train` or `method.baseline` of a method of the classifier family."""

    def train(
        self,
        features: NDArray,
        classes: NDArray[np.integer],
        keep: NDArray[np.bool_],
        seeds: Sequence[int],
    ) -> Sequence[Classifier]:
        """One model for each row of keep (m, n)."""
        records = Records(features, np.asarray(classes, dtype=np.int64))
        return [self.recipe(records, row, seed) for row, seed in zip(keep, seeds, strict=True)]
