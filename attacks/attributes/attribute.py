"""Attribute inference: does the model know more about a member's hidden value than statistics do?

Idea: of a record everything is known but one column. The model is asked about the record with each
value that the column could hold; on a training record it tends to be surest of the true class with
the value that it was trained on. Much of what such an attack gets right anybody could have guessed
from the other columns, so it stands beside an imputation that never sees the model; and as a model
also teaches statistics about records that it never saw, the same gain on nonmembers is taken off.
Citation: Mehnaz et al., "Are Your Sensitive Attributes Private?", USENIX Security 2022,
arXiv:2201.09370, for asking with each value; Jayaraman and Evans, "Are Attribute Inference Attacks
Just Imputation?", CCS 2022, arXiv:2209.01292, for the baseline.
Score: none for membership. For each record a guess of the imputation and one of the attack; higher
accuracy of the attack than of the imputation on members, beyond that on nonmembers, is the leak.
Our reading: the imputation (the best of logistic regressions and boosted trees) is fitted on the
nonmembers of the calibration part. The attack weighs its log-probabilities with the model's log p
and log p / (1 - p) of the true class; the weights are fitted on the members of the calibration part,
and drawn towards the imputation alone. `guess: confidence` takes the value with the highest
probability of the true class and fits nothing.
Cost: one call for each value that the column can hold.
Invalid when: members and nonmembers were drawn differently; another column repeats the hidden one
(then the imputation is right anyway, and nothing is left to find).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from attacks import signals
from attacks.attributes import _combination, _imputation
from attacks.errors import Inapplicable, UsageError
from attacks.manifest import Access, ClassifierCapabilities, Manifest, Tier
from attacks.membership import _classifier, _common
from attacks.observations import (
    AttributeCell,
    Calibration,
    CellConfidence,
    Cells,
    Classes,
    Observations,
    OtherColumns,
    Request,
)

MANIFEST = Manifest(
    id="ATT001",
    name="attribute",
    title="Attribute inference against imputation",
    goal="guess the value of one column of a training record from the rest of it",
    access=Access.GREY_BOX,
    tags=("edpb:55(i)", "atlas:AML.T0024.001"),
    references=("arXiv:2201.09370", "arXiv:2209.01292"),
    family="classifier",
    tier=Tier.THOROUGH,
    fitted=True,
    kind="attribute",
)
FEWEST = 20
"""Calibration records of a side below which nothing is fitted."""


@dataclass(frozen=True, slots=True)
class AttributeConfig:
    """What counts as a value, and how the attack guesses."""

    guess: Literal["combined", "confidence"] = "combined"
    """Imputation and model weighed against each other, or the model's confidence alone."""
    bins: int = 4
    """Ranges into which a column with many numbers is cut, at quantiles of the calibration part."""
    max_values: int = 16
    """Most values that are tried; of a category the most frequent, of numbers ranges from here."""
    strength: float = 1.0
    """Variance by which fitted weights may leave the imputation; smaller trusts it more."""
    seed: int = 0
    """Of the folds that choose the imputation."""

    def __post_init__(self) -> None:
        _common.check_positive(strength=self.strength)
        if self.guess not in ("combined", "confidence"):
            raise UsageError(f"guess must be combined or confidence, got '{self.guess}'")
        if self.bins < 2 or self.max_values < 2:
            raise UsageError(
                f"bins and max_values must be 2 or more, got {self.bins} and {self.max_values}"
            )


class Guesses(NamedTuple):
    """What is guessed for each record, by cell; -1 never occurs."""

    truth: NDArray[np.int64]
    """(n,) the record's own cell; -1 where it lies in none."""
    imputed: NDArray[np.int64]
    """(n,) the guess without the model."""
    attacked: NDArray[np.int64]
    """(n,) the guess with it."""


def default_config(capabilities: ClassifierCapabilities) -> AttributeConfig:
    """The combined guess."""
    return AttributeConfig()


def applicable(capabilities: ClassifierCapabilities) -> str | None:
    """None for every classifier that answers on new inputs, else the reason."""
    if reason := _classifier.needs_classifier(capabilities):
        return reason
    if not capabilities.can_be_queried:
        return "needs answers on records with another value, and there are only saved predictions"
    return None


def requests(column: str, cells: Cells) -> tuple[Request, ...]:
    """The class, the record's own cell, its other columns, and the confidence with each value."""
    return (
        Classes(),
        AttributeCell(column, cells.values, cells.edges),
        OtherColumns(column),
        CellConfidence(column, cells.values),
    )


def guesses(
    observations: Observations,
    column: str,
    cells: Cells,
    config: AttributeConfig,
    calibration: Calibration,
) -> Guesses:
    """The guesses for every record; ties go to the first cell.

    A record whose own value is missing, or is none of those tried, gets guesses all the same: it
    has the truth -1, and nothing can be right about it.
    Raises Inapplicable if a side of the calibration part has fewer than 20 records with a value.
    """
    asked, known = (_asked(o, column, cells) for o in (observations, calibration.observations))
    has_value = known.truth >= 0
    outside, inside = has_value & ~calibration.is_member, has_value & calibration.is_member
    if min(outside.sum(), inside.sum()) < FEWEST:
        raise Inapplicable(
            f"needs {FEWEST} calibration records of each side in which the column holds one of the "
            f"values tried, and has {inside.sum()} members and {outside.sum()} nonmembers"
        )
    k = int(max(asked.classes.max(initial=0), known.classes.max())) + 1
    fitting = _imputation.inputs(known.others, known.classes, k)
    rows = np.vstack([_imputation.inputs(asked.others, asked.classes, k), fitting[inside]])
    log_p = _imputation.log_probabilities(
        fitting[outside], known.truth[outside], rows, len(cells.values), seed=config.seed
    )
    imputed = log_p[: len(asked.truth)]
    if config.guess == "confidence":
        return Guesses(asked.truth, imputed.argmax(axis=1), asked.phi.argmax(axis=1))
    weights = _combination.fit(
        _opinions(log_p[len(asked.truth) :], known.phi[inside]),
        known.truth[inside],
        strength=config.strength,
    )
    utilities = weights.utilities(_opinions(imputed, asked.phi))
    return Guesses(asked.truth, imputed.argmax(axis=1), utilities.argmax(axis=1))


class _Asked(NamedTuple):
    """The four answers about some records."""

    classes: NDArray[np.int64]
    truth: NDArray[np.int64]
    others: NDArray[np.float64]
    phi: NDArray[np.float64]


def _asked(observations: Observations, column: str, cells: Cells) -> _Asked:
    classes, truth, others, phi = (
        _common.answer(observations, request) for request in requests(column, cells)
    )
    return _Asked(classes.astype(np.int64), truth.astype(np.int64), others, phi)


def _opinions(imputed: NDArray[np.float64], phi: NDArray[np.float64]) -> NDArray[np.float64]:
    """(n, v, 3) of the imputation, then log p and phi of the true class in the model."""
    return np.stack([imputed, signals.log_p(phi), phi], axis=2)
