"""PIAN: PIA with the clean prediction rescaled to the size of Gaussian noise.

Idea: the prediction on the clean record is not distributed like the noise that the model was
trained on; PIAN rescales it to a Gaussian's mean absolute value, sqrt(2/pi), in both places.
Citation: Kong et al., "An Efficient Membership Inference Attack for the Diffusion Model by
Proximal Initialization", ICLR 2024, arXiv:2305.18355.
Our reading: the factor of the authors' code, sqrt(2/pi), is the default; the equation in the
paper sets the mean absolute value to sqrt(pi/2) instead: `normalisation: paper`.
Score: minus the mean of |e0 - e1|^p. Higher means more likely a member.
Cost: 2 forward calls, one of them shared with PIA, SimA and SecMI.
Invalid when: PIA is; and on large latent models, where its own authors report that it fails.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from attacks.errors import UsageError, did_you_mean
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
    id="MIA003",
    name="pian",
    title="Proximal initialisation, normalised (PIAN)",
    goal=_common.GOAL,
    access=Access.GREY_BOX,
    tags=_common.TAGS,
    references=("arXiv:2305.18355",),
)

NORMALISATIONS = ("unit", "paper")


@dataclass(frozen=True, slots=True)
class PianConfig:
    """Timestep, exponent and normalisation; defaults of the authors' code for pixel models."""

    t: int = 200
    """Timestep of the second call."""
    p: int = 4
    """Exponent of the difference."""
    normalisation: Literal["unit", "paper"] = "unit"
    """Mean absolute value that e0 is scaled to: `unit` sqrt(2/pi), `paper` sqrt(pi/2)."""
    condition: str = "caption"
    """Text that predictions are conditioned on."""

    def __post_init__(self) -> None:
        _common.check_timesteps(self.t)
        _common.check_exponent(self.p)
        _common.check_condition(self.condition)
        if self.normalisation not in NORMALISATIONS:
            hint = did_you_mean(self.normalisation, NORMALISATIONS)
            raise UsageError(f"unknown normalisation '{self.normalisation}'; {hint}")


def default_config(capabilities: DiffusionCapabilities) -> PianConfig:
    """Timestep 200, or 500 for large latent models, on the target's schedule."""
    (t,) = capabilities.scaled(500 if capabilities.is_large else 200)
    return PianConfig(t=t, condition=default_condition(capabilities))


def applicable(capabilities: DiffusionCapabilities) -> str | None:
    """None for every diffusion model, else the reason."""
    return _common.needs_diffusion(capabilities)


def requests(config: PianConfig) -> tuple[Request, ...]:
    """The normalised proximal error at one timestep."""
    return (_request(config),)


def score(
    observations: Observations, config: PianConfig, calibration: Calibration | None = None
) -> NDArray[np.float64]:
    """(n,) minus the proximal error; higher means more likely a member."""
    return -_common.norm(observations, _request(config), p=config.p)


def _request(config: PianConfig) -> ProximalError:
    return ProximalError(t=config.t, normalisation=config.normalisation, condition=config.condition)
