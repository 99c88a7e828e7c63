"""Quantile regression: is the confidence higher than usual for a record like this one?

Idea: one regression model, fitted on records that the target never saw, predicts from a record's
features and class how the target's confidence is distributed if it is a nonmember. It takes the
place of all shadow models, and needs no knowledge of how the target was trained.
Citation: Bertran et al., "Scalable Membership Inference Attacks via Quantile Regression",
NeurIPS 2023, arXiv:2307.03694.
Score: head `gaussian`: (confidence - predicted mean) / predicted standard deviation; head
`quantile`: confidence - predicted (1 - alpha)-quantile, so that calling members what scores above
0 has a false-positive rate of alpha. Higher means more likely a member.
Our reading: scikit-learn's gradient boosting, fitted on the nonmembers of the calibration part;
the spread is learnt from residuals of models that did not see the record, in place of a joint
likelihood, and the quantile is moved by what it misses on such records.
Cost: 1 call; fitting takes seconds; no shadow models.
Invalid when: the calibration part differs from the records at hand: the false-positive rate is
then another one (`coverage` measures it on held-out nonmembers). With a few hundred records to fit
on, little more than the overall distribution is learnt.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from attacks import signals
from attacks.errors import UsageError
from attacks.manifest import Access, ClassifierCapabilities, Manifest, Tier
from attacks.membership import _boosting, _classifier, _common
from attacks.observations import Calibration, Features, Observations, Request

MANIFEST = Manifest(
    id="MIA022",
    name="quantile",
    title="Quantile regression",
    goal=_common.GOAL,
    access=Access.GREY_BOX,
    tags=_common.TAGS,
    references=("arXiv:2307.03694",),
    family="classifier",
    tier=Tier.THOROUGH,
    fitted=True,
)


@dataclass(frozen=True, slots=True)
class QuantileConfig:
    """What is predicted, and by what."""

    head: Literal["gaussian", "quantile"] = "gaussian"
    """Whether mean and spread are predicted, or one quantile."""
    statistic: Literal["phi", "hinge"] = "phi"
    """Logit-scaled confidence, or the margin of the true class over the next one."""
    alpha: float = 0.05
    """False-positive rate whose threshold is predicted."""
    max_iter: int = 100
    """Trees of each regression model."""
    learning_rate: float = 0.05
    """Share of each tree that is added."""
    max_leaf_nodes: int = 8
    """Most leaves of each tree."""
    min_samples_leaf: int = 20
    """Fewest records in a leaf."""
    seed: int = 0
    """Order in which the trees look at their features."""

    def __post_init__(self) -> None:
        if self.head not in ("gaussian", "quantile"):
            raise UsageError(f"head must be gaussian or quantile, got '{self.head}'")
        if self.statistic not in ("phi", "hinge"):
            raise UsageError(f"statistic must be phi or hinge, got '{self.statistic}'")
        if not 0 < self.alpha < 1:
            raise UsageError(f"alpha must lie between 0 and 1, got {self.alpha}")
        _common.check_positive(
            max_iter=self.max_iter,
            learning_rate=self.learning_rate,
            min_samples_leaf=self.min_samples_leaf,
        )
        if self.max_leaf_nodes < 2:
            raise UsageError(f"max_leaf_nodes must be 2 or more, got {self.max_leaf_nodes}")


def default_config(capabilities: ClassifierCapabilities) -> QuantileConfig:
    """Mean and spread of phi."""
    return QuantileConfig()


def applicable(capabilities: ClassifierCapabilities) -> str | None:
    """None for classifiers that give confidences, else the reason."""
    return _classifier.needs_confidence(capabilities)


def requests(config: QuantileConfig) -> tuple[Request, ...]:
    """The classes, the features and the logits."""
    return (*_classifier.logits_of(), Features())


def score(
    observations: Observations, config: QuantileConfig, calibration: Calibration | None = None
) -> NDArray[np.float64]:
    """(n,) confidence above what was predicted; higher means more likely a member.

    Raises Inapplicable without a calibration part.
    """
    predicted = _predict(observations, config, calibration)
    excess = statistic(observations, config) - predicted.center
    return excess / predicted.spread if config.head == "gaussian" else excess


def thresholds(
    observations: Observations, config: QuantileConfig, calibration: Calibration | None = None
) -> NDArray[np.float64]:
    """(n,) predicted (1 - alpha)-quantile of a nonmember's confidence, for each record."""
    predicted = _predict(observations, config, calibration)
    if config.head == "quantile":
        return predicted.center
    from scipy.special import ndtri

    return predicted.center + float(ndtri(1 - config.alpha)) * predicted.spread


def coverage(
    observations: Observations, config: QuantileConfig, calibration: Calibration | None = None
) -> float:
    """Share of records at or below their threshold: 1 - alpha on nonmembers if all is well.

    observations: of nonmembers that took no part in the fit, at least one.
    """
    limits = thresholds(observations, config, calibration)
    return float(np.mean(statistic(observations, config) <= limits))


def statistic(observations: Observations, config: QuantileConfig) -> NDArray[np.float64]:
    """(n,) confidence of the target in the true class."""
    signal = signals.phi if config.statistic == "phi" else signals.hinge
    return signal(_classifier.logits(observations)[:, 0], _classifier.classes(observations))


def _predict(
    observations: Observations, config: QuantileConfig, calibration: Calibration | None
) -> _boosting.Predicted:
    part = _common.fitting_part(calibration, MANIFEST.name)
    table = np.column_stack([_inputs(part.observations), statistic(part.observations, config)])
    rows = _common.canonical(table, part.is_member)
    known = rows.features[~rows.is_member]
    return _boosting.fit_predict(
        known[:, :-1],
        known[:, -1],
        _inputs(observations),
        quantile=1 - config.alpha if config.head == "quantile" else None,
        settings=_boosting.Settings(
            config.max_iter,
            config.learning_rate,
            config.max_leaf_nodes,
            config.min_samples_leaf,
            config.seed,
        ),
    )


def _inputs(observations: Observations) -> NDArray[np.float64]:
    """(n, d + 1) features of the record, then its class."""
    features = _common.answer(observations, Features())
    flat = features.reshape(len(features), math.prod(features.shape[1:]))
    return np.column_stack([flat, _classifier.classes(observations)])
