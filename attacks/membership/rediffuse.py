"""ReDiffuse: the mean of many variations of a member comes back to the member.

Idea: the record is noised and denoised several times; on a member the errors of the variations
are centred on zero, so their average is close to the record. Images only: this is the attack for
a hosted image-to-image service.
Citation: Li et al., "Towards Black-Box Membership Inference Attack for Diffusion Models", ICML
2025, arXiv:2405.20771.
Score: structural similarity to the mean variation (`ssim`), or minus the mean squared difference
(`mse`), on pixels in [0, 1]. Higher means more likely a member.
Our reading: large latent models are noised to t = 10, denoised in one step and compared by
similarity, as in the paper; small ones to t = 200, in steps of 100, and compared by the plain
squared difference, where the paper trains a network on labelled records. Images are averaged
before the distance is taken: averaging the distances would be a weaker statistic.
Cost: n x t / k forward calls: 10 x 2 = 20, or 10 x 1 for large models.
Invalid when: the service changes the image by other means than noise, or members are smoother
than nonmembers, since smooth images come back better in any model; the blind baseline checks.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from attacks.errors import UsageError, did_you_mean
from attacks.manifest import Access, DiffusionCapabilities, Manifest, Tier
from attacks.membership import _common
from attacks.observations import (
    Calibration,
    Observations,
    Request,
    VariationDistance,
    default_condition,
)

MANIFEST = Manifest(
    id="MIA010",
    name="rediffuse",
    title="Averaged variations (ReDiffuse)",
    goal=_common.GOAL,
    access=Access.BLACK_BOX,
    tags=_common.TAGS,
    references=("arXiv:2405.20771",),
    tier=Tier.THOROUGH,
)

DISTANCES = ("ssim", "mse")


@dataclass(frozen=True, slots=True)
class RediffuseConfig:
    """How variations are made, and how their mean is compared; defaults for small models."""

    t: int = 200
    """Timestep that the record is noised to."""
    k: int = 100
    """Width of one denoising step."""
    n: int = 10
    """Variations that are averaged."""
    distance: Literal["ssim", "mse"] = "mse"
    """Structural similarity, or mean squared difference."""
    condition: str = "caption"
    """Text that variations are conditioned on."""

    def __post_init__(self) -> None:
        _common.check_positive(t=self.t, k=self.k, n=self.n)
        _common.check_condition(self.condition)
        if self.distance not in DISTANCES:
            hint = did_you_mean(self.distance, DISTANCES)
            raise UsageError(f"unknown distance '{self.distance}'; {hint}")


def default_config(capabilities: DiffusionCapabilities) -> RediffuseConfig:
    """From t = 200 in steps of 100, or from 10 in one step, in proportion to the schedule."""
    condition = default_condition(capabilities)
    if capabilities.is_large:
        k = max(1, capabilities.n_timesteps // 100)
        return RediffuseConfig(t=k, k=k, distance="ssim", condition=condition)
    k = max(1, capabilities.n_timesteps // 10)
    return RediffuseConfig(t=2 * k, k=k, condition=condition)


def applicable(capabilities: DiffusionCapabilities) -> str | None:
    """None for every diffusion model, else the reason."""
    return _common.needs_diffusion(capabilities)


def requests(config: RediffuseConfig) -> tuple[Request, ...]:
    """The distance to the mean of the variations."""
    return (_request(config),)


def score(
    observations: Observations, config: RediffuseConfig, calibration: Calibration | None = None
) -> NDArray[np.float64]:
    """(n,) similarity to the mean variation; higher means more likely a member."""
    similarity, squared_error = _common.answer(observations, _request(config)).T
    return similarity.copy() if config.distance == "ssim" else -squared_error


def _request(config: RediffuseConfig) -> VariationDistance:
    return VariationDistance(t=config.t, k=config.k, n=config.n, condition=config.condition)
