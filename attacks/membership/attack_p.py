"""Attack-P: the loss against those of a population that the model was not trained on.

Idea: the attacker knows records like the target's that it never saw, and calls a member what has
a lower loss than almost all of them: a threshold with a known false-positive rate, found without
a single member.
Citation: Ye et al., "Enhanced Membership Inference Attacks against Machine Learning Models",
CCS 2022, arXiv:2111.09679.
Score: the share of the population whose loss is above the record's, in (0, 1). Higher means more
likely a member; calling members what scores above 1 - alpha has a false-positive rate of alpha.
Records between the same two losses of the population keep the order of their losses, so the
ranking is that of `yeom`: what is new is the threshold.
Our reading: the population is the nonmembers of the calibration part.
Cost: 1 call; no shadow models.
Invalid when: the population differs from the records at hand: then the threshold is off. It can
set no false-positive rate below one in the size of the population.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from attacks.manifest import Access, ClassifierCapabilities, Manifest, Tier
from attacks.membership import _classifier, _common, _population
from attacks.observations import Calibration, Observations, Request

MANIFEST = Manifest(
    id="MIA015",
    name="attack_p",
    title="Loss against a population (Attack-P)",
    goal=_common.GOAL,
    access=Access.GREY_BOX,
    tags=_common.TAGS,
    references=("arXiv:2111.09679",),
    family="classifier",
    tier=Tier.THOROUGH,
    fitted=True,
)


@dataclass(frozen=True, slots=True)
class AttackPConfig:
    """There is nothing to set."""


def default_config(capabilities: ClassifierCapabilities) -> AttackPConfig:
    """There is nothing to set."""
    return AttackPConfig()


def applicable(capabilities: ClassifierCapabilities) -> str | None:
    """None for classifiers that give confidences, else the reason."""
    return _classifier.needs_confidence(capabilities)


def requests(config: AttackPConfig) -> tuple[Request, ...]:
    """The classes and the logits."""
    return _classifier.logits_of()


def score(
    observations: Observations, config: AttackPConfig, calibration: Calibration | None = None
) -> NDArray[np.float64]:
    """(n,) share of the population with a higher loss; higher means more likely a member.

    Raises Inapplicable without a calibration part.
    """
    part = _common.fitting_part(calibration, MANIFEST.name)
    known = _common.canonical(_classifier.phi(part.observations), part.is_member)
    population = known.features[~known.is_member, 0]
    # phi falls as the loss rises, and keeps digits where the loss rounds to 0.
    phi = _classifier.phi(observations)[:, 0]
    return _population.share_below_without_ties(phi, population, strict=True)
