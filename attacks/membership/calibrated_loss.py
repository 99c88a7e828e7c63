"""Difficulty calibration: the loss, less what models without the record lose on it.

Idea: a low loss says little about an easy record; the mean loss of shadow models that were not
trained on it says how easy it is.
Citation: Watson et al., "On the Importance of Difficulty Calibration in Membership Inference
Attacks", ICLR 2022, arXiv:2111.08440; on phi in place of the loss, and with the middle of IN and
OUT after Sablayrolles et al., as compared by Carlini et al., arXiv:2112.03570.
Score: mean loss of the OUT models minus the loss of the target (for phi: target minus OUT
models). Higher means more likely a member.
Cost: 1 call of the target; at least one pair of shadow models.
Invalid when: the shadow models are trained on another kind of data, or another way, than the
target: then the difficulty is that of something else.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from attacks import signals
from attacks.errors import UsageError
from attacks.manifest import Access, ClassifierCapabilities, Manifest, Tier
from attacks.membership import _classifier, _common
from attacks.observations import Calibration, Observations, Request

MANIFEST = Manifest(
    id="MIA016",
    name="calibrated_loss",
    title="Loss calibrated by difficulty",
    goal=_common.GOAL,
    access=Access.GREY_BOX,
    tags=_common.TAGS,
    references=("arXiv:2111.08440", "arXiv:2112.03570"),
    family="classifier",
    tier=Tier.THOROUGH,
)


@dataclass(frozen=True, slots=True)
class CalibratedLossConfig:
    """What is compared, and with what."""

    statistic: Literal["loss", "phi"] = "loss"
    """The loss, as in the paper, or the logit-scaled confidence."""
    reference: Literal["out", "middle"] = "out"
    """The mean of the OUT models, or the middle between the means of IN and OUT models."""

    def __post_init__(self) -> None:
        if self.statistic not in ("loss", "phi"):
            raise UsageError(f"statistic must be loss or phi, got '{self.statistic}'")
        if self.reference not in ("out", "middle"):
            raise UsageError(f"reference must be out or middle, got '{self.reference}'")


def default_config(capabilities: ClassifierCapabilities) -> CalibratedLossConfig:
    """The loss against that of the OUT models."""
    return CalibratedLossConfig()


def applicable(capabilities: ClassifierCapabilities) -> str | None:
    """None for classifiers with confidences and shadow models, else the reason."""
    return _classifier.needs_shadows(capabilities)


def requests(config: CalibratedLossConfig) -> tuple[Request, ...]:
    """The classes, the logits, and the confidences of the shadow models."""
    return (*_classifier.logits_of(), *_classifier.shadow_confidence_of())


def score(
    observations: Observations, config: CalibratedLossConfig, calibration: Calibration | None = None
) -> NDArray[np.float64]:
    """(n,) how much better than expected the target does; higher means more likely a member."""
    target, shadows = _classifier.phi(observations), _classifier.shadow_phi(observations)
    confidence, reference = target, shadows.values
    if config.statistic == "loss":
        confidence, reference = signals.log_p(target), signals.log_p(shadows.values)
    expected = _classifier.masked_mean(reference, ~shadows.keep)
    if config.reference == "middle":
        expected = (expected + _classifier.masked_mean(reference, shadows.keep)) / 2
    return (confidence - expected)[:, 0]
