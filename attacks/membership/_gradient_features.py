"""What the two GSA attacks share: gradient norms by weight tensor, read by boosted trees."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from attacks.manifest import Access, DiffusionCapabilities, Manifest, Tier
from attacks.membership import _common
from attacks.observations import (
    Calibration,
    GradientNorms,
    Observations,
    default_condition,
)

TIMESTEPS = tuple(range(99, 1000, 100))
"""Ten equidistant timesteps of a schedule of 1,000, as in the released code."""


@dataclass(frozen=True, slots=True)
class GsaConfig:
    """Where gradients are taken, and the size of the classifier."""

    timesteps: tuple[int, ...] = TIMESTEPS
    """Timesteps of the losses, one noise each."""
    n_estimators: int = 200
    """Trees of the classifier."""
    max_depth: int = 3
    """Depth of each tree."""
    learning_rate: float = 0.1
    """Share of each tree that is added."""
    seed: int = 0
    """Draws the tensors that each split looks at."""
    condition: str = "caption"
    """Text that predictions are conditioned on."""

    def __post_init__(self) -> None:
        _common.check_timesteps(*self.timesteps, name="timesteps")
        _common.check_condition(self.condition)
        _common.check_positive(
            n_estimators=self.n_estimators,
            max_depth=self.max_depth,
            learning_rate=self.learning_rate,
        )


def manifest(rule_id: str, name: str, title: str) -> Manifest:
    """The label of one of the two."""
    return Manifest(
        id=rule_id,
        name=name,
        title=title,
        goal=_common.GOAL,
        access=Access.WHITE_BOX,
        tags=_common.TAGS,
        references=("arXiv:2308.06405",),
        tier=Tier.THOROUGH,
        fitted=True,
    )


def default_config(capabilities: DiffusionCapabilities) -> GsaConfig:
    """Ten equidistant timesteps of the target's schedule."""
    timesteps = _common.scaled(capabilities, TIMESTEPS)
    return GsaConfig(timesteps=timesteps, condition=default_condition(capabilities))


def scores(
    name: str,
    request: GradientNorms,
    observations: Observations,
    config: GsaConfig,
    calibration: Calibration | None,
) -> NDArray[np.float64]:
    """(n,) log-odds of membership by trees fitted on the calibration part alone."""
    from sklearn.ensemble import GradientBoostingClassifier

    part = _common.fitting_part(calibration, name)
    evaluated = _common.answer(observations, request)
    fitted = _common.canonical(_common.answer(part.observations, request), part.is_member)
    classifier = GradientBoostingClassifier(
        n_estimators=config.n_estimators,
        max_depth=config.max_depth,
        learning_rate=config.learning_rate,
        max_features="sqrt",
        random_state=config.seed,
    ).fit(fitted.features, fitted.is_member)
    if len(evaluated) == 0:
        return np.zeros(0)
    found: NDArray[np.float64] = classifier.decision_function(evaluated)
    return found
