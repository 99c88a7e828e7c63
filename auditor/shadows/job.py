"""What all trainings of one torch recipe on one pool share."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from auditor.shadows.batches import Batches
from auditor.shadows.pool import Pool
from auditor.shadows.recipe import TorchRecipe
from auditor.shadows.torch_models import check_model, checked_prototype, inputs_of, mixed_seed

ROWS_ASKED = 4
"""Batches of training that a batch of evaluation may be as large as: it keeps no activations."""


@dataclass(frozen=True)
class Job:
    """A recipe, the pool on the device, and who is trained on what."""

    recipe: TorchRecipe
    prototype: nn.Module
    """A model of the recipe on the device, whose own weights do not matter."""
    inputs: Tensor
    """(n, ...) features on the device."""
    classes: Tensor
    """(n,) class indices on the device."""
    keep: NDArray[np.bool_]
    """(m, n) training sets."""
    seeds: Sequence[int]
    """(m,) seeds of initial weights, batches and dropout."""
    n_steps: int
    """Steps of every model."""
    rows: int
    """Records of a step."""
    n_classes: int
    """k."""

    @property
    def device(self) -> torch.device:
        """Where everything is computed."""
        return self.inputs.device

    def batches(self, models: Sequence[int]) -> Batches:
        """Batches of some of the models."""
        members = [torch.from_numpy(np.flatnonzero(self.keep[i])) for i in models]
        return Batches(members, [self.seeds[i] for i in models], self.rows, self.device)

    def noise_seed(self, models: Sequence[int], step: int) -> int:
        """Seed of dropout at a step of models that are trained together."""
        return mixed_seed(*(self.seeds[i] for i in models), step)


class Run(Protocol):
    """The training of a few models of a job, step by step."""

    models: tuple[int, ...]
    n_steps: int
    """Steps until all of them are trained."""

    def step(self, number: int) -> None:
        """Take one step; steps are numbered from 0 and taken in order."""

    def state(self) -> dict[str, Any]:
        """Everything that the next step depends on: tensors on the CPU, in plain containers."""

    def restore(self, state: dict[str, Any]) -> None:
        """Go back to a state."""

    def logits(self) -> NDArray[np.float32]:
        """(c, n, k) logits of the trained models on the pool."""

    def module(self, position: int) -> nn.Module:
        """One of the trained models."""


def make_job(
    recipe: TorchRecipe,
    pool: Pool,
    keep: NDArray[np.bool_],
    seeds: Sequence[int],
    n_trained_on: int,
    device: torch.device,
) -> Job:
    """Look at a recipe and put the pool on the device.

    n_trained_on: records of a usual training set, on which epochs and batches are counted, so
        that all models take the same steps.

    Raises UsageError, DataError or TargetError if recipe and pool do not fit.
    """
    prototype = checked_prototype(recipe).to(device)
    inputs = inputs_of(pool.features, prototype).to(device)
    check_model(recipe, copy.deepcopy(prototype), pool, inputs)
    return Job(
        recipe=recipe,
        prototype=prototype,
        inputs=inputs,
        classes=torch.from_numpy(np.asarray(pool.classes, dtype=np.int64)).to(device),
        keep=keep,
        seeds=[int(s) for s in seeds],
        n_steps=recipe.n_steps(n_trained_on),
        rows=recipe.rows_of_step(n_trained_on),
        n_classes=pool.n_classes,
    )


def cpu_copy(value: Any) -> Any:
    """The same containers with copies of their tensors on the CPU."""
    if isinstance(value, Tensor):
        return value.detach().to("cpu", copy=True)
    if isinstance(value, dict):
        return {k: cpu_copy(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(cpu_copy(v) for v in value)
    return value
