"""Observations of a classifier and of shadow models trained like it.

The attacker knows a record's features and its true class. A model that gives probabilities alone
counts as one whose logits are their logarithms: softmax of log p is p, and nothing is lost.

Shadow models are trained on random halves of one pool in pairs of complements, so that every
record of the pool is IN for exactly half of them. Their halves are drawn without regard to what
the target was trained on.

The logit-scaled confidence of the true class, phi = log(p_y / (1 - p_y)), is kept in place of the
whole vector: p_y is its logistic function and the loss -log p_y is log(1 + exp(-phi)). Trees and
neighbours answer with exact 0 and 1, where phi is infinite: p_y then counts as at least eps and at
most 1 - eps, with one eps (`Floor`) for the target and its shadow models.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, NamedTuple

from attacks.boundary import Effort
from attacks.observations.base import Request


@dataclass(frozen=True, slots=True)
class Classes(Request):
    """(n,) index of each record's true class, 0..k-1, as integers."""

    kind: ClassVar[str] = "classes"

    @property
    def calls(self) -> int:
        """None: the attacker knows it."""
        return 0


@dataclass(frozen=True, slots=True)
class Features(Request):
    """(n, d) the record itself as numbers: standardised columns, one-hot categories, pixels."""

    kind: ClassVar[str] = "features"

    @property
    def calls(self) -> int:
        """None: the attacker holds the record."""
        return 0


@dataclass(frozen=True, slots=True)
class Logits(Request):
    """(n, q, k) the target's logits; query 0 is the record as it is, the others are augmented.

    Augmentations of images are the mirror image and shifts by one pixel; tables have one query.
    """

    kind: ClassVar[str] = "logits"
    queries: int = 1

    @property
    def calls(self) -> int:
        """One for each query."""
        return self.queries


@dataclass(frozen=True, slots=True)
class Floor(Request):
    """(n,) eps: the probability of the true class counts as one within [eps, 1 - eps].

    One value for all records, for the target and its shadow models; 0 for smooth models.
    `attacks.signals.clipped` applies it.
    """

    kind: ClassVar[str] = "floor"

    @property
    def calls(self) -> int:
        """None: it belongs to the kind of model."""
        return 0


@dataclass(frozen=True, slots=True)
class ShadowLogits(Request):
    """(n, m, k) logits of every shadow model on the record as it is, as float32."""

    kind: ClassVar[str] = "shadow_logits"

    @property
    def calls(self) -> int:
        """None of the target."""
        return 0


@dataclass(frozen=True, slots=True)
class ShadowConfidence(Request):
    """(n, m, q) phi of the true class in every shadow model, clipped as `Floor` says.

    temperature: what the clipped logits are divided by first.
    """

    kind: ClassVar[str] = "shadow_confidence"
    queries: int = 1
    temperature: float = 1.0

    @property
    def calls(self) -> int:
        """None of the target."""
        return 0


@dataclass(frozen=True, slots=True)
class ShadowKeep(Request):
    """(n, m) whether a record was in the training set of a shadow model, as booleans."""

    kind: ClassVar[str] = "shadow_keep"

    @property
    def calls(self) -> int:
        """None of the target."""
        return 0


@dataclass(frozen=True, slots=True)
class NoisyCorrectness(Request):
    """(n, 1 + repetitions) whether the predicted label is right: as it is, then under noise.

    Numeric features get Gaussian noise of `sigma` standard deviations of that feature over all
    records; binary ones flip, and categories are redrawn, with probability `flip`.
    """

    kind: ClassVar[str] = "noisy_correctness"
    repetitions: int = 16
    sigma: float = 0.25
    flip: float = 0.05

    @property
    def calls(self) -> int:
        """The record and its noisy copies."""
        return 1 + self.repetitions


@dataclass(frozen=True, slots=True)
class BoundaryDistance(Request):
    """(n,) l2 distance to the nearest point of a wrong label that HopSkipJump found; 0 for a
    record whose own label is wrong. Numbers move, in standard deviations of their column over all
    records (images: of all pixels); other columns stay.
    """

    kind: ClassVar[str] = "boundary_distance"
    iterations: int = 4
    directions: int = 56
    searches: int = 12
    starts: int = 16

    @property
    def calls(self) -> int:
        """The record, the starts, and what the search may ask for."""
        effort = Effort(self.iterations, self.directions, self.searches)
        return 1 + self.starts + effort.calls


@dataclass(frozen=True, slots=True)
class Trajectory(Request):
    """(n, e + 1) loss of the true class in a student after each epoch of distillation, then in
    the target itself; with checkpoints of the real training, its losses epoch by epoch.
    """

    kind: ClassVar[str] = "trajectory"
    epochs: int = 30

    @property
    def calls(self) -> int:
        """None beyond the target's own loss: the student is asked, not the target."""
        return 0

    @property
    def requires(self) -> tuple[Request, ...]:
        """The answer that the target's own loss comes from."""
        return (Logits(),)


@dataclass(frozen=True, slots=True)
class ShadowTrajectory(Request):
    """(n, e + 1) the same for one shadow model, distilled in the same way (never its own
    training), whose members are column 0 of `ShadowKeep`.
    """

    kind: ClassVar[str] = "shadow_trajectory"
    epochs: int = 30

    @property
    def calls(self) -> int:
        """None of the target."""
        return 0


class Cells(NamedTuple):
    """The values that one column of a table can hold."""

    values: tuple[str | float, ...]
    """(v,) what a model is asked with, one for each cell: a category's text, or a number."""
    edges: tuple[float, ...] | None = None
    """(v - 1,) ascending edges of ranges, each closed below; None where a cell is one value."""


@dataclass(frozen=True, slots=True)
class AttributeCell(Request):
    """(n,) cell of the record's own value of a column, as integers; -1 if it lies in none."""

    kind: ClassVar[str] = "attribute_cell"
    column: str
    values: tuple[str | float, ...]
    edges: tuple[float, ...] | None = None

    @property
    def calls(self) -> int:
        """None: it is what a guess is compared with."""
        return 0


@dataclass(frozen=True, slots=True)
class OtherColumns(Request):
    """(n, d) `Features` without those that come from one column."""

    kind: ClassVar[str] = "other_columns"
    column: str

    @property
    def calls(self) -> int:
        """None: the attacker knows them."""
        return 0


@dataclass(frozen=True, slots=True)
class CellConfidence(Request):
    """(n, v) phi of the true class when the column holds each of v values in turn."""

    kind: ClassVar[str] = "cell_confidence"
    column: str
    values: tuple[str | float, ...]

    @property
    def calls(self) -> int:
        """One for each value."""
        return len(self.values)
