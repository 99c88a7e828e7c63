"""PIA: the model's own answer on the clean record is the noise it should predict again.

Idea: the prediction e0 on the clean record is used as the noise; on a member the prediction e1
at timestep t agrees with it. No random noise is drawn, so the score has no sampling variance.
Citation: Kong et al., "An Efficient Membership Inference Attack for the Diffusion Model by
Proximal Initialization", ICLR 2024, arXiv:2305.18355.
Score: minus the mean of |e0 - e1|^p (without the root, which keeps the ranking). Higher means
more likely a member.
Cost: 2 forward calls, one of them shared with PIAN, SimA and SecMI.
Invalid when: guidance is switched on, latents are normalised as if they were pixels, or the
schedule is not the model's own; all three are ruled out here, not in the published scripts.
Training with augmented records weakens it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from attacks.manifest import Access, DiffusionCapabilities, Manifest
from attacks.membership import _common
from attacks.observations import (
    Calibration,
    Observations,
    ProximalError,
    Request,
    default_condition,
)

MANIFEST = Manifest(
    id="MIA002",
    name="pia",
    title="Proximal initialisation (PIA)",
    goal=_common.GOAL,
    access=Access.GREY_BOX,
    tags=_common.TAGS,
    references=("arXiv:2305.18355",),
)


@dataclass(frozen=True, slots=True)
class PiaConfig:
    """Timestep and exponent of the paper for small pixel models."""

    t: int = 200
    """Timestep of the second call."""
    p: int = 4
    """Exponent of the difference."""
    condition: str = "caption"
    """Text that predictions are conditioned on."""

    def __post_init__(self) -> None:
        _common.check_timesteps(self.t)
        _common.check_exponent(self.p)
        _common.check_condition(self.condition)


def default_config(capabilities: DiffusionCapabilities) -> PiaConfig:
    """Timestep 200, or 500 for large latent models, on the target's schedule."""
    (t,) = capabilities.scaled(500 if capabilities.is_large else 200)
    return PiaConfig(t=t, condition=default_condition(capabilities))


def applicable(capabilities: DiffusionCapabilities) -> str | None:
    """None for every diffusion model, else the reason."""
    return _common.needs_diffusion(capabilities)


def requests(config: PiaConfig) -> tuple[Request, ...]:
    """The proximal error at one timestep."""
    return (_request(config),)


def score(
    observations: Observations, config: PiaConfig, calibration: Calibration | None = None
) -> NDArray[np.float64]:
    """(n,) minus the proximal error; higher means more likely a member."""
    return -_common.norm(observations, _request(config), p=config.p)


def _request(config: PiaConfig) -> ProximalError:
    return ProximalError(t=config.t, condition=config.condition)
