"""PFAMI: cropping a record raises its error more if the model was trained on it.

Idea: a member sits near a peak of the learned density, so the error rises when the record is
cropped a little and resized; a nonmember sits on a slope, where it may rise or fall.
Citation: Fu et al., "A Probabilistic Fluctuation based Membership Inference Attack for Diffusion
Models", arXiv:2308.12143.
Score: mean over timesteps and crops of (error(crop) - error) / error. Higher (a larger relative
rise) means more likely a member.
Our reading: one crop, the sixth of ten from 0.95 to 0.70, as in the authors' code; the same noise
for record and crop, where their code draws it anew and adds variance; denominators are kept
above `floor`, because the error can be close to zero at a timestep.
Cost: 10 timesteps x (1 + crops) forward calls: 20; a target with the loss curve shares 5 of them.
Invalid when: the model was trained on random crops, which flattens the peak; on records of a few
pixels a side, where a crop changes too much.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from attacks.errors import UsageError
from attacks.manifest import Access, DiffusionCapabilities, Manifest, Tier
from attacks.membership import _common
from attacks.observations import Calibration, NoiseError, Observations, Request, default_condition

MANIFEST = Manifest(
    id="MIA009",
    name="pfami",
    title="Probabilistic fluctuation (PFAMI)",
    goal=_common.GOAL,
    access=Access.GREY_BOX,
    tags=_common.TAGS,
    references=("arXiv:2308.12143",),
    tier=Tier.THOROUGH,
)

CROP_GRID = tuple(np.linspace(0.95, 0.70, 10).tolist())
"""Shares of the sides that the paper crops to."""


@dataclass(frozen=True, slots=True)
class PfamiConfig:
    """Timesteps and crops of the authors' statistic variant."""

    timesteps: tuple[int, ...] = tuple(range(0, 500, 50))
    """Timesteps of the errors, one noise each."""
    crops: tuple[float, ...] = (CROP_GRID[5],)
    """Shares of the sides that records are cropped to."""
    floor: float = 1e-6
    """Smallest denominator."""
    condition: str = "caption"
    """Text that predictions are conditioned on."""

    def __post_init__(self) -> None:
        _common.check_timesteps(*self.timesteps, name="timesteps")
        _common.check_positive(floor=self.floor)
        _common.check_condition(self.condition)
        if not self.crops or not all(0 < crop <= 1 for crop in self.crops):
            raise UsageError(f"crops must be shares above 0 and up to 1, got {self.crops}")


def default_config(capabilities: DiffusionCapabilities) -> PfamiConfig:
    """Timesteps 0 to 450 on the target's schedule, one crop."""
    return PfamiConfig(
        timesteps=_common.scaled(capabilities, range(0, 500, 50)),
        condition=default_condition(capabilities),
    )


def applicable(capabilities: DiffusionCapabilities) -> str | None:
    """None for every diffusion model, else the reason."""
    return _common.needs_diffusion(capabilities)


def requests(config: PfamiConfig) -> tuple[Request, ...]:
    """Errors on the record and on each crop, same noises."""
    whole = _errors(config, 1.0)
    cropped = [request for crop in config.crops for request in _errors(config, crop)]
    return tuple(dict.fromkeys((*whole, *cropped)))


def score(
    observations: Observations, config: PfamiConfig, calibration: Calibration | None = None
) -> NDArray[np.float64]:
    """(n,) mean relative rise of the error; higher means more likely a member."""
    whole = _common.answers(observations, _errors(config, 1.0))
    rises = [
        (_common.answers(observations, _errors(config, crop)) - whole)
        / np.maximum(whole, config.floor)
        for crop in config.crops
    ]
    return np.stack(rises).mean(axis=(0, 2))


def _errors(config: PfamiConfig, crop: float) -> tuple[NoiseError, ...]:
    return tuple(NoiseError(t=t, condition=config.condition, crop=crop) for t in config.timesteps)
