"""Torch models of a recipe: built from a seed, fed with batches, read as logits."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.parameter import is_lazy
from torch.optim import Optimizer

from attacks.errors import DataError, TargetError, UsageError, did_you_mean
from auditor.shadows.fingerprint import described

if TYPE_CHECKING:
    from auditor.shadows.pool import Pool
    from auditor.shadows.recipe import TorchRecipe


def mixed_seed(*parts: int) -> int:
    """A seed below 2^63 that every part decides."""
    digest = hashlib.blake2b("|".join(map(str, parts)).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1


@contextlib.contextmanager
def seeded(seed: int, device: torch.device) -> Iterator[None]:
    """Torch's own generators start from a seed here, and go on as before afterwards."""
    devices = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices, device_type="cuda"):
        torch.default_generator.manual_seed(seed)
        for cuda in devices:
            with torch.cuda.device(cuda):
                torch.cuda.manual_seed(seed)
        yield


def built(recipe: TorchRecipe, seed: int) -> nn.Module:
    """A new model whose initial weights depend on the seed alone, on the CPU.

    Raises UsageError if the recipe's function does not return a torch model.
    """
    with seeded(seed, torch.device("cpu")):
        model = recipe.model()
    if not isinstance(model, nn.Module):
        raise UsageError(
            f"the recipe's model function returned a {type(model).__name__}; return a new "
            "torch.nn.Module"
        )
    return model


def checked_prototype(recipe: TorchRecipe) -> nn.Module:
    """A model to look at; raises UsageError if one seed does not give one model."""
    first, second = built(recipe, 0), built(recipe, 0)
    if first is second:
        raise UsageError(
            "the recipe's model function returned one model twice; build a new one in it"
        )
    if any(is_lazy(p) for p in first.parameters()):
        raise UsageError("the recipe's model has lazy layers; give them their sizes")
    if described(state_arrays(first)) != described(state_arrays(second)):
        raise UsageError(
            "the recipe's model function gives other weights each time; draw them from torch's "
            "own generator, so that a seed decides them"
        )
    if not any(p.requires_grad for p in first.parameters()):
        raise UsageError("the recipe's model has no parameter to train")
    return first


def state_arrays(model: nn.Module) -> dict[str, NDArray[Any]]:
    """Parameters and buffers by name."""
    return {
        name: (value.double() if value.is_floating_point() else value).cpu().numpy()
        for name, value in model.state_dict().items()
    }


def optimiser_of(recipe: TorchRecipe, parameters: Iterable[nn.Parameter]) -> Optimizer:
    """The recipe's optimiser of some parameters.

    Raises UsageError if torch has none of that name, or its settings are wrong.
    """
    make = recipe.optimiser
    if isinstance(make, str):
        known = {n.lower(): c for n, c in vars(torch.optim).items() if isinstance(c, type)}
        known = {n: c for n, c in known.items() if issubclass(c, Optimizer) and c is not Optimizer}
        if make.lower() not in known:
            raise UsageError(f"torch has no optimiser '{make}'; {did_you_mean(make, known)}")
        try:
            return known[make.lower()](parameters, **recipe.optimiser_settings)
        except (TypeError, ValueError) as error:
            raise UsageError(f"the optimiser {make} refuses its settings: {error}") from error
    optimiser = make(parameters)
    if not isinstance(optimiser, Optimizer):
        raise UsageError(
            f"the recipe's optimiser function returned a {type(optimiser).__name__}; return a "
            "torch.optim.Optimizer of the given parameters"
        )
    return optimiser


def options_of(optimiser: Optimizer) -> list[dict[str, Any]]:
    """Settings of each group of parameters."""
    return [{k: v for k, v in g.items() if k != "params"} for g in optimiser.param_groups]


def optimiser_facts(recipe: TorchRecipe, prototype: nn.Module) -> str:
    """A text of everything that decides an optimiser: class, settings, which parameters."""
    optimiser = optimiser_of(recipe, prototype.parameters())
    names = {id(p): name for name, p in prototype.named_parameters()}
    groups = [[names[id(p)] for p in group["params"]] for group in optimiser.param_groups]
    return described([type(optimiser).__name__, options_of(optimiser), groups])


def as_logits(outputs: Any) -> Tensor:
    """(b, k) logits of a model's outputs; one logit s of a record counts as (0, s)."""
    if outputs.ndim == 1:
        outputs = outputs.unsqueeze(1)
    if outputs.shape[1] == 1:
        outputs = torch.cat([torch.zeros_like(outputs), outputs], dim=1)
    return outputs


def loss_of(recipe: TorchRecipe, outputs: Tensor, classes: Tensor) -> Tensor:
    """The recipe's mean loss of a batch."""
    if isinstance(recipe.loss, str):
        return nn.functional.cross_entropy(as_logits(outputs), classes)
    return recipe.loss(as_logits(outputs), classes)


def inputs_of(features: Any, prototype: nn.Module) -> Tensor:
    """(n, ...) features in the precision of the model; integers stay so if it looks them up.

    Raises DataError if they are no numbers or not all finite.
    """
    try:
        array = np.asarray(features)
        if not np.issubdtype(array.dtype, np.number) and array.dtype != bool:
            array = array.astype(np.float64)
    except (TypeError, ValueError) as error:
        raise DataError(
            "a torch recipe needs numeric features; encode the columns of text first"
        ) from error
    looks_up = any(isinstance(m, nn.Embedding | nn.EmbeddingBag) for m in prototype.modules())
    if looks_up and np.issubdtype(array.dtype, np.integer):
        return torch.from_numpy(array.astype(np.int64))
    bad = ~np.isfinite(array.reshape(len(array), -1)).all(axis=1)
    if bad.any():
        raise DataError(
            f"{int(bad.sum())} of {len(array)} records have missing or infinite features; fill "
            "them in before training"
        )
    kinds = [p.dtype for p in prototype.parameters() if p.is_floating_point()]
    return torch.from_numpy(np.ascontiguousarray(array)).to(kinds[0])


def check_model(recipe: TorchRecipe, model: nn.Module, pool: Pool, inputs: Tensor) -> None:
    """Raise TargetError if a copy of the model cannot learn from or answer on a first batch."""
    rows = inputs[: recipe.batch_size]
    classes = torch.from_numpy(np.asarray(pool.classes[: len(rows)], dtype=np.int64))
    try:
        with seeded(0, inputs.device):
            outputs = model(rows)
    except (RuntimeError, ValueError, TypeError, IndexError) as error:
        raise TargetError(
            f"the recipe's model fails on inputs of shape {tuple(rows.shape)} with "
            f"{type(error).__name__}; check its first layer, or --debug shows where"
        ) from error
    k = pool.n_classes
    shape = tuple(outputs.shape) if isinstance(outputs, Tensor) else type(outputs).__name__
    allowed = [(len(rows), k)] + ([(len(rows), 1), (len(rows),)] if k == 2 else [])
    if shape not in allowed:
        raise TargetError(
            f"expected outputs of shape {allowed[0]} from the recipe's model, got {shape}; return "
            f"the logits of the {k} classes"
        )
    loss = loss_of(recipe, outputs, classes.to(inputs.device))
    if loss.ndim:
        raise TargetError(
            f"expected one number from the recipe's loss, got shape {tuple(loss.shape)}; return "
            "the mean over the batch"
        )
