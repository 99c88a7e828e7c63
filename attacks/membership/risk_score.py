"""Privacy risk score: the posterior probability of membership, from histograms of shadow models.

Idea: for each class, the modified entropies that shadow models show on records that they were,
and were not, trained on are counted in a few bins; the target's value falls into one, and Bayes'
rule with even odds gives the probability that the record is a member.
Citation: Song and Mittal, "Systematic Evaluation of Privacy Risks of Machine Learning Models",
USENIX Security 2021, arXiv:2003.10595.
Score: P(bin | IN, class) / (P(bin | IN, class) + P(bin | OUT, class)), in [0, 1]. Higher means
more likely a member. An empty bin borrows from the nearest one that is not.
Our reading: a bin is empty where neither side has a value; values outside of the bins belong to
the nearest one; the shadow models share the pool of records with the target, half of it each.
Cost: 1 call of the target; a few shadow models. Keeps whole vectors of the shadow models.
Invalid when: the shadow models are trained on other data or another way than the target. A few
bins give a few distinct scores: for records to be singled out `lira` and `rmia` are better.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from attacks import signals
from attacks.manifest import Access, ClassifierCapabilities, Manifest, Tier
from attacks.membership import _classifier, _common
from attacks.observations import (
    Calibration,
    Observations,
    Request,
    ShadowKeep,
    ShadowLogits,
)

MANIFEST = Manifest(
    id="MIA025",
    name="risk_score",
    title="Privacy risk score",
    goal=_common.GOAL,
    access=Access.GREY_BOX,
    tags=_common.TAGS,
    references=("arXiv:2003.10595",),
    family="classifier",
    tier=Tier.THOROUGH,
)


@dataclass(frozen=True, slots=True)
class RiskScoreConfig:
    """How the histograms are made."""

    n_bins: int = 5
    """Bins of each class, equally wide on a logarithmic scale."""
    floor: float = 1e-10
    """Modified entropies below this count as this; the logarithm needs a least value."""

    def __post_init__(self) -> None:
        _common.check_positive(n_bins=self.n_bins, floor=self.floor)


def default_config(capabilities: ClassifierCapabilities) -> RiskScoreConfig:
    """Five bins, as in the released code."""
    return RiskScoreConfig()


def applicable(capabilities: ClassifierCapabilities) -> str | None:
    """None for classifiers with confidences and shadow models, else the reason."""
    return _classifier.needs_shadows(capabilities)


def requests(config: RiskScoreConfig) -> tuple[Request, ...]:
    """The classes, the logits, and the logits of the shadow models."""
    return (*_classifier.logits_of(), ShadowLogits(), ShadowKeep())


def score(
    observations: Observations, config: RiskScoreConfig, calibration: Calibration | None = None
) -> NDArray[np.float64]:
    """(n,) posterior probability of membership; higher means more likely a member.

    Raises DataError where no shadow model, or every one, was trained on a record.
    """
    classes, shadows = _classifier.classes(observations), _classifier.shadow_logits(observations)
    target, known = (
        np.log(np.maximum(signals.modified_entropy(logits, classes), config.floor))
        for logits in (_classifier.logits(observations), shadows.values)
    )
    scores = np.zeros(len(classes))
    for label in np.unique(classes):
        own = classes == label
        keep = shadows.keep[own]
        scores[own] = posterior(
            target[own, 0], known[own][keep], known[own][~keep], n_bins=config.n_bins
        )
    return scores


def posterior(
    values: NDArray[np.float64],
    inside: NDArray[np.float64],
    outside: NDArray[np.float64],
    *,
    n_bins: int,
) -> NDArray[np.float64]:
    """(n,) probability of IN with even odds, from histograms with bins of one width.

    values: (n,); inside, outside: what shadow models show on records of either kind, one or more.
    """
    both = np.concatenate([inside, outside])
    edges = np.linspace(both.min(), both.max(), n_bins + 1)
    share_in, share_out = (
        np.bincount(_bins(side, edges), minlength=n_bins) / len(side) for side in (inside, outside)
    )
    filled = np.flatnonzero(share_in + share_out > 0)
    nearest = filled[np.abs(np.arange(n_bins)[:, None] - filled).argmin(axis=1)]
    risk = share_in[nearest] / (share_in + share_out)[nearest]
    return risk[_bins(values, edges)]


def _bins(values: NDArray[np.float64], edges: NDArray[np.float64]) -> NDArray[np.intp]:
    """Index of the bin of each value; beyond the ends it is the last one there."""
    return np.searchsorted(edges[1:-1], values, side="right")
