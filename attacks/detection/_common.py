"""What the detectors share: their label, what they are told, and reading of recordings."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from attacks.errors import InternalError, UsageError
from attacks.manifest import DiffusionCapabilities
from attacks.observations import Observations, Request

GOAL = "decide whether a prompt makes the model emit an image that it memorized"
"""What every detector decides."""
TAGS = ("edpb:55(i)", "atlas:AML.T0024.000")
"""Framework references of every detector."""


@dataclass(frozen=True, slots=True)
class Setting:
    """How images are drawn while the detectors watch."""

    steps: int = 50
    """Denoising steps of a whole trajectory."""
    guidance: float = 7.5
    """Scale of classifier-free guidance."""
    seeds: int = 4
    """Seeds of the initial noise for each prompt."""

    def __post_init__(self) -> None:
        if self.steps < 1 or self.seeds < 1:
            raise UsageError(f"steps and seeds count from 1, got {self.steps} and {self.seeds}")
        if not self.guidance > 1:
            raise UsageError(f"guidance must be above 1 for a detector, got {self.guidance:g}")


@dataclass(frozen=True, slots=True)
class Recordings:
    """What was recorded of p prompts with s seeds each."""

    answers: Observations
    """Request -> (p, s, ...)."""
    ends: NDArray[np.integer]
    """(p,) position of the end token of each prompt among its tokens."""

    def of(self, request: Request) -> NDArray[np.float64]:
        """The array that answers a request, in double precision."""
        return np.asarray(self.raw(request), dtype=np.float64)

    def raw(self, request: Request) -> NDArray:
        """The array that answers a request, as stored."""
        try:
            return self.answers[request]
        except KeyError:
            raise InternalError(f"no recording answers {request.key}") from None


def needs_text(capabilities: DiffusionCapabilities) -> str | None:
    """A reason if the model takes no text, else None."""
    if capabilities.family != "diffusion":
        return f"needs a diffusion model, and this target is of the family '{capabilities.family}'"
    if not capabilities.is_text_conditional:
        return "needs a model that takes text, and this target takes none"
    return None


def needs_two_seeds(setting: Setting, name: str) -> None:
    """Refuse a setting in which seeds cannot be compared."""
    if setting.seeds < 2:
        raise UsageError(f"{name} compares seeds, and there is one; use --seeds 2 or more")
