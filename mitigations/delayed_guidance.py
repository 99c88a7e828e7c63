"""Delayed guidance: no guidance while an image could still fall into a memorized one.

Idea: classifier-free guidance inside the attraction basin of a memorized image draws it in. Before
    a transition the drawing follows the prediction for the empty text (scale 0) or the plain
    conditional one (scale 1); after it, the usual guidance.
Citation: Jain et al., "Classifier-Free Guidance inside the Attraction Basin May Cause
    Memorization", arXiv:2411.16738.
Transition: `static` at timestep t, or `dynamic` at the first local minimum of ||eps_c - eps_0||,
    image by image; ordinary prompts may have no minimum, so `latest` caps it (our reading).
Cost: none; both predictions are there anyway.
Limits: without guidance (scale 1) it does nothing; a late transition loses the prompt; whoever has
    the weights leaves it out.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from attacks.errors import UsageError
from attacks.manifest import Capabilities, DiffusionCapabilities
from mitigations._transition import TransitionFilter, When, check_transition, needs_guidance
from mitigations.manifest import Guarantee, Manifest
from mitigations.material import Change, Material

DECIDES_THE_STEP = True
MANIFEST = Manifest(
    id="MIT007",
    name="delayed_guidance",
    title="Delayed guidance",
    guarantee=Guarantee.FILTER,
    references=("arXiv:2411.16738",),
    limits="It protects nothing once the weights are released, and memorized images that appear "
    "without guidance.",
)


@dataclass(frozen=True, slots=True)
class DelayedGuidanceConfig:
    """When guidance begins, and what is there before."""

    when: When = "static"
    """`static`: at timestep t; `dynamic`: at the first local minimum."""
    t: int = 500
    """Largest timestep with guidance, with `static`."""
    scale_before: float = 0.0
    """0: the prediction for the empty text; 1: the plain conditional one."""
    latest: float = 0.6
    """Share of the steps after which guidance begins in any case, with `dynamic`. Our choice."""

    def __post_init__(self) -> None:
        check_transition(self.t, self.latest)
        if not 0 <= self.scale_before <= 1:
            raise UsageError(
                f"scale_before must lie between 0 and 1, got {self.scale_before}; negative scales "
                "are opposite_guidance"
            )


def default_config(capabilities: Capabilities) -> DelayedGuidanceConfig:
    """Timestep 500 of 1000."""
    assert isinstance(capabilities, DiffusionCapabilities)
    (t,) = capabilities.scaled(500)
    return DelayedGuidanceConfig(t=t)


def applicable(capabilities: Capabilities) -> str | None:
    """None for models that take text, else the reason."""
    return needs_guidance(capabilities)


def apply(material: Material, config: DelayedGuidanceConfig) -> Change:
    """The settings; nothing is learned."""
    return Change(filter=dataclasses.asdict(config))


def open_filter(settings: Mapping[str, Any], tensors: Mapping[str, Any]) -> TransitionFilter:
    """The filter of stored settings."""
    return TransitionFilter(
        settings["scale_before"], settings["when"], settings["t"], settings["latest"]
    )
