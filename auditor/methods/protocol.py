"""The contract of a method: what a published training scheme offers so that it can be audited.

A method is a module with the members of `Method`. It trains targets of its own family on any
subset of a pool of records, with its mechanism and without, measures the effect that its paper
claims, and answers the privacy question that is special to it. The module imports neither torch
nor scikit-learn at its top, so that listing methods stays instant.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from attacks.errors import DataError, ShapeError
from attacks.manifest import Capabilities
from auditor.methods.claims import ClaimResult
from auditor.methods.findings import MethodFinding


@dataclass(frozen=True, slots=True)
class MethodManifest:
    """The label of a method: data, not code."""

    name: str
    """The name on the command line."""
    title: str
    """The name in a report."""
    family: str
    """Family of the targets that it trains, as in `Capabilities.family`."""
    reference: str
    """The paper, as `arXiv:...`."""
    claim: str
    """One sentence: the effect that `claim` measures."""
    privacy_question: str
    """One sentence: what `own_question` asks."""


@dataclass(frozen=True, slots=True, eq=False)
class Records:
    """Records as arrays: one row of every array is one record."""

    features: NDArray[Any]
    """(n, ...) float32 pixels or columns; integers where the family reads tokens or events."""
    classes: NDArray[np.int64] | None = None
    """(n,) class index of each record; None where the family knows no classes."""
    ids: tuple[str, ...] | None = None
    """n stable record ids; None where nothing needs them."""
    extras: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    """Further columns that a family reads, (n, ...) each: masks, times, users, domains."""

    def __post_init__(self) -> None:
        lengths = {"features": len(self.features)}
        if self.classes is not None:
            lengths["classes"] = len(self.classes)
        if self.ids is not None:
            lengths["ids"] = len(self.ids)
        lengths |= {name: len(column) for name, column in self.extras.items()}
        if len(set(lengths.values())) > 1:
            given = ", ".join(f"{length} {name}" for name, length in lengths.items())
            raise ShapeError(f"records need one row per record in every array, got {given}")

    def __len__(self) -> int:
        return len(self.features)

    def take(self, rows: NDArray[Any]) -> Records:
        """The records of some rows: indices or a mask, (n,)."""
        chosen = np.arange(len(self))[rows]
        return Records(
            self.features[chosen],
            None if self.classes is None else self.classes[chosen],
            None if self.ids is None else tuple(self.ids[i] for i in chosen),
            {name: column[chosen] for name, column in self.extras.items()},
        )

    def required_classes(self) -> NDArray[np.int64]:
        """(n,) classes; raises DataError where there are none."""
        if self.classes is None:
            raise DataError("the method trains a classifier, and its records have no classes")
        return self.classes


class MethodData(NamedTuple):
    """The real data that a method brings along."""

    pool: Records
    """Records that models are trained on, or on subsets of."""
    test: Records
    """Records that no model is trained on: they measure utility."""


class Trained(Protocol):
    """A trained target of a family, with what its training left behind.

    The rest is the family's: a classifier also has `logits` (`attacks.protocols.Classifier`).
    """

    @property
    def capabilities(self) -> Capabilities:
        """What the target can be asked."""

    @property
    def parts(self) -> Mapping[str, Any]:
        """Artefacts of the method by name: indices into the pool, arrays, ledgers."""


class Method(Protocol):
    """What the module of a method has."""

    MANIFEST: MethodManifest
    """The label."""

    def default_data(self, quick: bool = False) -> MethodData:
        """Real data at the size of the small version, or smaller if quick."""

    def train(self, records: Records, keep: NDArray[np.bool_], seed: int) -> Trained:
        """A target with the mechanism, trained on the records that keep (n,) marks.

        The same arguments give the same target.
        """

    def baseline(self, records: Records, keep: NDArray[np.bool_], seed: int) -> Trained:
        """The same model without the mechanism, from the same records and seed."""

    def claim(self, *, trials: int = 3, seed: int = 0, quick: bool = False) -> ClaimResult:
        """The paper's effect on `default_data`, over seeds seed, seed + 1, ..."""

    def own_question(
        self, trained: Any, records: Records, keep: NDArray[np.bool_]
    ) -> tuple[MethodFinding, ...]:
        """Answers to the method's own privacy question.

        trained: what `train` or `baseline` returned for these records and keep; records outside
            keep are the nonmembers.
        """


def checked_keep(records: Records, keep: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The mask of the kept records, (n,).

    Raises ShapeError unless it is one boolean per record, and DataError if it keeps none.
    """
    mask = np.asarray(keep)
    if mask.dtype != np.bool_ or mask.shape != (len(records),):
        raise ShapeError(
            f"keep must be ({len(records)},) booleans, one per record, got {mask.shape} {mask.dtype}"
        )
    if not mask.any():
        raise DataError("keep marks no record; a model needs some to be trained on")
    return mask
