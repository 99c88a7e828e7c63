"""Which tokens trigger: the gradient of the text magnitude with respect to token embeddings."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from auditor.targets.diffusion import DiffusionTarget
from auditor.targets.parametrisation import to_epsilon
from auditor.targets.sampling import Sampling, ddim_scheduler, initial_noise
from auditor.targets.tokens import PromptTokens

CALLS = 4
"""What one seed costs, in forward calls: two predictions, and a backward pass worth two."""


def token_gradients(
    target: DiffusionTarget, prompt: str, seeds: Sequence[int], sampling: Sampling
) -> NDArray[np.float64]:
    """(tokens,) norm of the gradient at each position of the encoder's sequence.

    The text magnitude at the first step, mean over seeds (as `text_magnitude` scores it), with
    respect to the embeddings that the text encoder looks up; over both encoders where there are
    two. The weights get no gradient and nothing of the target changes.
    """
    scheduler = ddim_scheduler(target)
    scheduler.set_timesteps(sampling.steps, device=target.device)
    timesteps = scheduler.timesteps[:1].to(target.device)
    at = target.coefficients.at(timesteps)
    noise = initial_noise(seeds, target.input_shape, target.dtype).to(target.device)
    empty = target.embed_nothing()
    total: Tensor | None = None
    for row in noise.split(1):
        without = target.predict(row, timesteps, empty)
        with torch.enable_grad(), _leaves(target) as leaves:
            given = target.embed([prompt], keep_graph=True)
            output = target.native(row, timesteps, given)
            predicted = to_epsilon(output, row, at, target.layout.prediction_type)
            magnitude = (predicted - without).double().square().sum().sqrt()
            found = torch.autograd.grad(magnitude, leaves)
        joined = torch.cat([gradient[0].double() for gradient in found], dim=-1)
        total = joined if total is None else total + joined
    assert total is not None
    norms: NDArray[np.float64] = (total / len(seeds)).norm(dim=-1).cpu().numpy()
    return norms


@contextmanager
def _leaves(target: DiffusionTarget) -> Iterator[list[Tensor]]:
    """Collect what the text encoders look up, as leaves of the graph, while the context lasts."""
    leaves: list[Tensor] = []

    def cut(module: Any, inputs: Any, output: Tensor) -> Tensor:
        leaf = output.detach().requires_grad_(True)
        leaves.append(leaf)
        return leaf

    hooks = []
    for name in ("text_encoder", "text_encoder_2"):
        encoder = getattr(target.text_pipeline, name, None)
        if encoder is not None:
            hooks.append(encoder.get_input_embeddings().register_forward_hook(cut))
    try:
        yield leaves
    finally:
        for hook in hooks:
            hook.remove()


def shares(gradients: NDArray[np.float64], tokens: PromptTokens) -> NDArray[np.float64]:
    """(k,) share of each of the prompt's own k tokens; start, end and padding do not count."""
    own = gradients[list(tokens.positions)]
    total = own.sum()
    return own / total if total > 0 else np.full(len(own), 1 / max(len(own), 1))
