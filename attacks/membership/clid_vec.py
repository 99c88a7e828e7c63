"""CLiD (vector): a boosted classifier on how much each part of the caption helps.

Idea: as CLiD, but the growth of the error is kept apart for each reduced condition, and gradient
boosting learns on the calibration part how to combine them.
Citation: Zhai et al., "Membership Inference on Text-to-image Diffusion Models via Conditional
Likelihood Discrepancy", NeurIPS 2024, arXiv:2405.14800.
Score: the log-odds of membership that the classifier gives (D_1, ..., D_k, L); its ranking is that
of the probability. Higher means more likely a member.
Our reading: scikit-learn's gradient boosting in place of XGBoost, fitted on the calibration part
in place of a shadow model.
Cost: timesteps x (1 + conditions) forward calls: 3 x 5 = 15, the same calls as CLiD's.
Invalid when: CLiD is; trees give many equal scores, so with few calibration records the strictest
false-positive rates cannot be resolved.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from attacks.manifest import Access, DiffusionCapabilities, Manifest, Tier
from attacks.membership import _common, _conditional
from attacks.observations import Calibration, Observations, Request

MANIFEST = Manifest(
    id="MIA008",
    name="clid_vec",
    title="Conditional likelihood discrepancy, boosted (CLiD vector)",
    goal=_common.GOAL,
    access=Access.GREY_BOX,
    tags=_common.TAGS,
    references=("arXiv:2405.14800",),
    tier=Tier.THOROUGH,
    fitted=True,
)


@dataclass(frozen=True, slots=True)
class ClidVecConfig:
    """Timesteps, reduced conditions, and the size of the classifier."""

    timesteps: tuple[int, ...] = (440, 450, 460)
    """Timesteps of the errors, one noise each."""
    conditions: tuple[str, ...] = _conditional.REDUCED
    """Reduced conditions that the caption is compared with."""
    n_estimators: int = 100
    """Trees of the classifier."""
    max_depth: int = 3
    """Depth of each tree."""
    learning_rate: float = 0.1
    """Share of each tree that is added."""
    seed: int = 0
    """Order in which trees look at equally good features."""

    def __post_init__(self) -> None:
        _conditional.check(self.timesteps, self.conditions)
        _common.check_positive(
            n_estimators=self.n_estimators,
            max_depth=self.max_depth,
            learning_rate=self.learning_rate,
        )


def default_config(capabilities: DiffusionCapabilities) -> ClidVecConfig:
    """Three timesteps around 450, or around 100 for small models, on the target's schedule."""
    return ClidVecConfig(timesteps=_conditional.default_timesteps(capabilities))


def applicable(capabilities: DiffusionCapabilities) -> str | None:
    """None for text-conditional models with captioned records, else the reason."""
    return _common.needs_captions(capabilities)


def requests(config: ClidVecConfig) -> tuple[Request, ...]:
    """Errors with the caption and with each reduced condition."""
    return _conditional.errors(config.timesteps, config.conditions)


def score(
    observations: Observations, config: ClidVecConfig, calibration: Calibration | None = None
) -> NDArray[np.float64]:
    """(n,) log-odds of membership; higher means more likely a member.

    Raises Inapplicable without a calibration part.
    """
    from sklearn.ensemble import GradientBoostingClassifier

    part = _common.fitting_part(calibration, MANIFEST.name)
    evaluated = features(observations, config)
    fitted = _common.canonical(features(part.observations, config), part.is_member)
    classifier = GradientBoostingClassifier(
        n_estimators=config.n_estimators,
        max_depth=config.max_depth,
        learning_rate=config.learning_rate,
        random_state=config.seed,
    ).fit(fitted.features, fitted.is_member)
    if len(evaluated) == 0:
        return np.zeros(0)
    return classifier.decision_function(evaluated)


def features(observations: Observations, config: ClidVecConfig) -> NDArray[np.float64]:
    """(n, k + 1) the discrepancies D_1, ..., D_k and the likelihood L."""
    terms = _conditional.likelihoods(observations, config.timesteps, config.conditions)
    return np.column_stack([terms.discrepancies, terms.likelihood])
