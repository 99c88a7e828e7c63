"""Loss threshold on a classifier: training records have a lower loss.

Idea: training lowers the loss of its own records; the wider the gap between training and test
loss, the more a threshold tells. The floor that every other attack must beat.
Citation: Yeom et al., "Privacy Risk in Machine Learning: Analyzing the Connection to Overfitting",
CSF 2018, arXiv:1709.01604.
Score: the log-probability of the true class, which is minus the loss. Higher means more likely a
member.
Our reading: the paper decides by the mean training loss; a score leaves the threshold open.
Cost: 1 call for each query; no shadow models.
Invalid when: members and nonmembers differ in how hard they are to classify, which the blind
baseline checks. It finds nonmembers (high losses), not members: look at low false-positive rates.
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
    id="MIA011",
    name="yeom",
    title="Loss threshold on a classifier (Yeom)",
    goal=_common.GOAL,
    access=Access.GREY_BOX,
    tags=_common.TAGS,
    references=("arXiv:1709.01604",),
    family="classifier",
)


@dataclass(frozen=True, slots=True)
class YeomConfig:
    """How often a record is asked."""

    queries: int = 1
    """Augmented versions whose log-probabilities are averaged; the paper asks for the record."""

    def __post_init__(self) -> None:
        _common.check_positive(queries=self.queries)


def default_config(capabilities: ClassifierCapabilities) -> YeomConfig:
    """The record as it is."""
    return YeomConfig()


def applicable(capabilities: ClassifierCapabilities) -> str | None:
    """None for classifiers that give confidences, else the reason."""
    return _classifier.needs_confidence(capabilities)


def requests(config: YeomConfig) -> tuple[Request, ...]:
    """The classes and the logits."""
    return _classifier.logits_of(config.queries)


def score(
    observations: Observations, config: YeomConfig, calibration: Calibration | None = None
) -> NDArray[np.float64]:
    """(n,) log-probability of the true class; higher means more likely a member."""
    return signals.log_p(_classifier.phi(observations, config.queries)).mean(axis=1)
