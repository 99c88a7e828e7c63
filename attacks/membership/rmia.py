"""RMIA: is this record more probable than usual, by more than other records are?

Idea: the target's probability of the true class is divided by its mean over shadow models, which
takes out how easy the record is; the ratio is then compared with the ratios of a population that
the target never saw. It needs a pair of shadow models where LiRA needs dozens.
Citation: Zarifzadeh, Liu, Shokri, "Low-Cost High-Power Membership Inference Attacks", ICML 2024,
arXiv:2312.03262.
Score: with a calibration part, the share of its nonmembers z whose ratio the record's exceeds
gamma times (the calibration part is never evaluated, so no record is compared with itself);
records with equal shares are ordered by their ratio. Without one, the logarithm of the ratio:
with one population for all, both give the same ranking, whatever gamma is. Higher means more
likely a member.
Our reading: online by default, since every record is IN for half of the shadow models; the plain
softmax at temperature 1, shared with `lira` (`signal: taylor` is the paper's, whose released
degree of 3 can turn negative and is 4 here); the plain mean over shadow models, and over queries
that of the log-ratios. The paper trims the one (`trim: 0.2`) and lets the queries vote on each pair
of record and population (`over_queries: vote`, which compares all pairs). Without
`a`, it is the one of a grid that best attacks shadow models as if they were the target.
Cost: 1 call of the target for each query; at least one pair of shadow models. A sort and a binary
search in place of a table of records x population.
Invalid when: the shadow models are trained on other data or another way than the target, or their
sets were drawn with regard to its own. Offline, a wrong `a` costs much.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from attacks import signals
from attacks.errors import Inapplicable, UsageError
from attacks.manifest import Access, ClassifierCapabilities, Manifest
from attacks.membership import _classifier, _common, _population, _ratios
from attacks.observations import (
    Calibration,
    Observations,
    Request,
    ShadowKeep,
    ShadowLogits,
)

MANIFEST = Manifest(
    id="MIA020",
    name="rmia",
    title="Robust ratio to a population (RMIA)",
    goal=_common.GOAL,
    access=Access.GREY_BOX,
    tags=_common.TAGS,
    references=("arXiv:2312.03262",),
    family="classifier",
)


@dataclass(frozen=True, slots=True)
class RmiaConfig:
    """How a record's usual probability is estimated, and what counts as exceeding."""

    mode: Literal["online", "offline"] = "online"
    """Whether models trained on the record take part in its usual probability."""
    a: float | None = None
    """Offline: P_in is taken for a P_out + 1 - a, a in [0, 1]; null tunes it on shadow models."""
    gamma: float = 2.0
    """Factor by which a record's ratio must exceed a population record's."""
    strict: bool = False
    """Whether a ratio of exactly gamma does not count, as in the released tool."""
    signal: Literal["softmax", "taylor"] = "softmax"
    """Probability of the true class: softmax, or the SM-Taylor softmax on one query."""
    temperature: float = 1.0
    """What logits are divided by; the paper takes 2 with the SM-Taylor softmax."""
    taylor_degree: int = 4
    """Degree of the SM-Taylor softmax; even, so that it stays positive."""
    taylor_margin: float = 0.6
    """Handicap of the true class in the SM-Taylor softmax."""
    queries: int = 1
    """Augmented versions of the record that are asked about."""
    over_queries: Literal["mean", "vote"] = "mean"
    """Mean of their log-ratios, or a vote of the majority on each member of the population."""
    trim: float = 0.0
    """Share of the shadow models' probabilities left out at either end; the paper takes 0.2."""

    def __post_init__(self) -> None:
        _common.check_positive(
            gamma=self.gamma,
            temperature=self.temperature,
            taylor_degree=self.taylor_degree,
            queries=self.queries,
        )
        if self.mode not in ("online", "offline"):
            raise UsageError(f"mode must be online or offline, got '{self.mode}'")
        if self.a is not None and not 0 <= self.a <= 1:
            raise UsageError(f"a must be between 0 and 1, got {self.a}")
        if self.signal not in ("softmax", "taylor"):
            raise UsageError(f"signal must be softmax or taylor, got '{self.signal}'")
        if self.taylor_degree % 2:
            raise UsageError(
                f"taylor_degree must be even, got {self.taylor_degree}: an odd one can make "
                "probabilities negative"
            )
        if self.over_queries not in ("mean", "vote"):
            raise UsageError(f"over_queries must be mean or vote, got '{self.over_queries}'")
        if not 0 <= self.trim < 0.5:
            raise UsageError(f"trim must be at least 0 and below 0.5, got {self.trim}")
        if self.signal == "taylor" and self.queries != 1:
            raise UsageError(f"signal taylor takes one query, got {self.queries}; set queries to 1")


class LogProbabilities(NamedTuple):
    """Log-probabilities of the true class."""

    target: NDArray[np.float64]
    """(n, q) of the target."""
    shadows: _classifier.Shadows
    """(n, m, q) of the shadow models, and which of them saw which record."""


def default_config(capabilities: ClassifierCapabilities) -> RmiaConfig:
    """Online, with every augmented version that the target can be asked."""
    return RmiaConfig(queries=capabilities.n_queries)


def applicable(capabilities: ClassifierCapabilities) -> str | None:
    """None for classifiers with confidences and shadow models, else the reason."""
    return _classifier.needs_shadows(capabilities)


def requests(config: RmiaConfig) -> tuple[Request, ...]:
    """The classes, the logits, and what the shadow models give for the same signal."""
    if config.signal == "taylor":
        return (*_classifier.logits_of(), ShadowLogits(), ShadowKeep())
    return (
        *_classifier.logits_of(config.queries),
        *_classifier.shadow_confidence_of(config.queries, config.temperature),
    )


def score(
    observations: Observations, config: RmiaConfig, calibration: Calibration | None = None
) -> NDArray[np.float64]:
    """(n,) share of a population that is exceeded, or log-ratio; higher is more likely a member.

    calibration: its nonmembers are the population; without any, the score is the log-ratio.
    Raises DataError where no shadow model, or every one, was trained on a record.
    """
    records = log_probabilities(observations, config)
    a = config.a
    if config.mode == "offline" and a is None:
        a = _ratios.tuned_a(records.shadows, config.trim)
    a = None if config.mode == "online" else a
    log_ratio = _ratios.log_ratios(records.target, records.shadows, a, config.trim)
    if calibration is None or not np.any(~calibration.is_member):
        if config.over_queries == "vote":
            raise Inapplicable("a vote of queries needs a population: add an attack that is fitted")
        return log_ratio.mean(axis=1)
    known = log_probabilities(calibration.observations, config)
    population = _ratios.log_ratios(known.target, known.shadows, a, config.trim)
    population = population[~calibration.is_member]
    gap = float(np.log(config.gamma))
    if config.over_queries == "vote":
        share = _ratios.share_outvoted(log_ratio, population, gap=gap, strict=config.strict)
        return _population.without_ties(share, log_ratio.mean(axis=1), len(population))
    log_ratio, population = log_ratio.mean(axis=1), population.mean(axis=1)
    return _population.share_below_without_ties(
        log_ratio, population, gap=gap, strict=config.strict
    )


def log_probabilities(observations: Observations, config: RmiaConfig) -> LogProbabilities:
    """The signal of the configuration, of the target and of the shadow models."""
    if config.signal == "softmax":
        phi = _classifier.phi(observations, config.queries, temperature=config.temperature)
        shadows = _classifier.shadow_phi(
            observations, config.queries, temperature=config.temperature
        )
        return LogProbabilities(
            signals.log_p(phi), shadows._replace(values=signals.log_p(shadows.values))
        )
    shadows = _classifier.shadow_logits(observations)
    target, values = (
        np.log(
            signals.taylor_p(
                logits,
                _classifier.classes(observations),
                temperature=config.temperature,
                margin=config.taylor_margin,
                degree=config.taylor_degree,
            )
        )
        for logits in (_classifier.logits(observations), shadows.values)
    )
    return LogProbabilities(target, shadows._replace(values=values[:, :, None]))
