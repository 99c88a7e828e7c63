"""Subspace pruning: zero the weights that memorized prompts use more than a reference.

Idea: `auditor probe` marks weights of the second linear layer of every feed-forward block that are
    among the highest of their row under memorized prompts and more active than under the reference;
    they are set to zero, once and for all. Sampling is unchanged.
Citation: Chavhan et al., "Memorized Images in Diffusion Models share a Subspace that can be Located
    and Deleted", arXiv:2406.18566; ConceptPrune, arXiv:2405.19237.
Masks: those of --masks, or found here, from --prompts against --reference or, without it, against
    the empty prompt, over the first steps of a guided drawing of one seed.
Ours: the masks `consensus` and `mem_minus_non`, and the control that zeroes as many weights of
    every row at random (`control=random`): what a mask does beyond it is what it has found.
Cost: none when images are drawn.
Limits: what the audited prompts no longer draw may still be there. An attack on the prompt's
    embedding brings most of it back (Kowalczuk et al., arXiv:2507.16880), and the places of the
    zeros say what was pruned (Zhang et al., arXiv:2603.06640).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from attacks.errors import UsageError
from attacks.manifest import Capabilities, DiffusionCapabilities
from attacks.probing.masks import Bools, Masks
from attacks.probing.overlap import random_like
from mitigations.manifest import Guarantee, Manifest, Need
from mitigations.material import Change, Material

if TYPE_CHECKING:
    from torch import Tensor

FILE = "masks.safetensors"
"""Where the directory of a probe has its masks."""
MANIFEST = Manifest(
    id="MIT009",
    name="prune",
    title="Subspace pruning",
    guarantee=Guarantee.WEIGHT_EDIT,
    references=("arXiv:2406.18566", "arXiv:2405.19237"),
    any_of=(Need.MASKS, Need.PROMPTS),
    takes=(Need.REFERENCE,),
    limits="The memorized images may still be drawn from other embeddings, and the places of the "
    "zeros disclose what was pruned.",
)

Which = Literal["whole", "union", "consensus", "mem_minus_non"]
"""Of all memorized prompts together; of any set; of every set; without what ordinary ones use."""
Control = Literal["none", "random"]
"""`random` prunes as many weights of every row at random in place of the marked ones."""


@dataclass(frozen=True, slots=True)
class PruneConfig:
    """Which of the masks is pruned."""

    mask: Which = "whole"
    """With --masks: `whole`, `union`, `consensus` or `mem_minus_non`."""
    control: Control = "none"
    """`random`: as many zeros in every row, at random places."""
    sparsity: float = 0.01
    """With --prompts: share of each row that a step can mark at most."""
    first_steps: int = 10
    """With --prompts: steps from the first one whose masks are joined."""
    select_ratio: float = 0.0
    """With --prompts: a weight is kept if marked at more than this share of those steps."""


def default_config(capabilities: Capabilities) -> PruneConfig:
    """The paper's mask."""
    return PruneConfig()


def applicable(capabilities: Capabilities) -> str | None:
    """None for models that take text, else the reason."""
    is_text = isinstance(capabilities, DiffusionCapabilities) and capabilities.is_text_conditional
    return None if is_text else "it takes no prompts, so that none can be suppressed"


def apply(material: Material, config: PruneConfig) -> Change:
    """The pruned weights; raises UsageError for masks of another model."""
    if material.masks is not None and material.prompts:
        raise UsageError("prune takes --masks or --prompts, not both; leave one out")
    if material.masks is not None:
        marked = read_masks(material.masks).chosen(config.mask)
    else:
        marked = found_masks(material, config)
    weights = weights_of(material.target.unet, marked)
    if config.control == "random":
        rng = np.random.default_rng(material.seed)
        marked = {name: random_like(mask, rng) for name, mask in marked.items()}
    n_marked = sum(int(one.sum()) for one in marked.values())
    n_probed = sum(one.size for one in marked.values())
    if not n_marked:
        raise UsageError(
            f"the mask `{config.mask}` marks no weight; probe with a higher sparsity, or choose "
            "another mask with --option mask=NAME or other prompts"
        )
    n_model = sum(p.numel() for p in material.target.unet.parameters())
    notes: tuple[str, ...] = ()
    if config.control == "random":
        notes = ("A control: the zeros are at random places, as many in every row as the mask.",)
    return Change(
        weights=pruned(weights, marked),
        facts={
            "weights_zeroed": n_marked,
            "share_of_probed_layers": round(n_marked / n_probed, 6),
            "share_of_model": round(n_marked / n_model, 6),
            "layers": len(marked),
        },
        notes=notes,
    )


def read_masks(folder: Path) -> Masks:
    """The masks of a probe; folder: what `auditor probe` wrote, or the file itself."""
    path = folder / FILE if folder.is_dir() else folder
    if not path.is_file():
        raise UsageError(f"--masks has no {FILE}; pass the directory that `auditor probe` wrote")
    return Masks.from_bytes(path.read_bytes())


def found_masks(material: Material, config: PruneConfig) -> Bools:
    """The mask of the prompts against the reference, joined over the first steps."""
    import torch

    from attacks.probing.wanda import TimeUnion, WandaConfig, step_mask

    if material.activity is None:
        raise UsageError("prune needs --masks here: nothing can watch the model")
    settings = WandaConfig(config.sparsity, config.first_steps, config.select_ratio)
    ours = material.activity(material.prompts, config.first_steps)
    others = material.activity(material.reference or ("",), config.first_steps)
    layers = dict(material.target.unet.named_modules())
    found: Bools = {}
    for name, activity in ours.items():
        weight = layers[name].weight.detach().float().cpu()
        union = TimeUnion(settings)
        for own, other in zip(activity, others[name], strict=True):
            rms = torch.from_numpy(np.stack([own, other])).float()
            union.add(step_mask(weight, rms[0], rms[1], settings))
        found[name] = union.mask.numpy()
    return found


def weights_of(unet: Any, marked: Mapping[str, NDArray[np.bool_]]) -> dict[str, Tensor]:
    """Parameter -> weight (o, d) of every marked layer. Raises UsageError for another model."""
    modules = dict(unet.named_modules())
    found: dict[str, Tensor] = {}
    for name, mask in marked.items():
        weight = getattr(modules.get(name), "weight", None)
        if weight is None or tuple(weight.shape) != mask.shape:
            raise UsageError(
                f"the masks are of another model: it has no layer '{name}' of shape {mask.shape}; "
                "probe this model"
            )
        found[f"{name}.weight"] = weight.detach()
    return found


def pruned(
    weights: Mapping[str, Tensor], marked: Mapping[str, NDArray[np.bool_]]
) -> dict[str, Tensor]:
    """Parameter -> a copy (o, d) with zeros where its layer is marked."""
    import torch

    return {
        name: weight.masked_fill(
            torch.from_numpy(marked[name.removesuffix(".weight")]).to(weight.device), 0.0
        )
        for name, weight in weights.items()
    }


@contextmanager
def masked_steps(unet: Any, by_step: list[Bools]) -> Iterator[None]:
    """A check of the permanent edit: prunes at every call of the U-Net by the mask of that call.

    by_step: the masks of the first calls in their order; the last one holds for those after them.
    The weights are as they were afterwards.
    """
    own = {name: w.clone() for name, w in weights_of(unet, by_step[0]).items()}
    parameters = dict(unet.named_parameters())
    at = 0

    def before(module: Any, args: Any, kwargs: Any) -> None:
        nonlocal at
        for name, weight in pruned(own, by_step[min(at, len(by_step) - 1)]).items():
            parameters[name].data.copy_(weight)
        at += 1

    hook = unet.register_forward_pre_hook(before, with_kwargs=True)
    try:
        yield
    finally:
        hook.remove()
        for name, weight in own.items():
            parameters[name].data.copy_(weight)
