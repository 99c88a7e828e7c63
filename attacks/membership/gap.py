"""Gap attack: a record whose label the model gets right is called a member.

Idea: a model is right more often on its training records; all that is seen is whether it is.
Citation: Yeom et al., "Privacy Risk in Machine Learning: Analyzing the Connection to Overfitting",
CSF 2018, arXiv:1709.01604.
Score: 1 if the predicted label is right, else 0. Higher means more likely a member. Its balanced
accuracy is exactly 1/2 + (training accuracy - test accuracy) / 2.
Cost: 1 call; labels alone are enough.
Invalid when: a verdict at a low false-positive rate is wanted: two values cannot single out any
record. Members and nonmembers that differ in how hard they are to classify, as for every attack.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from attacks.manifest import Access, ClassifierCapabilities, Manifest, Tier
from attacks.membership import _classifier, _common
from attacks.observations import Calibration, NoisyCorrectness, Observations, Request

MANIFEST = Manifest(
    id="MIA012",
    name="gap",
    title="Correctness of the label (gap attack)",
    goal=_common.GOAL,
    access=Access.BLACK_BOX,
    tags=_common.TAGS,
    references=("arXiv:1709.01604",),
    family="classifier",
    tier=Tier.THOROUGH,
)


@dataclass(frozen=True, slots=True)
class GapConfig:
    """There is nothing to set."""


def default_config(capabilities: ClassifierCapabilities) -> GapConfig:
    """There is nothing to set."""
    return GapConfig()


def applicable(capabilities: ClassifierCapabilities) -> str | None:
    """None for every classifier, else the reason."""
    return _classifier.needs_classifier(capabilities)


def requests(config: GapConfig) -> tuple[Request, ...]:
    """Whether the label of the record as it is, without noisy copies, is right."""
    return (NoisyCorrectness(repetitions=0),)


def score(
    observations: Observations, config: GapConfig, calibration: Calibration | None = None
) -> NDArray[np.float64]:
    """(n,) 1 where the label is right, else 0; higher means more likely a member."""
    return _common.answer(observations, *requests(config))[:, 0]
