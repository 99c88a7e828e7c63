"""A classifier as an audit target: logits for records, whatever the model is made of."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from attacks.errors import TargetError
from attacks.manifest import ClassifierCapabilities
from auditor.records.rows.table import Features
from auditor.targets.classifier.answers import (
    STEPPED_FLOOR,
    Model,
    as_matrix,
    clipped_share,
    shape_of,
    to_logits,
    unseen_logit,
)
from auditor.targets.classifier.labels import class_indices, class_texts, columns_of

PREPARATION = 2
"""Raised whenever records or answers are prepared differently; part of the key of observations."""


class ClassifierTarget:
    """A loaded classifier: Classifier of `attacks.protocols`.

    A model that gives probabilities answers with their logarithms, one that gives labels alone as
    if it were sure of them; `eps` says how attacks clip them.
    """

    def __init__(
        self,
        model: Model,
        *,
        name: str,
        hashes: dict[str, str],
        example: Features,
        classes: Sequence[object] | None = None,
    ):
        """Ask the model about an example, to learn how it answers.

        hashes: SHA-256 of every file that decides its answers; example: some records, of which
        256 are asked at most; classes: labels in the order of its outputs.
        Raises TargetError if the model does not fit the records or does not repeat itself.
        """
        self.name = name
        self.hashes = hashes
        self._model = model
        example = example[:256]
        if not len(example):
            raise TargetError("a classifier is opened with a few records, to see how it answers")
        answers = model.ask(example)
        self._shape = shape_of(answers, model.kind, self._shown)
        if model.can_be_queried:
            self._check_repeats_itself(example, answers)
        wanted = None if classes is None else class_texts(classes)
        self.classes, self._columns = columns_of(
            model.classes, wanted, self._shape.n_classes, self._shown
        )
        """Labels as text, by class index."""
        self.is_numbered = model.classes is None and wanted is None
        """Whether the classes are but the numbers of the outputs."""
        self.eps = 0.0 if self._shape.kind == "logits" else model.floor or 0.0
        """How far from 0 and 1 the probability of the true class counts; 0 for smooth models."""
        self.capabilities = ClassifierCapabilities(
            family="classifier",
            architecture=model.architecture,
            n_classes=len(self.classes),
            gives=self._shape.kind,
            can_be_queried=model.can_be_queried,
        )

    @property
    def n_parameters(self) -> int | None:
        """Trained numbers; None where the format does not tell, or it means little."""
        return self._model.n_parameters

    @property
    def estimator(self) -> Any | None:
        """The scikit-learn estimator inside, which can be trained again; None for other models."""
        return getattr(self._model, "estimator", None)

    @property
    def device(self) -> str:
        """Type of the device that the model runs on."""
        return self._model.device

    @property
    def key(self) -> str:
        """Hash of all that decides an answer, apart from the records."""
        facts = {
            "weights": self.hashes,
            "classes": self.classes,
            "gives": self._shape.kind,
            "eps": self.eps,
            "preparation": PREPARATION,
            "device": self.device,
        }
        return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()

    def logits(self, features: Features) -> NDArray[np.float64]:
        """(n, k) finite logits of n records, column c for `classes[c]`.

        features: rows as `Table.inputs` gives them. A class that the model has never seen gets
        the least probability of `answers.unseen_logit`, or log 1e-6 below the largest of its row.
        Raises TargetError if the records do not fit the model or it answers with NaN.
        """
        if not len(features):
            return np.empty((0, len(self.classes)))
        values = as_matrix(self._model.ask(features), len(features), self._shown)
        known = to_logits(values, self._shape, self._shown)
        if len(self.classes) == known.shape[1] and np.array_equal(
            self._columns, np.arange(known.shape[1])
        ):
            return known
        rest = known.max(axis=1) + np.log(STEPPED_FLOOR)
        if self._shape.kind != "logits":
            rest[:] = unseen_logit(self.eps, len(self.classes))
        full = np.repeat(rest[:, None], len(self.classes), axis=1)
        full[:, self._columns] = known
        return full

    def class_indices(self, labels: Sequence[object] | NDArray) -> NDArray[np.int64]:
        """(n,) class index of each label. Raises DataError with counts for unknown labels."""
        return class_indices(labels, self.classes, is_numbered=self.is_numbered)

    def clipped_share(self, logits: NDArray, classes: NDArray[np.integer]) -> float | None:
        """Share of n records whose probability of the true class has to be clipped.

        logits: (n, k); classes: (n,) true ones. None for a model that gives logits or labels.
        """
        if self._shape.kind != "probabilities":
            return None
        return clipped_share(logits, classes, self.eps)

    @property
    def _shown(self) -> str:
        return f"'{self.name}'"

    def _check_repeats_itself(self, example: Features, answers: NDArray) -> None:
        """Dropout, or statistics of the batch, would make scores depend on chance and company."""
        first = as_matrix(answers, len(example), self._shown)
        alone = as_matrix(self._model.ask(example[:1]), 1, self._shown)
        again = as_matrix(self._model.ask(example), len(example), self._shown)
        scale = max(float(np.abs(first[np.isfinite(first)]).max(initial=0.0)), 1e-12)
        for other, expected in ((again, first), (alone, first[:1])):
            if not np.allclose(other, expected, rtol=0, atol=1e-3 * scale):
                raise TargetError(
                    f"{self._shown} answers differently when it is asked again, or about a record "
                    "alone: it seems to be in training mode (dropout, batch normalisation); call "
                    "model.eval() before it is saved"
                )
