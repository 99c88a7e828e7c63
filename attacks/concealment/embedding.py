"""Embedding attack: look for the text embedding under which a model draws one given image.

Idea: a prompt can be blocked while the image stays in the weights. So leave the prompt out and
    search, by gradient descent on the model's own training loss, for an embedding that denoises
    the image well; then let the ordinary sampler draw from it, from fresh noise.
Citation: Kowalczuk et al., Finding DoRI, arXiv:2507.16880; settings after our notes on it.
Score: how near the drawn images come to the record; the nearer, the more likely the model holds it.
Cost: steps x draws forward and backward passes for each image and start.
Invalid when: an embedding can describe any image, trained on or not: never-seen images attacked
    with the same budget tell (`attacks.concealment.verdict`).

Timesteps and noises are drawn afresh at every step: with fixed ones the embedding would store the
answer to them, and so the image. All images and starts run together, one embedding each; the loss
is a sum and Adam works by element, so none influences another.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from attacks.errors import ShapeError, UsageError
from attacks.protocols import DifferentiablePredictor, FreeConditioning

if TYPE_CHECKING:
    from torch import Generator, Tensor

CHECKPOINTS = (10, 25, 50, 100, 200, 500)
"""Steps after which embeddings are kept, as far as the budget goes."""


@dataclass(frozen=True, slots=True)
class EmbeddingConfig:
    """How an embedding is searched for; the defaults are those of our notes on the paper."""

    steps: int = 50
    """Steps of Adam."""
    rate: float = 0.1
    """Learning rate; 0 leaves the start as it is."""
    draws: int = 8
    """Timesteps and noises for each image and step."""

    def __post_init__(self) -> None:
        if self.steps < 1 or self.draws < 1:
            raise UsageError(
                f"the attack needs at least one step and one draw, got {self.steps} and {self.draws}"
            )
        if not math.isfinite(self.rate) or self.rate < 0:
            raise UsageError(f"the learning rate must be 0 or more, got {self.rate}")

    @property
    def checkpoints(self) -> tuple[int, ...]:
        """Ascending steps after which embeddings are kept; the last one is always among them."""
        return (*(step for step in CHECKPOINTS if step < self.steps), self.steps)

    @property
    def calls(self) -> int:
        """Forward calls for one image and start, a backward pass counted as two."""
        return 3 * self.steps * self.draws


class EmbeddingTrace(NamedTuple):
    """What an attack on n rows went through."""

    checkpoints: tuple[int, ...]
    embeddings: tuple[FreeConditioning, ...]
    """One conditioning of n rows for each checkpoint."""
    losses: NDArray[np.float32]
    """(steps, n) mean squared noise error before each step, over that step's own draws."""
    timesteps: NDArray[np.int32]
    """(steps, n, draws) timesteps that were drawn."""

    @property
    def final(self) -> FreeConditioning:
        """The embeddings after the last step."""
        return self.embeddings[-1]


def attack(
    model: DifferentiablePredictor,
    inputs: Tensor,
    start: FreeConditioning,
    config: EmbeddingConfig,
    seeds: Sequence[int],
    *,
    batch_size: int = 256,
    on_calls: Callable[[int], None] = lambda rows: None,
) -> EmbeddingTrace:
    """Optimise one embedding for each row of inputs; the model is not changed.

    inputs: (n, c, h, w) clean inputs, an image once for each of its starts; start: conditioning of
    n rows; seeds: n, of the draws of each row, which are the same in whatever company it runs.
    batch_size: most rows in memory at once; on_calls: told the rows of every forward call.
    Raises ShapeError unless all have n rows.
    """
    import torch

    leaves = [tensor.detach().float().clone() for tensor in start.tensors()]
    n = len(inputs)
    if not n or len(seeds) != n or any(len(leaf) != n for leaf in leaves):
        raise ShapeError(
            f"expected one start and one seed for each of n inputs, n at least 1, got "
            f"{[len(leaf) for leaf in leaves]} and {len(seeds)} for {n}"
        )
    generators = [torch.Generator("cpu").manual_seed(seed) for seed in seeds]
    for leaf in leaves:
        leaf.requires_grad_(True)
    optimiser = torch.optim.Adam(leaves, lr=config.rate)
    kept: list[FreeConditioning] = []
    losses, timesteps = [], []
    for step in range(1, config.steps + 1):
        drawn = _draw(generators, model, config.draws)
        found, gradients = _gradients(model, inputs, start, leaves, drawn, batch_size, on_calls)
        for leaf, gradient in zip(leaves, gradients, strict=True):
            leaf.grad = gradient
        optimiser.step()
        losses.append(found)
        timesteps.append(drawn.timesteps.reshape(n, -1).numpy().astype(np.int32))
        if step in config.checkpoints:
            kept.append(start.replaced([leaf.detach().clone() for leaf in leaves]))
    return EmbeddingTrace(config.checkpoints, tuple(kept), np.stack(losses), np.stack(timesteps))


def gaussian_start(like: FreeConditioning, seeds: Sequence[int]) -> FreeConditioning:
    """Random embeddings of as many rows as seeds, as large as those of one row `like`.

    Normal with mean 0 and the root mean square of each tensor of `like`, the empty text's say, so
    that they lie where the model expects embeddings, without its text.
    """
    import torch

    tensors = []
    for tensor in like.tensors():
        size = tensor.float().square().mean().sqrt()
        rows = [
            torch.randn(tensor.shape[1:], generator=torch.Generator("cpu").manual_seed(seed))
            for seed in seeds
        ]
        tensors.append(torch.stack(rows).to(tensor.device) * size)
    repeated = like.rows(torch.zeros(len(seeds), dtype=torch.long, device=tensors[0].device))
    return repeated.replaced(tensors)


class _Draws(NamedTuple):
    """Flat over rows and draws: those of the first row, those of the second, ..."""

    timesteps: Tensor
    noises: Tensor


def _draw(generators: Sequence[Generator], model: DifferentiablePredictor, n_draws: int) -> _Draws:
    """Fresh timesteps and noises on the CPU, each row from its own generator."""
    import torch

    n_timesteps, shape = len(model.alphas_cumprod), (n_draws, *model.input_shape)
    timesteps, noises = [], []
    for generator in generators:
        timesteps.append(torch.randint(n_timesteps, (n_draws,), generator=generator))
        noises.append(torch.randn(shape, generator=generator))
    return _Draws(torch.cat(timesteps), torch.cat(noises))


def _gradients(
    model: DifferentiablePredictor,
    inputs: Tensor,
    start: FreeConditioning,
    leaves: Sequence[Tensor],
    drawn: _Draws,
    batch_size: int,
    on_calls: Callable[[int], None],
) -> tuple[NDArray[np.float32], list[Tensor]]:
    """(n,) mean squared noise errors and the gradients of their sum in each tensor."""
    import torch

    n, device = len(inputs), inputs.device
    n_draws = len(drawn.timesteps) // n
    abar = torch.from_numpy(np.asarray(model.alphas_cumprod, dtype=np.float64))
    errors = torch.zeros(n * n_draws)
    totals = [torch.zeros_like(leaf) for leaf in leaves]
    conditioning = start.replaced(leaves)
    for part in torch.arange(n * n_draws).split(batch_size):
        rows = (part // n_draws).to(device)
        at = abar[drawn.timesteps[part]].reshape(-1, 1, 1, 1)
        signal, scale = at.sqrt().float().to(device), (1 - at).sqrt().float().to(device)
        noise, timesteps = drawn.noises[part].to(device), drawn.timesteps[part].to(device)
        noised = signal * inputs[rows].float() + scale * noise
        with torch.enable_grad():
            predicted = model.noise(noised, timesteps, conditioning.rows(rows))
            error = (predicted - noise).square().flatten(1).mean(1)
            found = torch.autograd.grad(error.sum() / n_draws, leaves, allow_unused=True)
        on_calls(len(part))
        errors[part] = error.detach().cpu()
        for total, gradient in zip(totals, found, strict=True):
            if gradient is not None:
                total += gradient
    mean: NDArray[np.float32] = errors.reshape(n, n_draws).mean(1).numpy()
    return mean, totals
