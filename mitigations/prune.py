"""Subspace pruning: the weights that memorized prompts use most become zero, for good.

Idea: masks of the second linear layer of every feed-forward block, found by contrasting memorized
    prompts with the empty one (probe `wanda`), are applied to the weights once.
Citation: Chavhan et al., "Memorized Images in Diffusion Models share a Subspace that can be Located
    and Deleted", arXiv:2406.18566; scores of Sun et al., arXiv:2306.11695.
Masks: those of --masks, or found here from --prompts against --reference or, without it, the empty
    prompt. Steps whose masks are joined: the first ones of 50 with guidance 7.5 and one seed.
Control: `control=random` zeroes as many weights in every row, at random places. A pruning that does
    no better than this control has located nothing.
Check: `masked_steps` applies the masks step by step through hooks instead; with one mask for all
    steps it draws the images of the pruned model.
Limits: suppressed for the audited prompts is not erased: other embeddings can bring the images
    back; and the zeros show where the mask was.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from attacks.errors import UsageError
from attacks.manifest import Capabilities
from mitigations._transition import needs_guidance
from mitigations.manifest import Guarantee, Manifest, Need
from mitigations.material import Change, Material

if TYPE_CHECKING:
    from attacks.probing.masks import Bools

FILE = "masks.safetensors"
"""Name of the masks in what `auditor probe` writes."""
MANIFEST = Manifest(
    id="MIT001",
    name="prune",
    title="Subspace pruning",
    guarantee=Guarantee.WEIGHT_EDIT,
    references=("arXiv:2406.18566", "arXiv:2306.11695"),
    any_of=(Need.MASKS, Need.PROMPTS),
    takes=(Need.REFERENCE,),
    limits="Other embeddings may bring the images back, and the zeros show where the mask was.",
)


@dataclass(frozen=True, slots=True)
class PruneConfig:
    """Which weights become zero; the published code's defaults."""

    mask: Literal["whole", "union", "consensus", "mem_minus_non"] = "whole"
    """With --masks: which of its masks."""
    control: Literal["none", "random"] = "none"
    """`random`: as many weights in every row, at random places."""
    sparsity: float = 0.01
    """With --prompts: share of each row that a step can mark at most."""
    first_steps: int = 10
    """With --prompts: steps from the first one whose masks are joined."""
    select_ratio: float = 0.0
    """With --prompts: a weight is kept if marked at more than this share of those steps."""


def default_config(capabilities: Capabilities) -> PruneConfig:
    """The published code's defaults."""
    return PruneConfig()


def applicable(capabilities: Capabilities) -> str | None:
    """None for models that take text, else the reason."""
    return needs_guidance(capabilities)


def apply(material: Material, config: PruneConfig) -> Change:
    """The pruned weights of every marked layer."""
    if material.masks is not None and material.prompts:
        raise UsageError("prune takes --masks or --prompts, not both; leave one out")
    masks = _read(material.masks, config) if material.masks else _found(material, config)
    if config.control == "random":
        from attacks.probing.overlap import random_like

        rng = np.random.default_rng(material.seed)
        masks = {name: random_like(mask, rng) for name, mask in masks.items()}
    weights = pruned(material.target.unet, masks)
    n_marked = sum(int(mask.sum()) for mask in masks.values())
    n_all = sum(mask.size for mask in masks.values())
    n_model = sum(p.numel() for p in material.target.unet.parameters())
    notes = []
    if not n_marked:
        notes.append("no weight was marked, so that nothing was changed")
    if config.control == "random":
        notes.append("this is the control: random places, as many in every row as the mask has")
    return Change(
        weights=weights,
        facts={
            "pruned_weights": n_marked,
            "share_of_layers": round(n_marked / max(1, n_all), 6),
            "share_of_model": round(n_marked / max(1, n_model), 6),
            "layers": len(masks),
        },
        notes=tuple(notes),
    )


def pruned(unet: Any, masks: Bools) -> dict[str, Any]:
    """Parameter -> its values with zeros at the marks; only layers with marks.

    Raises UsageError for a mask whose layer or shape the U-Net does not have.
    """
    import torch

    layers = dict(unet.named_modules())
    found = {}
    for name, mask in masks.items():
        weight = getattr(layers.get(name), "weight", None)
        if weight is None or tuple(weight.shape) != mask.shape:
            raise UsageError(
                f"the masks do not fit the model at layer '{name}'; probe this model again"
            )
        if mask.any():
            marked = torch.from_numpy(mask).to(weight.device)
            found[f"{name}.weight"] = weight.detach().masked_fill(marked, 0)
    return found


@contextmanager
def masked_steps(unet: Any, masks: Mapping[str, Sequence[NDArray[np.bool_]]]) -> Iterator[None]:
    """Apply masks through hooks, one for each call of a layer; the last one stays for later calls.

    A check of the permanent pruning: hooks are removed afterwards, and the weights never change.
    """
    import torch

    layers = dict(unet.named_modules())
    hooks = []

    def hook_of(steps: Sequence[NDArray[np.bool_]]) -> Any:
        calls = 0

        def hook(layer: Any, args: tuple[Any, ...], output: Any) -> Any:
            nonlocal calls
            mask = steps[min(calls, len(steps) - 1)]
            calls += 1
            marked = torch.from_numpy(mask).to(layer.weight.device)
            kept = layer.weight.masked_fill(marked, 0)
            return torch.nn.functional.linear(args[0], kept, layer.bias)

        return hook

    try:
        for name, steps in masks.items():
            hooks.append(layers[name].register_forward_hook(hook_of(steps)))
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _read(folder: Path, config: PruneConfig) -> Bools:
    from attacks.probing.masks import Masks

    path = folder / FILE if folder.is_dir() else folder
    if not path.is_file():
        raise UsageError(f"--masks {folder} holds no {FILE}; pass what `auditor probe` wrote")
    return Masks.from_bytes(path.read_bytes()).chosen(config.mask)


def _found(material: Material, config: PruneConfig) -> Bools:
    """The mask of the prompts against the reference, joined over the first steps."""
    import torch

    from attacks.probing.wanda import TimeUnion, WandaConfig, step_mask

    settings = WandaConfig(config.sparsity, config.first_steps, config.select_ratio)
    if material.activity is None:
        raise UsageError("prune needs --masks here; nothing watches the model for it")
    ours = material.activity(material.prompts, config.first_steps)
    others = material.activity(material.reference or ("",), config.first_steps)
    layers = dict(material.target.unet.named_modules())
    found = {}
    for name, activity in ours.items():
        weight = layers[name].weight.detach().float().cpu()
        union = TimeUnion(settings)
        for own, other in zip(activity, others[name], strict=True):
            own, other = (torch.from_numpy(one).float() for one in (own, other))
            union.add(step_mask(weight, own, other, settings))
        found[name] = union.mask.numpy()
    return found
