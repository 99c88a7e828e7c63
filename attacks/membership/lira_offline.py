"""LiRA (offline): is the confidence too high for models without this record?

Idea: shadow models that were not trained on a record show what a nonmember's confidence is; a
one-sided test asks whether the target's is higher. No model with the record is needed, so it is
what an attacker can prepare before the record is known.
Citation: Carlini et al., "Membership Inference Attacks From First Principles", IEEE S&P 2022,
arXiv:2112.03570, equation 4.
Score: the log-probability that a Gaussian of the OUT models stays below the target's phi, averaged
over queries. Higher means more likely a member. The logarithm keeps apart what rounds to 1.
Our reading: as for `lira`. Equation 4 is one-sided; the released code scores the two-sided density
of the OUT models, which also calls very low confidences members.
Cost: 1 call of the target for each query; dozens of shadow models, which the other attacks share.
Invalid when: `lira` is. Without IN models a record on which every model is unsure in its own way
is judged by OUT models alone: weaker than `lira`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from attacks.manifest import Access, ClassifierCapabilities, Manifest
from attacks.membership import _classifier, _common, _gaussians
from attacks.observations import Calibration, Observations, Request

MANIFEST = Manifest(
    id="MIA019",
    name="lira_offline",
    title="One-sided likelihood test (LiRA, offline)",
    goal=_common.GOAL,
    access=Access.GREY_BOX,
    tags=_common.TAGS,
    references=("arXiv:2112.03570",),
    family="classifier",
)


@dataclass(frozen=True, slots=True)
class LiraOfflineConfig:
    """How the Gaussian is fitted, and how often a record is asked."""

    queries: int = 1
    """Augmented versions of the record, each with a Gaussian of its own."""
    variance: _gaussians.Variance = "auto"
    """Spread: pooled within records, per_record, auto (per_record from 64 models), uncentred."""
    center: _gaussians.Center = "mean"
    """Centre of each Gaussian."""
    ddof: int = 0
    """Degrees of freedom taken off for each record; the released code takes none."""

    def __post_init__(self) -> None:
        _gaussians.check(self.queries, self.variance, self.center, self.ddof)


def default_config(capabilities: ClassifierCapabilities) -> LiraOfflineConfig:
    """Every augmented version that the target can be asked."""
    return LiraOfflineConfig(queries=capabilities.n_queries)


def applicable(capabilities: ClassifierCapabilities) -> str | None:
    """None for classifiers with confidences and shadow models, else the reason."""
    return _classifier.needs_shadows(capabilities)


def requests(config: LiraOfflineConfig) -> tuple[Request, ...]:
    """The classes, the logits, and the confidences of the shadow models."""
    return (
        *_classifier.logits_of(config.queries),
        *_classifier.shadow_confidence_of(config.queries),
    )


def score(
    observations: Observations, config: LiraOfflineConfig, calibration: Calibration | None = None
) -> NDArray[np.float64]:
    """(n,) log-probability of a lower phi without the record; higher means more likely a member.

    Raises DataError where no shadow model, or every one, was trained on a record.
    """
    from scipy.special import log_ndtr

    phi = _classifier.phi(observations, config.queries)
    pair = _gaussians.fit(
        _classifier.shadow_phi(observations, config.queries),
        variance=config.variance,
        center=config.center,
        ddof=config.ddof,
    )
    return log_ndtr(pair.outside.standardised(phi)).mean(axis=1)
