"""SimA: one call on the clean record; the predicted noise is small on members.

Idea: the predicted noise points away from where the learned density is high; at a training
record it is nearly zero. The record is fed as it is, with nothing added.
Citation: Rao, Qu, Moyer, "SimA", 2025, arXiv:2509.25003.
Score: minus the mean of |eps_theta(x, t)|^p (without the root, which keeps the ranking). Higher
means more likely a member.
Cost: 1 forward call; at the default t = 0 it is the one that PIA, PIAN and SecMI make anyway.
Invalid when: members and nonmembers differ in texture, since the size of the prediction follows
image complexity; the blind baseline checks. On large latent models expect nothing.
Our reading: the paper scans t; a scan on the audited records would be fitting, so t is fixed.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from attacks.manifest import Access, DiffusionCapabilities, Manifest
from attacks.membership import _common
from attacks.observations import Calibration, CleanNorms, Observations, Request, default_condition

MANIFEST = Manifest(
    id="MIA004",
    name="sima",
    title="Single-call score norm (SimA)",
    goal=_common.GOAL,
    access=Access.GREY_BOX,
    tags=_common.TAGS,
    references=("arXiv:2509.25003",),
)


@dataclass(frozen=True, slots=True)
class SimaConfig:
    """Timestep and exponent of the one call."""

    t: int = 0
    """Timestep that the clean record is fed with."""
    p: int = 4
    """Exponent of the prediction."""
    condition: str = "caption"
    """Text that predictions are conditioned on."""

    def __post_init__(self) -> None:
        _common.check_timesteps(self.t)
        _common.check_exponent(self.p)
        _common.check_condition(self.condition)


def default_config(capabilities: DiffusionCapabilities) -> SimaConfig:
    """Timestep 0, whose call the proximal attacks share."""
    return SimaConfig(condition=default_condition(capabilities))


def applicable(capabilities: DiffusionCapabilities) -> str | None:
    """None for every diffusion model, else the reason."""
    return _common.needs_diffusion(capabilities)


def requests(config: SimaConfig) -> tuple[Request, ...]:
    """The norms of one prediction on the clean record."""
    return (_request(config),)


def score(
    observations: Observations, config: SimaConfig, calibration: Calibration | None = None
) -> NDArray[np.float64]:
    """(n,) minus the size of the prediction; higher means more likely a member."""
    return -_common.norm(observations, _request(config), p=config.p)


def _request(config: SimaConfig) -> CleanNorms:
    return CleanNorms(t=config.t, condition=config.condition)
