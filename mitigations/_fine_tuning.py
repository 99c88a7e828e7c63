"""What the mitigations that fine-tune have in common: a base model and records in, weights out."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from attacks.errors import UsageError
from attacks.manifest import Capabilities, DiffusionCapabilities
from mitigations.material import Examples, Material
from mitigations.training import Fitted, Practice, Recipe, changed_weights, fit, whole_copy

if TYPE_CHECKING:
    from torch import Tensor

SMALL_RATE, LARGE_RATE = 6e-4, 1e-5
"""Learning rates of whole U-Nets: small ones, and those of the size of Stable Diffusion."""
SCHEDULE = 1000
"""Length of the noise schedule that default timesteps are stated on."""


def usual_rate(capabilities: Capabilities) -> float:
    """The learning rate for a model of this size."""
    is_large = isinstance(capabilities, DiffusionCapabilities) and capabilities.is_large
    return LARGE_RATE if is_large else SMALL_RATE


def is_diffusion(capabilities: Capabilities) -> str | None:
    """None for diffusion models, else the reason."""
    if isinstance(capabilities, DiffusionCapabilities):
        return None
    return "it fine-tunes the U-Net of a diffusion model"


def needs_text(capabilities: Capabilities) -> str | None:
    """None for diffusion models that take text, else the reason."""
    if isinstance(capabilities, DiffusionCapabilities) and capabilities.is_text_conditional:
        return None
    return "it needs a diffusion model that takes text"


def members_of(material: Material) -> Examples:
    """The records to train on; raises UsageError without them."""
    if material.members is None or not len(material.members):
        raise UsageError("there is no record to train on; pass --members")
    return material.members


def fine_tuned(
    material: Material, recipe: Recipe, practice: Practice, title: str
) -> tuple[Any, Fitted]:
    """The whole network, trained on the members, as a view; and how that went.

    Raises UsageError if the training diverges.
    """
    tuned = whole_copy(material.target)
    fitted = fit(
        tuned,
        members_of(material),
        recipe,
        seed=material.seed,
        chunk=material.batch_size,
        practice=practice,
        told=told(material, title),
    )
    if not fitted.is_finite:
        raise UsageError(
            f"training diverged after {fitted.steps} steps; lower learning_rate "
            f"({recipe.learning_rate:g})"
        )
    return tuned, fitted


def told(material: Material, title: str) -> Callable[[int, int], None]:
    """Progress of a training under a title."""
    return lambda done, total: material.on_progress(title, done, total)


def weights_of(material: Material, tuned: Any) -> dict[str, Tensor]:
    """What changed, in the target's own precision."""
    unet = copy.deepcopy(tuned.unet).to(material.target.unet.dtype)
    return changed_weights(material.target.unet, unet)


def noise_losses(
    view: Any, examples: Examples, timesteps: tuple[int, ...], seed: int, batch_size: int
) -> NDArray[np.float64]:
    """(n,) mean square noise errors at fixed timesteps, one fixed noise each."""
    from mitigations.memcontrol.measures import Probe, losses

    last = view.capabilities.n_timesteps - 1
    return losses(
        view, examples, Probe(tuple(min(t, last) for t in timesteps), 1, seed, batch_size)
    )
