"""Guidance that changes at a transition: what delayed and opposite guidance share.

While an image is inside the attraction basin of a memorized one, d_t = ||eps_c - eps_0|| stays
high, and falls once it has left. The transition is a fixed timestep, or the first local minimum of
d over the steps, image by image. A minimum is known one step later, when d has risen again.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

from attacks.errors import UsageError
from attacks.manifest import Capabilities, DiffusionCapabilities
from mitigations.filters import Drawing, Filter

if TYPE_CHECKING:
    from torch import Tensor

When = Literal["static", "dynamic"]
"""A fixed timestep, or the first local minimum."""


def needs_guidance(capabilities: Capabilities) -> str | None:
    """None for models that take text, else the reason."""
    is_text = isinstance(capabilities, DiffusionCapabilities) and capabilities.is_text_conditional
    return None if is_text else "it takes no text, so that nothing guides the drawing"


def check_transition(t: int, latest: float) -> None:
    """Refuse a timestep or a share that cannot be."""
    if t < 0:
        raise UsageError(f"t must be a timestep, at least 0, got {t}")
    if not 0 <= latest <= 1:
        raise UsageError(f"latest must lie between 0 and 1, got {latest}")


def first_minimum(distances: Sequence[float]) -> int | None:
    """Index of the first local minimum: the last value before the first rise after a fall.

    None where there is none: monotone or too short a sequence.
    """
    has_fallen = False
    for i in range(1, len(distances)):
        if distances[i] < distances[i - 1]:
            has_fallen = True
        elif distances[i] > distances[i - 1] and has_fallen:
            return i - 1
    return None


class TransitionFilter(Filter):
    """Another scale of guidance before the transition, and the caller's own after it."""

    decides_the_step = True

    def __init__(self, before: float, when: When, t: int, latest: float):
        """Remember the settings.

        before: scale before the transition: 0 gives eps_0, 1 gives eps_c, negative ones point away
        from the prompt; t: with `static`, the largest timestep with the caller's guidance; latest:
        with `dynamic`, share of the steps after which the caller's guidance is used in any case.
        """
        self.before, self.when, self.t, self.latest = before, when, t, latest

    def begins(self, drawing: Drawing) -> Any:
        """Forget the images before these."""
        self._number = 0
        self._limit = round(self.latest * len(drawing.timesteps))
        self._last: Tensor | None = None
        self._has_fallen: Tensor | None = None
        self._has_passed: Tensor | None = None
        return super().begins(drawing)

    def on_step(self, eps_c: Tensor, eps_0: Tensor | None, x_t: Tensor, t: int) -> Tensor:
        """eps_0 + s (eps_c - eps_0) with the scale s of this image at this step."""
        if eps_0 is None:
            return eps_c
        usual = super().on_step(eps_c, eps_0, x_t, t)
        if self.when == "static":
            return usual if t <= self.t else eps_0 + self.before * (eps_c - eps_0)
        import torch

        passed = self._watch((eps_c - eps_0).flatten(1).norm(dim=1))
        early = eps_0 + self.before * (eps_c - eps_0)
        return torch.where(passed.reshape(-1, 1, 1, 1), usual, early)

    def _watch(self, d: Tensor) -> Tensor:
        """(n,) which images have passed the transition, after their distance at this step."""
        import torch

        if self._last is None or self._has_fallen is None or self._has_passed is None:
            self._has_fallen = torch.zeros_like(d, dtype=torch.bool)
            self._has_passed = torch.zeros_like(d, dtype=torch.bool)
        else:
            self._has_passed = self._has_passed | (self._has_fallen & (d > self._last))
            self._has_fallen = self._has_fallen | (d < self._last)
        self._last = d
        if self._number >= self._limit:
            self._has_passed = torch.ones_like(self._has_passed)
        self._number += 1
        return self._has_passed
