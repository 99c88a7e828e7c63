"""From what a model answers to logits: one float64 column for each class.

Probabilities become their logarithms; only what a float cannot hold is moved, so that the softmax
of the logits is what the model said. Forests and neighbours answer with exact 0 and 1, where the
logit of a probability is infinite: there the probability of the true class is clipped to
[eps, 1 - eps] when attacks read it (`attacks.signals.clipped`), with one eps for a target and its
shadow models. eps is 1 / (2 T) for T trees of which every leaf is pure, half of the smallest vote;
1e-6 for other models that answer in steps; and 0 for smooth models, whose confident answers are
where membership shows.
"""

from __future__ import annotations

from typing import Literal, NamedTuple, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from attacks.errors import TargetError
from auditor.records.rows.table import Features

Kind: TypeAlias = Literal["logits", "probabilities", "labels"]
STEPPED_FLOOR = 1e-6
"""eps for models that answer in steps, such as single trees, neighbours, and labels alone."""
MASKED = float(np.log(1e-30))
"""Logit, relative to the largest of its row, that stands for minus infinity."""
_SUM_TOLERANCE = 2e-2
"""How far the sum of probabilities that were rounded to a few digits may be from 1."""


class Model(Protocol):
    """What every format is reduced to: something that can be asked."""

    architecture: str
    """Class name."""
    classes: tuple[str, ...] | None
    """The labels of its columns, None if it only numbers them."""
    kind: Kind | None
    """What it answers with; None if only its answers tell logits from probabilities."""
    floor: float | None
    """eps of its probabilities, if it answers in steps; None for a smooth model."""
    n_parameters: int | None
    """Trained numbers, where that means something."""
    can_be_queried: bool
    """False for saved predictions."""

    @property
    def device(self) -> str:
        """Type of the device that it runs on."""

    def ask(self, features: Features) -> NDArray:
        """(n, k) or (n,) raw answers about n records; raises TargetError if they do not fit."""


class Shape(NamedTuple):
    """How raw answers are read, decided once, from answers about an example."""

    kind: Kind
    n_columns: int
    """Columns of raw answers; 1 is a two-class model that answers about its second class."""

    @property
    def n_classes(self) -> int:
        """Classes that the columns stand for."""
        return max(self.n_columns, 2)


def smallest_held(n_columns: int) -> float:
    """The probability below which the columns of an answer hold nothing but rounding.

    With two columns many models compute one of them as 1 - p, which a float64 holds to 1e-16.
    """
    return 1e-16 if n_columns == 2 else 1e-30


def log_probabilities(probabilities: NDArray) -> NDArray[np.float64]:
    """(n, columns) finite logarithms of probabilities."""
    p = np.asarray(probabilities, np.float64)
    return np.log(np.maximum(p, smallest_held(p.shape[1])))


def unseen_logit(eps: float, n_classes: int) -> float:
    """Log-probability of a class that a model has never seen, of k in all.

    If the model answers in steps it is a class without a vote: its probability of 0 is clipped when
    it is read. A smooth model's is 1e-6 / (k - 1), or one shadow model without the class would
    drown the spread of all others.
    """
    return float(np.log(smallest_held(0) if eps else STEPPED_FLOOR / (n_classes - 1)))


def clipped_share(logits: NDArray, classes: NDArray[np.integer], eps: float) -> float:
    """Share of n records whose probability of the true class lies outside [eps, 1 - eps].

    logits: (n, k) log-probabilities. Without eps, one that a float cannot hold counts. 0 for none.
    """
    if not len(logits):
        return 0.0
    p = np.exp(logits[np.arange(len(logits)), classes])
    if not eps:
        return float(np.mean(p <= smallest_held(logits.shape[1])))
    return float(np.mean((p < eps) | (p > 1 - eps)))


def shape_of(answers: NDArray, known: Kind | None, name: str) -> Shape:
    """How to read answers, by what is known of the model and by answers about an example.

    Rows in [0, 1] that add up to 1 are probabilities; so is one column within [0, 1].
    """
    values = as_matrix(answers, len(answers), name)
    n_columns = values.shape[1]
    if n_columns < 1:
        raise TargetError(f"{name} answers with no column; it must have one for each class")
    return Shape(known or _found_kind(values), n_columns)


def _found_kind(values: NDArray[np.float64]) -> Kind:
    is_within = bool(((values >= -1e-6) & (values <= 1 + 1e-6)).all())
    if values.shape[1] > 1:
        is_within = is_within and bool((np.abs(values.sum(axis=1) - 1) < 1e-3).all())
    return "probabilities" if is_within else "logits"


def as_matrix(answers: NDArray, n: int, name: str) -> NDArray[np.float64]:
    """(n, k) float64 of raw answers, (n,) as one column.

    Raises TargetError for other shapes, for NaN and for positive infinity.
    """
    values = np.asarray(answers, np.float64)
    if values.ndim == 1:
        values = values[:, None]
    if values.ndim != 2 or len(values) != n:
        raise TargetError(
            f"{name} answers about {n} records with shape {np.shape(answers)}; "
            "a classifier must give (n, k), a column for each class"
        )
    n_bad = int((np.isnan(values) | np.isposinf(values)).any(axis=1).sum())
    if n_bad:
        raise TargetError(
            f"{name} answers with NaN or infinity about {n_bad} of {n} records; check the "
            "precision, and that the records are prepared as they were for training"
        )
    return values


def to_logits(values: NDArray[np.float64], shape: Shape, name: str) -> NDArray:
    """(n, k) finite logits of raw answers (n, columns).

    One column is the second of two classes: logits (0, s). Raises TargetError if answers of this
    call are of another shape or kind than those about the example.
    """
    if values.shape[1] != shape.n_columns:
        raise TargetError(
            f"{name} answers with {values.shape[1]} columns, before with {shape.n_columns}; "
            "a classifier must always give one for each class"
        )
    if shape.kind == "logits":
        if shape.n_columns == 1:
            values = np.concatenate([np.zeros_like(values), values], axis=1)
        floor = values.max(axis=1, keepdims=True) + MASKED
        return np.where(np.isneginf(values), floor, values)
    if shape.n_columns == 1:
        values = np.concatenate([1 - values, values], axis=1)
    check_probabilities(values, name)
    return log_probabilities(values)


def check_probabilities(values: NDArray[np.float64], name: str) -> None:
    """Raise TargetError unless every row lies in [0, 1] and adds up to 1."""
    is_within = ((values >= -1e-6) & (values <= 1 + 1e-6)).all(axis=1)
    is_whole = np.abs(values.sum(axis=1) - 1) <= _SUM_TOLERANCE
    n_bad = int((~(is_within & is_whole)).sum())
    if n_bad:
        raise TargetError(
            f"{name} gives probabilities that do not lie in [0, 1] or do not add up to 1 for "
            f"{n_bad} of {len(values)} records; give all classes, or logits"
        )
