"""Torch models trained together in one program, their weights stacked along a first axis.

`torch.func` maps one model's gradient over the stack, and torch's own optimiser runs on the stacked
weights: those in `ELEMENTWISE` treat every number by itself, so that each model moves exactly as
it would alone. Batched kernels may add in another order, so models of one seed agree within
rounding, and are equal byte by byte where the same models are stacked together on one machine.
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.func import functional_call, grad, stack_module_state, vmap
from torch.optim import Optimizer

from auditor.shadows.job import ROWS_ASKED, Job, cpu_copy
from auditor.shadows.torch_models import as_logits, built, loss_of, optimiser_of, seeded

ELEMENTWISE = tuple(
    getattr(torch.optim, name)
    for name in (
        *("SGD", "Adam", "AdamW", "Adamax", "NAdam", "RAdam"),
        *("RMSprop", "Adagrad", "Adadelta"),
    )
)
"""Optimisers of torch whose step on one weight does not depend on the other weights."""
MOST_ON_CPU = 64
"""Models of a stack on a CPU; more bring no speed there."""
MOST_ON_GPU = 1024
CPU_BYTES = 2 * 2**30
"""Memory for one stack on a CPU."""
GPU_SHARE = 0.5
"""Share of a GPU's memory for one stack."""


class Stacking(NamedTuple):
    """Whether models of a job can be stacked."""

    obstacle: str | None
    """Why not; None if they can."""
    is_random: bool = False
    """Whether the forward pass draws random numbers, as dropout does."""


class StackedRun:
    """A few models of a job, all at once."""

    def __init__(self, job: Job, models: Sequence[int], is_random: bool) -> None:
        self.models = tuple(models)
        self.n_steps = job.n_steps
        self._job, self._is_random = job, is_random
        modules = [built(job.recipe, job.seeds[i]) for i in self.models]
        stacked, buffers = stack_module_state(modules)
        trained = {name for name, p in job.prototype.named_parameters() if p.requires_grad}
        state = {name: t.detach().to(job.device) for name, t in (stacked | buffers).items()}
        self._weights = {name: t for name, t in state.items() if name in trained}
        self._fixed = {name: t for name, t in state.items() if name not in trained}
        self._optimiser = stacked_optimiser(job, self._weights)
        self._batches = job.batches(self.models)
        self._module = copy.deepcopy(job.prototype)
        self._gradient = vmap(grad(self._loss), randomness="different" if is_random else "error")

    def step(self, number: int) -> None:
        """One step of every model."""
        rows = self._batches.at(number)
        inputs, classes = self._job.inputs[rows], self._job.classes[rows]
        self._module.train()
        if self._is_random:
            with seeded(self._job.noise_seed(self.models, number), self._job.device):
                gradients = self._gradient(self._weights, self._fixed, inputs, classes)
        else:
            gradients = self._gradient(self._weights, self._fixed, inputs, classes)
        for name, weight in self._weights.items():
            weight.grad = gradients[name]
        self._optimiser.step()

    def state(self) -> dict[str, Any]:
        """Weights and optimiser; batches and dropout follow from the step."""
        return {
            "weights": cpu_copy(self._weights),
            "optimiser": cpu_copy(self._optimiser.state_dict()),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go back to a state."""
        for name, weight in self._weights.items():
            weight.copy_(state["weights"][name])
        self._optimiser.load_state_dict(state["optimiser"])

    def logits(self) -> NDArray[np.float32]:
        """(c, n, k) logits of the trained models on the pool."""
        self._module.eval()
        answer = vmap(self._answer, in_dims=(0, 0, None), randomness="different")
        with torch.no_grad(), seeded(0, self._job.device):
            parts = [
                answer(self._weights, self._fixed, part).float().cpu().numpy()
                for part in self._job.inputs.split(ROWS_ASKED * self._job.rows)
            ]
        return np.concatenate(parts, axis=1)

    def module(self, position: int) -> nn.Module:
        """One of the trained models."""
        model = built(self._job.recipe, self._job.seeds[self.models[position]])
        own = {name: t[position].cpu() for name, t in (self._weights | self._fixed).items()}
        model.load_state_dict(own, strict=False)  # tied weights have one name here, two there
        return model.to(self._job.device)

    def _loss(
        self, weights: dict[str, Tensor], fixed: dict[str, Tensor], inputs: Tensor, classes: Tensor
    ) -> Tensor:
        outputs = functional_call(self._module, (weights, fixed), (inputs,))
        return loss_of(self._job.recipe, outputs, classes)

    def _answer(
        self, weights: dict[str, Tensor], fixed: dict[str, Tensor], inputs: Tensor
    ) -> Tensor:
        return as_logits(functional_call(self._module, (weights, fixed), (inputs,)))


def stacked_optimiser(job: Job, weights: dict[str, Tensor]) -> Optimizer:
    """The recipe's optimiser, with its groups and settings, on stacked weights."""
    alone = optimiser_of(job.recipe, job.prototype.parameters())
    names = {id(p): name for name, p in job.prototype.named_parameters()}
    groups = []
    for group in alone.param_groups:
        mine = [weights[n] for p in group["params"] if (n := names[id(p)]) in weights]
        if mine:
            groups.append({**group, "params": mine})
    accepted = inspect.signature(type(alone)).parameters
    settings = {k: v for k, v in alone.defaults.items() if k in accepted}
    return type(alone)(groups, **settings)


def stacking(job: Job) -> Stacking:
    """Try two models for one step, and say whether they can be stacked."""
    if obstacle := _optimiser_obstacle(job) or _state_obstacle(job):
        return Stacking(obstacle)
    for is_random in (False, True):
        run = StackedRun(job, (0, 1), is_random)
        try:
            run.step(0)
            run.logits()
        except (RuntimeError, ValueError, TypeError) as error:
            text = str(error)
            if not is_random and "randomness" in text:
                continue
            first = text.strip().partition("\n")[0][:120]
            return Stacking(f"torch.func cannot map over the training ({first})")
        break
    return Stacking(None, is_random)


def _optimiser_obstacle(job: Job) -> str | None:
    optimiser = optimiser_of(job.recipe, job.prototype.parameters())
    name = type(optimiser).__name__
    if type(optimiser) not in ELEMENTWISE:
        return f"the optimiser {name} does not treat every weight by itself"
    if optimiser._optimizer_step_pre_hooks or optimiser._optimizer_step_post_hooks:
        return f"the optimiser {name} has hooks"
    return None


def _state_obstacle(job: Job) -> str | None:
    """Running averages and other buffers that a forward pass changes."""
    model = copy.deepcopy(job.prototype).train()
    before = cpu_copy(dict(model.named_buffers()))
    with torch.no_grad(), seeded(0, job.device):
        model(job.inputs[: job.rows])
    after = cpu_copy(dict(model.named_buffers()))
    kept = before.keys() == after.keys() and all(
        torch.equal(before[name], after[name]) for name in before
    )
    if kept:
        return None
    return "the model keeps running averages, as batch normalisation does"


def stack_size(job: Job) -> int:
    """Models that fit one stack, an even number: by memory for weights, optimiser, activations.

    A function of the recipe and the device alone, so that runs can be repeated.
    """
    numbers = 0

    def count(module: nn.Module, given: Any, output: Any) -> None:
        nonlocal numbers
        if isinstance(output, Tensor) and not any(module.children()):
            numbers += output.numel()

    model = copy.deepcopy(job.prototype)
    for module in model.modules():
        module.register_forward_hook(count)
    with torch.no_grad(), seeded(0, job.device):
        model(job.inputs[: job.rows])
    weights = sum(p.numel() for p in model.parameters())
    batch = job.inputs[: job.rows].numel()
    # weights, gradients, two moments, one temporary; activations kept and two temporaries
    each = job.inputs.element_size() * (5 * weights + 3 * numbers + batch)
    if job.device.type == "cuda":
        total = torch.cuda.get_device_properties(job.device).total_memory
        fitting, most = int(total * GPU_SHARE) // each, MOST_ON_GPU
    else:
        fitting, most = CPU_BYTES // each, MOST_ON_CPU
    return max(2, min(fitting, most) // 2 * 2)
