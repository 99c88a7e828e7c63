"""Label-only attack: does the label stay right when the record is disturbed?

Idea: a model is right on a wider neighbourhood of its training records; how often its label
stays right under noise measures that without any confidence.
Citation: Choquette-Choo et al., "Label-Only Membership Inference Attacks", ICML 2021,
arXiv:2007.14321.
Score: the share of right labels over the record and its noisy copies. Higher means more likely a
member. With no copies it is `gap`.
Our reading: Gaussian noise on numbers and redrawn categories, which suit tables and images alike;
the mean in place of an attack model on the single answers. The distance to the decision boundary
is another attack, `boundary`.
Cost: 1 + repetitions calls (17); labels alone are enough.
Invalid when: noise of this size never or always changes the label: then all scores are equal. It
takes few values, so the strictest false-positive rates may not be resolvable.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from attacks.errors import UsageError
from attacks.manifest import Access, ClassifierCapabilities, Manifest, Tier
from attacks.membership import _classifier, _common
from attacks.observations import Calibration, NoisyCorrectness, Observations, Request

MANIFEST = Manifest(
    id="MIA023",
    name="label_only",
    title="Robustness of the label",
    goal=_common.GOAL,
    access=Access.BLACK_BOX,
    tags=_common.TAGS,
    references=("arXiv:2007.14321",),
    family="classifier",
    tier=Tier.THOROUGH,
)


@dataclass(frozen=True, slots=True)
class LabelOnlyConfig:
    """How a record is disturbed."""

    repetitions: int = 16
    """Noisy copies of each record."""
    sigma: float = 0.25
    """Noise on a numeric feature, in standard deviations of that feature."""
    flip: float = 0.05
    """Probability that a binary feature is flipped, or a category redrawn."""

    def __post_init__(self) -> None:
        if self.repetitions < 0:
            raise UsageError(f"repetitions must be 0 or more, got {self.repetitions}")
        if not self.sigma >= 0:
            raise UsageError(f"sigma must be 0 or more, got {self.sigma}")
        if not 0 <= self.flip <= 1:
            raise UsageError(f"flip must be between 0 and 1, got {self.flip}")


def default_config(capabilities: ClassifierCapabilities) -> LabelOnlyConfig:
    """Sixteen copies with noise of a quarter of a standard deviation."""
    return LabelOnlyConfig()


def applicable(capabilities: ClassifierCapabilities) -> str | None:
    """None for every classifier that answers on new inputs, else the reason."""
    if reason := _classifier.needs_classifier(capabilities):
        return reason
    if not capabilities.can_be_queried:
        return "needs answers on disturbed records, and there are only saved predictions"
    return None


def requests(config: LabelOnlyConfig) -> tuple[Request, ...]:
    """Whether the label is right, as it is and under noise."""
    return (NoisyCorrectness(repetitions=config.repetitions, sigma=config.sigma, flip=config.flip),)


def score(
    observations: Observations, config: LabelOnlyConfig, calibration: Calibration | None = None
) -> NDArray[np.float64]:
    """(n,) share of right labels; higher means more likely a member."""
    return _common.answer(observations, *requests(config)).mean(axis=1)
