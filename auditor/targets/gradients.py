"""Gradients of a diffusion target's loss on one record, tensor by tensor.

The network stays in eval mode and its weights are not changed; norms are taken in float32
whatever precision it runs in.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from auditor.targets.parametrisation import add_noise, to_epsilon

if TYPE_CHECKING:
    from auditor.targets.conditioning import Conditioning
    from auditor.targets.diffusion import DiffusionTarget


def gradient_norms(
    target: DiffusionTarget,
    clean: Tensor,
    noises: Tensor,
    timesteps: Tensor,
    conditioning: Conditioning | None,
    *,
    each: bool,
    batch_size: int,
) -> NDArray[np.float32]:
    """(p,) l2 norms by weight tensor, in the order of the network's parameters.

    clean: (c, h, w) of one record; noises: (t, c, h, w), one for each of the (t,) timesteps, whose
    conditioning has a row each. each: the mean over timesteps of the norms of their gradients;
    otherwise the norms of the gradient of the mean loss. batch_size: most rows in memory at once.
    """
    n = len(timesteps)
    with _differentiable(target.unet) as weights:
        totals: list[Tensor | None] = [None] * len(weights)
        norms = torch.zeros(len(weights))
        for rows in torch.arange(n, device=timesteps.device).split(batch_size):
            given = None if conditioning is None else conditioning.rows(rows)
            losses = _losses(target, clean, noises[rows], timesteps[rows], given)
            if not each:
                totals = _added(totals, _gradients(losses.sum() / n, weights))
                continue
            for i, loss in enumerate(losses):
                found = _gradients(loss, weights, keep_graph=i + 1 < len(losses))
                norms += _norms(found) / n
    return (norms if each else _norms(totals)).numpy()


@contextmanager
def _differentiable(network: nn.Module) -> Iterator[list[nn.Parameter]]:
    """The network's parameters, for a while with gradients."""
    weights = list(network.parameters())
    before = [weight.requires_grad for weight in weights]
    try:
        for weight in weights:
            weight.requires_grad_(True)
        with torch.enable_grad():
            yield weights
    finally:
        for weight, was in zip(weights, before, strict=True):
            weight.requires_grad_(was)


def _losses(
    target: DiffusionTarget,
    clean: Tensor,
    noises: Tensor,
    timesteps: Tensor,
    conditioning: Conditioning | None,
) -> Tensor:
    """(t,) mean squared error of the predicted noise, whatever the network predicts natively."""
    at = target.coefficients.at(timesteps)
    noised = add_noise(clean.expand_as(noises), noises, at)
    output = target.native(noised, timesteps, conditioning)
    predicted = to_epsilon(output, noised, at, target.layout.prediction_type)
    return (predicted - noises).square().flatten(1).mean(1)


def _gradients(
    loss: Tensor, weights: Sequence[nn.Parameter], *, keep_graph: bool = False
) -> tuple[Tensor | None, ...]:
    return torch.autograd.grad(loss, weights, retain_graph=keep_graph, allow_unused=True)


def _added(totals: Sequence[Tensor | None], found: Sequence[Tensor | None]) -> list[Tensor | None]:
    return [
        b if a is None else a if b is None else a + b for a, b in zip(totals, found, strict=True)
    ]


def _norms(gradients: Sequence[Tensor | None]) -> Tensor:
    """(p,) norms on the CPU; 0 for a tensor that takes no part."""
    zero = torch.zeros(())
    return torch.stack([zero if g is None else g.float().norm().cpu() for g in gradients])
