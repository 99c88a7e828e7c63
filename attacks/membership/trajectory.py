"""Loss trajectory: how fast a record's loss falls while a student is distilled from the model.

Idea: a student that imitates the target passes through what the target's training may have
passed through; the losses of a record along the way say more than the last one. An attack model
learns on one shadow model, distilled in the same way, what the trajectories of members look like.
Citation: Liu et al., "Membership Inference Attacks by Exploiting Loss Trajectory", CCS 2022,
arXiv:2208.14933.
Score: log-odds of membership that the attack model gives. Higher means more likely a member.
Our reading: logistic regression on standardised losses in place of a network of three layers, and
30 epochs of distillation in place of 100.
Cost: the distillation of two students, and an evaluation of every record in every epoch.
Invalid when: the shadow model is trained on other data or another way than the target, or its
trajectory is that of its own training while the target's is that of a student.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from attacks.errors import DataError, ShapeError
from attacks.manifest import Access, ClassifierCapabilities, Manifest, Tier
from attacks.membership import _classifier, _common, _logistic
from attacks.observations import (
    Calibration,
    Observations,
    Request,
    ShadowKeep,
    ShadowTrajectory,
    Trajectory,
)

MANIFEST = Manifest(
    id="MIA024",
    name="trajectory",
    title="Loss trajectory",
    goal=_common.GOAL,
    access=Access.GREY_BOX,
    tags=_common.TAGS,
    references=("arXiv:2208.14933",),
    family="classifier",
    tier=Tier.THOROUGH,
)


@dataclass(frozen=True, slots=True)
class TrajectoryConfig:
    """Length of the distillation, and the attack model."""

    epochs: int = 30
    """Epochs of distillation after each of which the losses are kept."""
    strength: float = 1.0
    """Inverse weight of the penalty on large weights of the attack model."""

    def __post_init__(self) -> None:
        _common.check_positive(epochs=self.epochs, strength=self.strength)


def default_config(capabilities: ClassifierCapabilities) -> TrajectoryConfig:
    """Thirty epochs."""
    return TrajectoryConfig()


def applicable(capabilities: ClassifierCapabilities) -> str | None:
    """None where the target and a shadow model can be distilled, else the reason."""
    if reason := _classifier.needs_shadows(capabilities):
        return reason
    if not capabilities.has_trajectory:
        return (
            "needs a student distilled from the target epoch by epoch; name a torch recipe with "
            "--train (scikit-learn models are fitted in one go)"
        )
    return None


def requests(config: TrajectoryConfig) -> tuple[Request, ...]:
    """The losses along the way, of the target and of one shadow model."""
    epochs = config.epochs
    return Trajectory(epochs=epochs), ShadowTrajectory(epochs=epochs), ShadowKeep()


def score(
    observations: Observations, config: TrajectoryConfig, calibration: Calibration | None = None
) -> NDArray[np.float64]:
    """(n,) log-odds of the attack model; higher means more likely a member.

    Raises DataError if the shadow model was trained on all of the records or on none.
    """
    target, shadow, keep = (_common.answer(observations, r) for r in requests(config))
    if len(target) == 0:
        return np.zeros(0)
    if target.shape[1] != shadow.shape[1]:
        raise ShapeError(
            f"the trajectory of the target has {target.shape[1]} losses and that of the shadow "
            f"model {shadow.shape[1]}; distil both in the same way"
        )
    is_in = keep[:, 0].astype(bool)
    if is_in.all() or not is_in.any():
        raise DataError(
            "the shadow model was trained on all of the records or on none, so nothing can be "
            "learnt from its trajectory; train it on a half of them"
        )
    return _logistic.fit(shadow, is_in, strength=config.strength).log_odds(target)
