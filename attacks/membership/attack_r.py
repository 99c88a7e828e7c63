"""Attack-R: the loss against those of models that were not trained on this record.

Idea: a test for each record: its losses under OUT shadow models are what a nonmember would show,
and the target's loss is a p-value among them.
Citation: Ye et al., "Enhanced Membership Inference Attacks against Machine Learning Models",
CCS 2022, arXiv:2111.09679.
Score: minus the p-value, which is the share of OUT models whose loss is below the target's. Higher
means more likely a member. With `interpolate` the levels between two OUT losses count too, by
linear interpolation, with a loss of 0 and one of 1,000 added at the ends.
Cost: 1 call of the target; one OUT model allows two values, so dozens of shadow models.
Invalid when: there are few shadow models: without interpolation a false-positive rate below one
in the number of OUT models cannot be set, and many records tie at the top.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from attacks import signals
from attacks.manifest import Access, ClassifierCapabilities, Manifest, Tier
from attacks.membership import _classifier, _common
from attacks.observations import Calibration, Observations, Request

MANIFEST = Manifest(
    id="MIA017",
    name="attack_r",
    title="Loss against reference models (Attack-R)",
    goal=_common.GOAL,
    access=Access.GREY_BOX,
    tags=_common.TAGS,
    references=("arXiv:2111.09679",),
    family="classifier",
    tier=Tier.THOROUGH,
)

LARGEST_LOSS = 1000.0
"""Loss that no record exceeds, so that the largest level has a threshold."""


@dataclass(frozen=True, slots=True)
class AttackRConfig:
    """What happens between two losses."""

    interpolate: bool = True
    """Whether levels between two OUT losses count, as in the released code."""


def default_config(capabilities: ClassifierCapabilities) -> AttackRConfig:
    """With interpolation, as in the released code."""
    return AttackRConfig()


def applicable(capabilities: ClassifierCapabilities) -> str | None:
    """None for classifiers with confidences and shadow models, else the reason."""
    return _classifier.needs_shadows(capabilities)


def requests(config: AttackRConfig) -> tuple[Request, ...]:
    """The classes, the logits, and the confidences of the shadow models."""
    return (*_classifier.logits_of(), *_classifier.shadow_confidence_of())


def score(
    observations: Observations, config: AttackRConfig, calibration: Calibration | None = None
) -> NDArray[np.float64]:
    """(n,) minus the p-value of the loss; higher means more likely a member."""
    loss = signals.loss(_classifier.phi(observations)[:, 0])
    shadows = _classifier.shadow_phi(observations)
    out_losses = signals.loss(shadows.values[:, :, 0])
    levels = interpolated_p_values if config.interpolate else p_values
    return -levels(loss, out_losses, ~shadows.keep)


def p_values(
    loss: NDArray[np.float64], losses: NDArray[np.float64], is_out: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """(n,) share of OUT models whose loss is below the target's.

    loss: (n,) of the target; losses, is_out: (n, m) of the shadow models, and which are OUT.
    """
    return (is_out & (losses < loss[:, None])).sum(axis=1) / is_out.sum(axis=1)


def interpolated_p_values(
    loss: NDArray[np.float64], losses: NDArray[np.float64], is_out: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """(n,) level whose interpolated quantile of the OUT losses is the target's loss.

    The losses of a record, with 0 and 1,000 added, are its quantiles at equally spaced levels
    from 0 to 1. Shapes as in `p_values`.
    """
    loss = np.minimum(loss, LARGEST_LOSS)
    is_below = is_out & (losses < loss[:, None])
    below = np.where(is_below, losses, 0.0).max(axis=1)
    above = np.where(is_out & ~is_below, losses, LARGEST_LOSS).min(axis=1)
    width = above - below
    share = np.divide(loss - below, width, out=np.ones_like(loss), where=width > 0)
    return (is_below.sum(axis=1) + share) / (is_out.sum(axis=1) + 1)
