"""What the attacks on classifiers share: what they need, and reading of observations."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from attacks import signals
from attacks.errors import DataError, ShapeError
from attacks.manifest import Capabilities, ClassifierCapabilities
from attacks.membership import _common
from attacks.observations import (
    Classes,
    Floor,
    Logits,
    Observations,
    Request,
    ShadowConfidence,
    ShadowKeep,
    ShadowLogits,
)


class Shadows(NamedTuple):
    """What shadow models answered about the records."""

    values: NDArray[np.float64]
    """(n, m, ...) one answer of each model."""
    keep: NDArray[np.bool_]
    """(n, m) which model was trained on which record."""


def needs_classifier(capabilities: Capabilities) -> str | None:
    """A reason if the target is no classifier, else None."""
    if capabilities.family != "classifier":
        return f"needs a classifier, and this target is of the family '{capabilities.family}'"
    assert isinstance(capabilities, ClassifierCapabilities)
    return None


def needs_confidence(capabilities: Capabilities) -> str | None:
    """A reason if the target is no classifier that gives more than labels, else None."""
    if reason := needs_classifier(capabilities):
        return reason
    assert isinstance(capabilities, ClassifierCapabilities)
    if capabilities.gives == "labels":
        return (
            "needs confidences, and this model gives labels alone; the attacks `gap`, "
            "`label_only` and `boundary` do without"
        )
    return None


def needs_shadows(capabilities: Capabilities) -> str | None:
    """A reason if there are no confidences, or no shadow models to compare with, else None."""
    if reason := needs_confidence(capabilities):
        return reason
    assert isinstance(capabilities, ClassifierCapabilities)
    if capabilities.n_shadows == 0:
        return "needs shadow models; name a recipe with --train"
    if capabilities.n_shadows < 2:
        return (
            "needs at least one pair of shadow models, trained on a half of the records and on "
            f"the other half, got {capabilities.n_shadows}"
        )
    return None


def logits_of(queries: int = 1) -> tuple[Request, ...]:
    """The requests behind `phi`, `logits` and `classes`."""
    return Classes(), Floor(), Logits(queries=queries)


def shadow_confidence_of(queries: int = 1, temperature: float = 1.0) -> tuple[Request, ...]:
    """The requests behind `shadow_phi`."""
    return ShadowConfidence(queries=queries, temperature=temperature), ShadowKeep()


def classes(observations: Observations) -> NDArray[np.intp]:
    """(n,) index of each record's true class."""
    return _common.answer(observations, Classes()).astype(np.intp)


def logits(observations: Observations, queries: int = 1) -> NDArray[np.float64]:
    """(n, q, k) logits of the target, the true class clipped as `Floor` says."""
    return _clipped(observations, _common.answer(observations, Logits(queries=queries)))


def phi(
    observations: Observations, queries: int = 1, *, temperature: float = 1.0
) -> NDArray[np.float64]:
    """(n, q) logit-scaled confidence of the target in the true class."""
    scaled = logits(observations, queries) / temperature
    return signals.phi(scaled, classes(observations))


def shadow_phi(
    observations: Observations, queries: int = 1, *, temperature: float = 1.0
) -> Shadows:
    """(n, m, q) logit-scaled confidence of every shadow model in the true class."""
    request, _ = shadow_confidence_of(queries, temperature)
    return _shadows(observations, request)


def shadow_logits(observations: Observations) -> Shadows:
    """(n, m, k) logits of every shadow model on the record as it is, clipped as the target's."""
    shadows = _shadows(observations, ShadowLogits())
    return shadows._replace(values=_clipped(observations, shadows.values))


def _clipped(observations: Observations, logits: NDArray[np.floating]) -> NDArray[np.float64]:
    """Logits (n, ..., k) as attacks read them; where no floor is given, nothing is clipped."""
    floor = observations.get(Floor())
    eps = 0.0 if floor is None or not len(floor) else float(floor[0])
    return signals.clipped(logits, classes(observations), eps)


def _shadows(observations: Observations, request: Request) -> Shadows:
    """Answers of the shadow models; every record must be IN for some and OUT for some."""
    values = _common.answer(observations, request)
    keep = _common.answer(observations, ShadowKeep()).astype(bool)
    if values.shape[:2] != keep.shape:
        raise ShapeError(
            f"{request.kind} has {values.shape[:2]} records and models, and {ShadowKeep.kind} "
            f"{keep.shape}; they must come from the same shadow models"
        )
    one_sided = int(np.count_nonzero(keep.all(axis=1) | ~keep.any(axis=1)))
    if one_sided:
        raise DataError(
            f"{one_sided} of {len(keep)} records were in the training set of all {keep.shape[1]} "
            "shadow models or of none; train them in pairs, on a half of the records and on the "
            "other half"
        )
    return Shadows(values, keep)


def masked_mean(values: NDArray[np.float64], mask: NDArray[np.bool_]) -> NDArray[np.float64]:
    """(n, q) mean over the models that the mask (n, m) chooses, at least one for each record."""
    total = np.einsum("nmq,nm->nq", values, mask.astype(np.float64))
    return total / mask.sum(axis=1, keepdims=True)
