"""The training step of a diffusion target: noise, its prediction, gradients in chunks that fit.

Everything that trains a diffusion model here goes through it: the copies of the positive control
and every mitigation that fine-tunes.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from attacks.protocols import Backward, Noises
from auditor.memory import is_out_of_memory
from auditor.targets.parametrisation import add_noise, native_goal

if TYPE_CHECKING:
    from auditor.targets.diffusion import DiffusionTarget


def draw_noises(target: DiffusionTarget, inputs: Tensor, generator: torch.Generator) -> Noises:
    """A uniform timestep and a noise for each of (n, c, h, w) inputs, drawn on the CPU."""
    n_timesteps = target.capabilities.n_timesteps
    timesteps = torch.randint(n_timesteps, (len(inputs),), generator=generator).to(inputs.device)
    return Noises(timesteps, torch.randn(inputs.shape, generator=generator).to(inputs.device))


def backward(
    target: DiffusionTarget,
    inputs: Tensor,
    noises: Noises,
    conditioning: Any,
    *,
    chunk: int,
    weights: Tensor | None,
) -> Backward:
    """Gradients of the (weighted) mean loss, summed over chunks; halves them if memory runs out."""
    at = target.coefficients.at(noises.timesteps)
    noised = add_noise(inputs, noises.noise, at)
    goal = native_goal(inputs, noises.noise, at, target.layout.prediction_type)
    while True:
        for weight in target.unet.parameters():
            weight.grad = None
        try:
            losses = []
            for rows in _chunks(inputs, weights, chunk):
                given = None if conditioning is None else conditioning.rows(rows)
                output = target.native(noised[rows], noises.timesteps[rows], given)
                if weights is None:
                    error = torch.nn.functional.mse_loss(output, goal[rows])
                    loss = error * len(rows) / len(inputs)
                else:
                    errors = (output - goal[rows]).square().flatten(1).mean(1)
                    loss = (errors * weights[rows]).sum()
                loss.backward()
                losses.append(loss.detach())
            return Backward(float(sum(losses)), chunk)
        except RuntimeError as error:
            if not is_out_of_memory(error) or chunk == 1:
                raise
            chunk //= 2


def _chunks(inputs: Tensor, weights: Tensor | None, chunk: int) -> Iterator[Tensor]:
    """Positions in chunks; rows of weight 0 are not computed at all."""
    rows = torch.arange(len(inputs), device=inputs.device)
    if weights is not None:
        rows = rows[weights != 0]
    yield from rows.split(chunk) if len(rows) else ()
