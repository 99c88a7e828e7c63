"""Modified entropy: surer and right, against surer and wrong.

Idea: as the entropy, but a confident mistake counts against membership: each probability is
weighed by whether its class is the right one.
Citation: Song and Mittal, "Systematic Evaluation of Privacy Risks of Machine Learning Models",
USENIX Security 2021, arXiv:2003.10595.
Score: minus [-(1 - p_y) log p_y - sum over the other classes of p_c log(1 - p_c)]. Higher means
more likely a member; 0 is a certain right answer.
Our reading: the paper sets a threshold for each class on shadow models; a score leaves it open.
The released code clips probabilities inside the logarithms; from logits nothing needs clipping.
Cost: 1 call for each query; no shadow models.
Invalid when: members and nonmembers differ in how hard they are to classify, which the blind
baseline checks. With two classes its ranking is that of the loss.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from attacks import signals
from attacks.manifest import Access, ClassifierCapabilities, Manifest
from attacks.membership import _classifier, _common
from attacks.observations import Calibration, Observations, Request

MANIFEST = Manifest(
    id="MIA014",
    name="mentr",
    title="Modified prediction entropy",
    goal=_common.GOAL,
    access=Access.GREY_BOX,
    tags=_common.TAGS,
    references=("arXiv:2003.10595",),
    family="classifier",
)


@dataclass(frozen=True, slots=True)
class MentrConfig:
    """How often a record is asked."""

    queries: int = 1
    """Augmented versions whose modified entropies are averaged; the paper asks for the record."""

    def __post_init__(self) -> None:
        _common.check_positive(queries=self.queries)


def default_config(capabilities: ClassifierCapabilities) -> MentrConfig:
    """The record as it is."""
    return MentrConfig()


def applicable(capabilities: ClassifierCapabilities) -> str | None:
    """None for classifiers that give confidences, else the reason."""
    return _classifier.needs_confidence(capabilities)


def requests(config: MentrConfig) -> tuple[Request, ...]:
    """The classes and the logits."""
    return _classifier.logits_of(config.queries)


def score(
    observations: Observations, config: MentrConfig, calibration: Calibration | None = None
) -> NDArray[np.float64]:
    """(n,) minus the modified entropy; higher means more likely a member."""
    logits = _classifier.logits(observations, config.queries)
    return -signals.modified_entropy(logits, _classifier.classes(observations)).mean(axis=1)
