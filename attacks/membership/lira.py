"""LiRA (online): is the confidence that of models with this record, or of models without?

Idea: shadow models trained with and without a record show what its logit-scaled confidence is in
either case; a Gaussian is fitted to each, and the target's value decides between the two. Hard
records are judged by their own scale.
Citation: Carlini et al., "Membership Inference Attacks From First Principles", IEEE S&P 2022,
arXiv:2112.03570.
Score: log N(phi; IN) - log N(phi; OUT), averaged over queries. Higher means more likely a member.
Our reading: the spread that is common to all records is the one within records (the released
code mixes in the spread between records, and uses that of IN for both sides: `uncentred`), and
the centre is the mean of Algorithm 1 (the released code takes the median). With one model a side
no spread can be estimated, and only the order of the scores means something.
Cost: 1 call of the target for each query; dozens of shadow models, which the other attacks share.
Invalid when: the shadow models are trained on other data or another way than the target, or their
sets were drawn with regard to its own. With less than about 8 models a side it is noisy, and with
one pair `rmia` is better.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from attacks.manifest import Access, ClassifierCapabilities, Manifest
from attacks.membership import _classifier, _common, _gaussians
from attacks.observations import Calibration, Observations, Request

MANIFEST = Manifest(
    id="MIA018",
    name="lira",
    title="Likelihood ratio (LiRA, online)",
    goal=_common.GOAL,
    access=Access.GREY_BOX,
    tags=_common.TAGS,
    references=("arXiv:2112.03570",),
    family="classifier",
)


@dataclass(frozen=True, slots=True)
class LiraConfig:
    """How the Gaussians are fitted, and how often a record is asked."""

    queries: int = 1
    """Augmented versions of the record, each with Gaussians of its own."""
    variance: _gaussians.Variance = "auto"
    """Spread: pooled within records, per_record, auto (per_record from 64 models), uncentred."""
    center: _gaussians.Center = "mean"
    """Centre of each Gaussian."""
    ddof: int = 0
    """Degrees of freedom taken off for each record; the released code takes none."""

    def __post_init__(self) -> None:
        _gaussians.check(self.queries, self.variance, self.center, self.ddof)


def default_config(capabilities: ClassifierCapabilities) -> LiraConfig:
    """Every augmented version that the target can be asked."""
    return LiraConfig(queries=capabilities.n_queries)


def applicable(capabilities: ClassifierCapabilities) -> str | None:
    """None for classifiers with confidences and shadow models, else the reason."""
    return _classifier.needs_shadows(capabilities)


def requests(config: LiraConfig) -> tuple[Request, ...]:
    """The classes, the logits, and the confidences of the shadow models."""
    return (
        *_classifier.logits_of(config.queries),
        *_classifier.shadow_confidence_of(config.queries),
    )


def score(
    observations: Observations, config: LiraConfig, calibration: Calibration | None = None
) -> NDArray[np.float64]:
    """(n,) log-likelihood ratio of membership; higher means more likely a member.

    Raises DataError where no shadow model, or every one, was trained on a record.
    """
    phi = _classifier.phi(observations, config.queries)
    inside, outside = _gaussians.fit(
        _classifier.shadow_phi(observations, config.queries),
        variance=config.variance,
        center=config.center,
        ddof=config.ddof,
    )
    return (inside.log_density(phi) - outside.log_density(phi)).mean(axis=1)
