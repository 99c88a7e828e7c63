"""Opposite guidance: away from the prompt until an image has left the basin of a memorized one.

Idea: as delayed guidance, but before the transition the step is eps_0 - s (eps_c - eps_0), which
    drives the drawing out of the attraction basin instead of letting it drift.
Citation: Jain et al., "Classifier-Free Guidance inside the Attraction Basin May Cause
    Memorization", arXiv:2411.16738; their code uses s = 2 until timestep 650.
Transition: `static` at timestep t, or `dynamic` at the first local minimum of ||eps_c - eps_0||,
    image by image; `latest` caps it (our reading). Their code finds the minimum in a pass of its
    own; here it is watched on the way (our reading).
Cost: none; both predictions are there anyway.
Limits: without guidance (scale 1) it does nothing; it can leave the range of natural images; whoever
    has the weights leaves it out.
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
    id="MIT008",
    name="opposite_guidance",
    title="Opposite guidance",
    guarantee=Guarantee.FILTER,
    references=("arXiv:2411.16738",),
    limits="It protects nothing once the weights are released, and memorized images that appear "
    "without guidance.",
)


@dataclass(frozen=True, slots=True)
class OppositeGuidanceConfig:
    """When usual guidance begins, and how strongly the drawing is pushed away before."""

    when: When = "static"
    """`static`: at timestep t; `dynamic`: at the first local minimum."""
    t: int = 650
    """Largest timestep with usual guidance, with `static`."""
    scale: float = 2.0
    """s of eps_0 - s (eps_c - eps_0) before the transition."""
    latest: float = 0.4
    """Share of the steps after which usual guidance begins in any case, with `dynamic`. Our
    choice."""

    def __post_init__(self) -> None:
        check_transition(self.t, self.latest)
        if self.scale <= 0:
            raise UsageError(f"scale must be positive, got {self.scale}; 0 is delayed_guidance")


def default_config(capabilities: Capabilities) -> OppositeGuidanceConfig:
    """Timestep 650 of 1000."""
    assert isinstance(capabilities, DiffusionCapabilities)
    (t,) = capabilities.scaled(650)
    return OppositeGuidanceConfig(t=t)


def applicable(capabilities: Capabilities) -> str | None:
    """None for models that take text, else the reason."""
    return needs_guidance(capabilities)


def apply(material: Material, config: OppositeGuidanceConfig) -> Change:
    """The settings; nothing is learned."""
    return Change(filter=dataclasses.asdict(config))


def open_filter(settings: Mapping[str, Any], tensors: Mapping[str, Any]) -> TransitionFilter:
    """The filter of stored settings."""
    return TransitionFilter(-settings["scale"], settings["when"], settings["t"], settings["latest"])
