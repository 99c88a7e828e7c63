"""Entropy threshold: a classifier is surer of its training records.

Idea: the distribution over classes is more peaked on members, whichever class it peaks at.
Citation: Song and Mittal, "Systematic Evaluation of Privacy Risks of Machine Learning Models",
USENIX Security 2021, arXiv:2003.10595, where it is the older attack to compare with.
Score: minus the entropy of the predicted distribution. Higher means more likely a member.
Our reading: the paper sets a threshold for each class on shadow models; a score leaves it open.
Cost: 1 call for each query; no shadow models, and the true class is not needed.
Invalid when: wrong answers are as sure as right ones: a confident mistake looks like a member.
`mentr` mends that. Members and nonmembers that differ in difficulty, which the blind baseline
checks.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from attacks import signals
from attacks.manifest import Access, ClassifierCapabilities, Manifest, Tier
from attacks.membership import _classifier, _common
from attacks.observations import Calibration, Logits, Observations, Request

MANIFEST = Manifest(
    id="MIA013",
    name="entropy",
    title="Prediction entropy",
    goal=_common.GOAL,
    access=Access.GREY_BOX,
    tags=_common.TAGS,
    references=("arXiv:2003.10595",),
    family="classifier",
    tier=Tier.THOROUGH,
)


@dataclass(frozen=True, slots=True)
class EntropyConfig:
    """How often a record is asked."""

    queries: int = 1
    """Augmented versions whose entropies are averaged; the paper asks for the record."""

    def __post_init__(self) -> None:
        _common.check_positive(queries=self.queries)


def default_config(capabilities: ClassifierCapabilities) -> EntropyConfig:
    """The record as it is."""
    return EntropyConfig()


def applicable(capabilities: ClassifierCapabilities) -> str | None:
    """None for classifiers that give confidences, else the reason."""
    return _classifier.needs_confidence(capabilities)


def requests(config: EntropyConfig) -> tuple[Request, ...]:
    """The logits."""
    return (Logits(queries=config.queries),)


def score(
    observations: Observations, config: EntropyConfig, calibration: Calibration | None = None
) -> NDArray[np.float64]:
    """(n,) minus the entropy; higher means more likely a member."""
    logits = _common.answer(observations, Logits(queries=config.queries))
    return -signals.entropy(logits).mean(axis=1)
