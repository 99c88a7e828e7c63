"""Shadow-model attack: a classifier that has learnt what outputs on training records look like.

Idea: shadow models answer on records that they were, and were not, trained on; for each true
class an attack model learns to tell the two kinds of answer apart, and is shown the target's.
Citation: Shokri et al., "Membership Inference Attacks Against Machine Learning Models", IEEE S&P
2017, arXiv:1610.05820.
Score: log-odds of membership that the attack model of the record's class gives. Higher means more
likely a member.
Our reading: logistic regression on the log-odds of the largest probabilities, in order, and on
whether the label is right (a neural network on probabilities in the paper); the shadow models
share the pool of records with the target, half of it each, as in the comparison of
arXiv:2112.03570. A class with few records gets the attack model of all classes, with the class as
input. Nothing that the target answered, and no membership in it, enters the fit.
Cost: 1 call of the target; a few shadow models. Keeps whole vectors of the shadow models.
Invalid when: the shadow models are trained on other data or another way than the target. It does
not compare a record with itself in other models, so hard records look like nonmembers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from attacks import signals
from attacks.errors import UsageError
from attacks.manifest import Access, ClassifierCapabilities, Manifest, Tier
from attacks.membership import _classifier, _common, _logistic
from attacks.observations import (
    Calibration,
    Observations,
    Request,
    ShadowKeep,
    ShadowLogits,
)

MANIFEST = Manifest(
    id="MIA021",
    name="shokri",
    title="Shadow-model attack",
    goal=_common.GOAL,
    access=Access.GREY_BOX,
    tags=_common.TAGS,
    references=("arXiv:1610.05820", "arXiv:2112.03570"),
    family="classifier",
    tier=Tier.THOROUGH,
)

MAX_LOG_ODDS = 40.0
"""Log-odds beyond this count as this: a probability in double precision is then 0 or 1."""


@dataclass(frozen=True, slots=True)
class ShokriConfig:
    """What the attack models read, and when a class gets its own."""

    vector: Literal["sorted", "raw"] = "sorted"
    """Probabilities from the largest down, or in the order of the classes."""
    top: int = 3
    """How many of the sorted probabilities are read."""
    min_records: int = 30
    """Records of a class from which it has an attack model of its own."""
    strength: float = 1.0
    """Inverse weight of the penalty on large weights of the attack model."""

    def __post_init__(self) -> None:
        if self.vector not in ("sorted", "raw"):
            raise UsageError(f"vector must be sorted or raw, got '{self.vector}'")
        _common.check_positive(top=self.top, min_records=self.min_records, strength=self.strength)


def default_config(capabilities: ClassifierCapabilities) -> ShokriConfig:
    """The three largest probabilities."""
    return ShokriConfig()


def applicable(capabilities: ClassifierCapabilities) -> str | None:
    """None for classifiers with confidences and shadow models, else the reason."""
    return _classifier.needs_shadows(capabilities)


def requests(config: ShokriConfig) -> tuple[Request, ...]:
    """The classes, the logits, and the logits of the shadow models."""
    return (*_classifier.logits_of(), ShadowLogits(), ShadowKeep())


def score(
    observations: Observations, config: ShokriConfig, calibration: Calibration | None = None
) -> NDArray[np.float64]:
    """(n,) log-odds of the record's attack model; higher means more likely a member.

    Raises DataError where no shadow model, or every one, was trained on a record.
    """
    classes, shadows = _classifier.classes(observations), _classifier.shadow_logits(observations)
    target = features(_classifier.logits(observations), classes, config)[:, 0]
    known = features(shadows.values, classes, config)
    scores = np.zeros(len(classes))
    labels, counts = np.unique(classes, return_counts=True)
    rare = np.isin(classes, labels[counts < config.min_records])
    for label in labels[counts >= config.min_records]:
        own = classes == label
        model = _fit(known[own], shadows.keep[own], config)
        scores[own] = model.log_odds(target[own])
    if rare.any():
        indicators = np.eye(shadows.values.shape[2])[classes]
        repeated = np.broadcast_to(indicators[:, None], (*known.shape[:2], indicators.shape[1]))
        model = _fit(np.concatenate([known, repeated], axis=2), shadows.keep, config)
        scores[rare] = model.log_odds(np.concatenate([target, indicators], axis=1)[rare])
    return scores


def features(
    logits: NDArray[np.float64], classes: NDArray[np.integer], config: ShokriConfig
) -> NDArray[np.float64]:
    """(n, m, d) what an attack model reads of (n, m, k) logits: log-odds, then correctness."""
    log_odds = signals.log_softmax(logits) - signals.log_complement(logits)
    log_odds = np.clip(log_odds, -MAX_LOG_ODDS, MAX_LOG_ODDS)
    if config.vector == "sorted":
        log_odds = -np.sort(-log_odds, axis=-1)[..., : config.top]
    is_right = logits.argmax(axis=-1) == classes[:, None]
    return np.concatenate([log_odds, is_right[..., None]], axis=-1)


def _fit(
    features: NDArray[np.float64], keep: NDArray[np.bool_], config: ShokriConfig
) -> _logistic.AttackModel:
    """One row for each record (n) and shadow model (m)."""
    rows = features.reshape(-1, features.shape[-1])
    return _logistic.fit(rows, keep.reshape(-1), strength=config.strength)
