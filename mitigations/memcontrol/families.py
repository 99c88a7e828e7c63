"""What is trained where a mask has a 1: four families of parameter-efficient fine-tuning.

| family      | a bit of 1 trains, in the transformer blocks of its attention      | `rest` also trains, whatever the mask          |
|-------------|--------------------------------------------------------------------|------------------------------------------------|
| `lora`      | low-rank adapters on the projections of queries, keys, values, out | nothing                                        |
| `svdiff`    | shifts of the singular values of every matrix                      | the same of all matrices outside these blocks  |
| `difffit`   | scales of each attention's and feed-forward's output, biases, norms| biases and norms everywhere                    |
| `attention` | the attention layers themselves                                    | the rest of the attention blocks               |

`rest` is how the official implementation has it: there a bit of 0 does not freeze its module, and
only 13 of 16 attentions have a bit for two of the families. Without it (the default) a mask of
zeros trains nothing. Our reading: the vectors of norms have no singular values to shift, and
scales exist in attention blocks alone.
Sources: LoRA, arXiv:2106.09685; SVDiff, arXiv:2303.11305; DiffFit, arXiv:2304.06648; MemControl,
arXiv:2405.19458.
"""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from attacks.errors import InternalError, ShapeError, UsageError, did_you_mean
from mitigations.material import EditableDiffusion
from mitigations.memcontrol.blocks import block_names, inner_names

if TYPE_CHECKING:
    from torch import Tensor, nn

FAMILIES = ("lora", "svdiff", "difffit", "attention")
"""Names on the command line."""


@dataclass(frozen=True, slots=True)
class Tuned:
    """Which weights of a U-Net are trained."""

    family: str
    """One of `FAMILIES`."""
    bits: tuple[int, ...]
    """1 or 0 for each attention block."""
    rest: bool = False
    """Whether to train what the official implementation trains whatever the mask."""
    rank: int = 4
    """Of the adapters of `lora`."""

    def __post_init__(self) -> None:
        if self.family not in FAMILIES:
            raise UsageError(
                f"unknown family '{self.family}'; {did_you_mean(self.family, FAMILIES)}"
            )
        if any(bit not in (0, 1) for bit in self.bits):
            raise UsageError("the bits of a mask are 0 and 1")
        if self.rank < 1:
            raise UsageError(f"the rank of adapters is at least 1, got {self.rank}")


def attached(target: EditableDiffusion, tuned: Tuned, *, seed: int) -> EditableDiffusion:
    """A view of a target with a float32 copy of its network in which that alone is trainable.

    The copy predicts exactly what the network does until it is trained. seed: draws the adapters,
    each from its own name, so that masks with a common block begin with the same adapter there.

    Raises ShapeError if the mask has not one bit for each attention block.
    """
    unet = copy.deepcopy(target.unet).float().requires_grad_(False)
    governed = _governed(unet, tuned.bits)
    _ATTACH[tuned.family](unet, governed, tuned, seed)
    found, expected = trainable_count(unet), expected_count(target.unet, tuned)
    if found != expected:
        raise InternalError(f"{found} numbers would be trained in place of {expected}")
    return target.with_unet(unet)


def trainable_count(unet: Any) -> int:
    """Numbers that training would change."""
    return sum(p.numel() for p in unet.parameters() if p.requires_grad)


def merged(unet: Any) -> dict[str, Tensor]:
    """Name in the plain U-Net -> value of every weight that may have been trained."""
    from peft.tuners.lora import LoraLayer
    from torch.nn.utils import parametrize

    weights: dict[str, Tensor] = {}
    for name, module in unet.named_modules():
        if isinstance(module, LoraLayer):
            base = module.get_base_layer()
            weights[f"{name}.weight"] = base.weight + module.get_delta_weight("default")
        elif parametrize.is_parametrized(module):
            for kind in module.parametrizations:
                weights[f"{name}.{kind}"] = getattr(module, kind)
    for name, weight in unet.named_parameters():
        if weight.requires_grad and "parametrizations" not in name and "lora_" not in name:
            weights[name] = weight
    return {name: value.detach().clone() for name, value in weights.items()}


def with_weights(target: EditableDiffusion, weights: dict[str, Tensor]) -> EditableDiffusion:
    """A view of a target whose plain network has these weights, in its own precision."""
    unet = copy.deepcopy(target.unet)
    state = unet.state_dict()
    state |= {name: value.to(state[name].dtype) for name, value in weights.items()}
    unet.load_state_dict(state)
    return target.with_unet(unet.eval().requires_grad_(False))


def _governed(unet: Any, bits: Sequence[int]) -> list[str]:
    """Names of the modules whose bit is 1."""
    blocks = block_names(unet)
    if len(bits) != len(blocks):
        raise ShapeError(
            f"the mask has {len(bits)} bits, the U-Net {len(blocks)} attention blocks; use a mask "
            "that was found on this kind of model"
        )
    chosen = [block for block, bit in zip(blocks, bits, strict=True) if bit]
    return [name for block in chosen for name in inner_names(unet, block)]


def _all_inner(unet: Any) -> list[str]:
    return [name for block in block_names(unet) for name in inner_names(unet, block)]


# --- which weights --------------------------------------------------------------------------


def _attentions(unet: Any, names: Sequence[str]) -> Iterator[tuple[str, Any]]:
    """Attention layers inside modules, the modules themselves included."""
    for outer in names:
        for name, module in unet.get_submodule(outer).named_modules():
            if hasattr(module, "to_q") and hasattr(module, "to_out"):
                yield f"{outer}.{name}".rstrip("."), module


def _projections(unet: Any, names: Sequence[str]) -> list[str]:
    return [
        f"{name}.{layer}"
        for name, _ in _attentions(unet, names)
        for layer in ("to_q", "to_k", "to_v", "to_out.0")
    ]


def _matrices(unet: Any, names: Sequence[str]) -> list[str]:
    """Linear layers and convolutions inside modules."""
    from torch import nn

    return [
        f"{outer}.{name}".strip(".")
        for outer in names
        for name, module in (unet.get_submodule(outer) if outer else unet).named_modules()
        if isinstance(module, nn.Linear | nn.Conv2d)
    ]


def _scaled(unet: Any, names: Sequence[str]) -> list[str]:
    """Last layers of attentions and feed-forward parts inside modules."""
    layers = [f"{name}.to_out.0" for name, _ in _attentions(unet, names)]
    for outer in names:
        for name, module in unet.get_submodule(outer).named_modules():
            net = getattr(module, "net", None)
            if type(module).__name__ == "FeedForward" and net is not None:
                last = max(i for i, layer in enumerate(net) if hasattr(layer, "weight"))
                layers.append(f"{outer}.{name}.net.{last}")
    return layers


def _biases_and_norms(unet: Any, names: Sequence[str]) -> list[str]:
    """Names of biases, and of the weights of norms, inside modules."""
    from torch import nn

    found = []
    for outer in names:
        for name, module in (unet.get_submodule(outer) if outer else unet).named_modules():
            is_norm = isinstance(module, nn.GroupNorm | nn.LayerNorm)
            for kind, weight in module.named_parameters(recurse=False):
                if weight is not None and (is_norm or kind == "bias"):
                    found.append(f"{outer}.{name}.{kind}".replace("..", ".").strip("."))
    return found


def _attention_weights(unet: Any, names: Sequence[str]) -> list[str]:
    return [
        f"{name}.{kind}"
        for name, module in _attentions(unet, names)
        for kind, _ in module.named_parameters()
        if not kind.startswith(("group_norm", "norm"))
    ]


def _sets(unet: Any, tuned: Tuned) -> tuple[list[str], list[str]]:
    """Layers that get a trainable change, and weights that are trained themselves."""
    governed, blocks = _governed(unet, tuned.bits), list(block_names(unet))
    if tuned.family == "lora":
        return _projections(unet, governed), []
    if tuned.family == "svdiff":
        inside = set(_matrices(unet, _all_inner(unet)))
        rest = [name for name in _matrices(unet, [""]) if name not in inside] if tuned.rest else []
        return [*_matrices(unet, governed), *rest], []
    if tuned.family == "difffit":
        return _scaled(unet, governed), _biases_and_norms(unet, [""] if tuned.rest else governed)
    inside = set(_attention_weights(unet, _all_inner(unet)))
    rest = (
        [
            f"{block}.{name}"
            for block in blocks
            for name, _ in unet.get_submodule(block).named_parameters()
            if f"{block}.{name}" not in inside
        ]
        if tuned.rest
        else []
    )
    return [], [*_attention_weights(unet, governed), *rest]


def expected_count(unet: Any, tuned: Tuned) -> int:
    """Numbers that a mask makes trainable, from the shapes of the plain U-Net alone."""
    layers, weights = _sets(unet, tuned)
    shapes = dict(unet.named_parameters())
    count = sum(shapes[name].numel() for name in weights)
    for name in layers:
        rows, columns = shapes[f"{name}.weight"].flatten(1).shape
        if tuned.family == "lora":
            count += tuned.rank * (rows + columns)
        else:
            count += min(rows, columns) if tuned.family == "svdiff" else rows
    return count


# --- attaching ------------------------------------------------------------------------------


def _attach_lora(unet: Any, governed: list[str], tuned: Tuned, seed: int) -> None:
    import torch
    from peft import LoraConfig, inject_adapter_in_model
    from peft.tuners.lora import LoraLayer

    layers = _projections(unet, governed)
    if not layers:
        return
    config = LoraConfig(r=tuned.rank, lora_alpha=tuned.rank, target_modules=layers)
    with torch.random.fork_rng(devices=[]):  # its own draws are replaced below
        inject_adapter_in_model(config, unet)
    for name, module in unet.named_modules():
        if isinstance(module, LoraLayer):
            weight = module.lora_A["default"].weight
            drawn = torch.rand(weight.shape, generator=_generator(name, seed)) * 2 - 1
            # The uniform distribution that peft itself draws from.
            weight.data.copy_(drawn / weight.shape[1] ** 0.5)


def _attach_shifts(unet: Any, governed: list[str], tuned: Tuned, seed: int) -> None:
    from torch.nn.utils import parametrize

    from mitigations.memcontrol.shifts import SingularShift

    for name in _sets(unet, tuned)[0]:
        layer = unet.get_submodule(name)
        parametrize.register_parametrization(layer, "weight", SingularShift(layer.weight))


def _attach_difffit(unet: Any, governed: list[str], tuned: Tuned, seed: int) -> None:
    import torch
    from torch import nn
    from torch.nn.utils import parametrize

    from mitigations.memcontrol.shifts import RowScale

    layers, weights = _sets(unet, tuned)
    _train(unet, weights)
    for name in layers:
        layer = unet.get_submodule(name)
        gamma = nn.Parameter(torch.ones(len(layer.weight), device=layer.weight.device))
        for kind in ("weight", "bias"):
            if getattr(layer, kind) is not None:
                parametrize.register_parametrization(layer, kind, RowScale(gamma))


def _attach_attention(unet: Any, governed: list[str], tuned: Tuned, seed: int) -> None:
    _train(unet, _sets(unet, tuned)[1])


def _train(unet: nn.Module, names: Sequence[str]) -> None:
    for name in names:
        unet.get_parameter(name).requires_grad_(True)


_ATTACH = {
    "lora": _attach_lora,
    "svdiff": _attach_shifts,
    "difffit": _attach_difffit,
    "attention": _attach_attention,
}


def _generator(name: str, seed: int) -> Any:
    import torch

    digest = hashlib.blake2b(f"{seed}|{name}".encode(), digest_size=7).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest, "little"))
