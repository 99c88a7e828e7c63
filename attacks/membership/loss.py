"""Loss threshold: a model predicts the noise in its training records better.

Idea: noise is added to the record at a few timesteps and the model predicts it; training made
that error small on members. The baseline that every other attack must beat.
Citation: Matsumoto, Miura, Yanai, "Membership Inference Attacks against Diffusion Models",
arXiv:2302.03262; the same statistic in Hu and Pang, arXiv:2301.09956.
Score: minus the mean squared noise error over `timesteps` and `repetitions`. Higher means more
likely a member.
Cost: 10 forward calls for the curve, which contains the scored timesteps, plus one for each
further timestep or repetition.
Invalid when: members and nonmembers differ in how hard they are to denoise (smooth images have
a low error in any model), which the blind baseline checks. One noise leaves much variance.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from attacks.manifest import Access, DiffusionCapabilities, Manifest
from attacks.membership import _common
from attacks.observations import Calibration, NoiseError, Observations, Request, default_condition

MANIFEST = Manifest(
    id="MIA001",
    name="loss",
    title="Loss threshold",
    goal=_common.GOAL,
    access=Access.GREY_BOX,
    tags=_common.TAGS,
    references=("arXiv:2302.03262", "arXiv:2301.09956"),
)


@dataclass(frozen=True, slots=True)
class LossConfig:
    """Which timesteps are scored, and which are drawn in the report."""

    timesteps: tuple[int, ...] = (100, 200)
    """Timesteps whose errors are averaged into the score."""
    curve_timesteps: tuple[int, ...] = tuple(range(0, 1000, 100))
    """Timesteps of the loss curve in the report, one noise each; may be empty."""
    repetitions: int = 1
    """Independent noises per scored timestep."""
    condition: str = "caption"
    """Text that predictions are conditioned on."""

    def __post_init__(self) -> None:
        _common.check_timesteps(*self.timesteps, name="timesteps")
        if self.curve_timesteps:
            _common.check_timesteps(*self.curve_timesteps, name="curve_timesteps")
        _common.check_positive(repetitions=self.repetitions)
        _common.check_condition(self.condition)


def default_config(capabilities: DiffusionCapabilities) -> LossConfig:
    """Timesteps 100 and 200, or 400 and 500 for large latent models, on the target's schedule."""
    timesteps = (400, 500) if capabilities.is_large else (100, 200)
    return LossConfig(
        timesteps=_common.scaled(capabilities, timesteps),
        curve_timesteps=_common.scaled(capabilities, range(0, 1000, 100)),
        condition=default_condition(capabilities),
    )


def applicable(capabilities: DiffusionCapabilities) -> str | None:
    """None for every diffusion model, else the reason."""
    return _common.needs_diffusion(capabilities)


def requests(config: LossConfig) -> tuple[Request, ...]:
    """The scored errors and the curve, without repeats."""
    return tuple(dict.fromkeys((*_scored(config), *_curve(config))))


def score(
    observations: Observations, config: LossConfig, calibration: Calibration | None = None
) -> NDArray[np.float64]:
    """(n,) minus the mean error; higher means more likely a member."""
    return -_common.answers(observations, _scored(config)).mean(axis=1)


def curve(observations: Observations, config: LossConfig) -> NDArray[np.float64]:
    """(n, t) errors at `curve_timesteps`, for the loss curve of the report."""
    return _common.answers(observations, _curve(config))


def _scored(config: LossConfig) -> tuple[NoiseError, ...]:
    return tuple(
        NoiseError(t=t, repetition=r, condition=config.condition)
        for t in config.timesteps
        for r in range(config.repetitions)
    )


def _curve(config: LossConfig) -> tuple[NoiseError, ...]:
    return tuple(NoiseError(t=t, condition=config.condition) for t in config.curve_timesteps)
