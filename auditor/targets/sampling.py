"""Draws images from a diffusion target: deterministic DDIM, batched over prompts and seeds.

The noise of a seed is that of `torch.Generator("cpu").manual_seed(seed)`, and the steps are those
of diffusers' own DDIMScheduler over the model's schedule, so that a stock pipeline with the same
prompt, seed, steps and guidance draws the same image: whoever doubts an extracted image can
repeat it without this project.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from attacks.errors import UsageError
from auditor.targets.conditioning import Conditioning
from auditor.targets.diffusion import DiffusionTarget
from mitigations.filters import Drawing, Filter

PLAIN = Filter()
"""Draws as the weights alone do."""


@dataclass(frozen=True, slots=True)
class Sampling:
    """How images are drawn; copies appear or not depending on these."""

    steps: int = 50
    """DDIM steps (eta = 0)."""
    guidance: float = 7.5
    """Scale of classifier-free guidance; 1 asks no unconditional prediction."""

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise UsageError(f"sampling needs at least one step, got {self.steps}")
        if not np.isfinite(self.guidance) or self.guidance < 1:
            raise UsageError(f"the guidance scale must be at least 1, got {self.guidance}")

    @property
    def is_guided(self) -> bool:
        """Whether every step asks the model twice."""
        return self.guidance > 1

    @property
    def calls(self) -> int:
        """Forward calls for one image."""
        return self.steps * (2 if self.is_guided else 1)

    @property
    def key(self) -> str:
        """Canonical text, part of cache keys and of records."""
        return json.dumps({"scheduler": "ddim", **dataclasses.asdict(self)}, sort_keys=True)


class Draw(NamedTuple):
    """One image to draw."""

    prompt: str
    seed: int


class Step(NamedTuple):
    """One denoising step of a batch, before it is taken; tensors are (n, c, h, w)."""

    number: int
    """0 for the first step, from pure noise."""
    t: int
    """Index into the model's noise schedule."""
    inputs: Tensor
    """x_t."""
    conditional: Tensor
    """eps_theta(x_t, t, prompt); of the only prediction there is, for an unconditional model."""
    unconditional: Tensor | None
    """eps_theta(x_t, t, ""); None without guidance."""


class Batch(NamedTuple):
    """The draws that go through the model together, with their conditioning."""

    draws: Sequence[Draw]
    conditional: Conditioning | None
    unconditional: Conditioning | None


class Watcher:
    """What is told of every batch and step; a detector overrides what it needs."""

    def begins(self, batch: Batch) -> None:
        """A batch begins."""

    def step(self, step: Step) -> None:
        """The model was asked, and the step is about to be taken."""

    def ends(self, batch: Batch, clean: Tensor) -> None:
        """A batch has ended at these clean inputs (pixels or scaled latents), or where it stopped."""


def usual(target: DiffusionTarget, steps: int = 50) -> Sampling:
    """Guidance 7.5 for a model that takes text, none for others."""
    guidance = 7.5 if target.capabilities.is_text_conditional else 1.0
    return Sampling(min(steps, target.capabilities.n_timesteps), guidance)


def initial_noise(
    seeds: Sequence[int], shape: tuple[int, int, int], dtype: torch.dtype = torch.float32
) -> Tensor:
    """(n, c, h, w) standard normal noise on the CPU, each row of its own seed alone."""
    rows = [
        torch.randn((1, *shape), generator=torch.Generator("cpu").manual_seed(s), dtype=dtype)
        for s in seeds
    ]
    return torch.cat(rows).float()


def generate(
    target: DiffusionTarget,
    draws: Sequence[Draw],
    sampling: Sampling,
    *,
    batch_size: int,
    watcher: Watcher | None = None,
    guide: Filter | None = None,
    on_calls: Callable[[int], None] = lambda rows: None,
) -> NDArray[np.uint8]:
    """(n, height, width, channels) images of the draws, in their order.

    batch_size: rows of one forward call, guidance included; guide: an inference filter, by default
    the one that the target carries (`PLAIN` for none); on_calls: told the rows of every call.
    """
    acting = guide or target.filter or PLAIN
    watching = watcher or Watcher()
    images = [
        to_uint8(target.decode(clean))
        for clean in _clean(target, draws, sampling, batch_size, watching, acting, on_calls)
    ]
    return np.concatenate(images)


def follow(
    target: DiffusionTarget,
    draws: Sequence[Draw],
    sampling: Sampling,
    *,
    n_steps: int,
    batch_size: int,
    watcher: Watcher,
    on_calls: Callable[[int], None] = lambda rows: None,
) -> None:
    """Take the first n_steps of the steps of `generate`, for the watcher alone; draws no image.

    What is watched is what the weights do: an inference filter of the target does not act.
    """
    for _ in _clean(target, draws, sampling, batch_size, watcher, PLAIN, on_calls, n_steps):
        pass


def _clean(
    target: DiffusionTarget,
    draws: Sequence[Draw],
    sampling: Sampling,
    batch_size: int,
    watcher: Watcher,
    guide: Filter,
    on_calls: Callable[[int], None],
    n_steps: int | None = None,
) -> Iterator[Tensor]:
    """Inputs of the draws after n_steps (clean ones after all), batch after batch."""
    if sampling.is_guided and not target.capabilities.is_text_conditional:
        raise UsageError("guidance needs a model that takes text; use a guidance scale of 1")
    rows = max(1, batch_size // (2 if sampling.is_guided else 1))
    prompts = [guide.prompt(draw.prompt, draw.seed) for draw in draws]
    texts = list(dict.fromkeys(prompts))
    place = {text: i for i, text in enumerate(texts)}
    embedded = target.embed(texts)
    empty = target.embed_nothing() if sampling.is_guided else None
    for start in range(0, len(draws), rows):
        part = draws[start : start + rows]
        own = prompts[start : start + rows]
        index = torch.tensor([place[prompt] for prompt in own], device=target.device)
        batch = Batch(
            part,
            None if embedded is None else embedded.rows(index),
            None if empty is None else empty.rows(torch.zeros_like(index)),
        )
        watcher.begins(batch)
        clean = _denoise(target, batch, own, sampling, watcher, guide, on_calls, n_steps)
        watcher.ends(batch, clean)
        yield clean


def _denoise(
    target: DiffusionTarget,
    batch: Batch,
    prompts: Sequence[str],
    sampling: Sampling,
    watcher: Watcher,
    guide: Filter,
    on_calls: Callable[[int], None],
    n_steps: int | None,
) -> Tensor:
    scheduler = ddim_scheduler(target)
    scheduler.set_timesteps(sampling.steps, device=target.device)
    steps = scheduler.timesteps.tolist()
    seeds = tuple(draw.seed for draw in batch.draws)
    state = initial_noise(seeds, target.input_shape, target.dtype).to(target.device)
    drawing = Drawing(
        target, tuple(prompts), seeds, sampling.guidance, tuple(steps), state, batch.conditional,
        batch.unconditional,
    )  # fmt: skip
    batch = batch._replace(conditional=guide.begins(drawing))
    with guide.attention(target.unet):
        for i, t in enumerate(steps[:n_steps]):
            given, without = _asked(target, batch, state, t, on_calls)
            watcher.step(Step(i, t, state, given, without))
            predicted = guide.on_step(given, without, state, t)
            state = scheduler.step(predicted, t, state, eta=0.0).prev_sample
    return state


def _asked(
    target: DiffusionTarget, batch: Batch, state: Tensor, t: int, on_calls: Callable[[int], None]
) -> tuple[Tensor, Tensor | None]:
    """Predictions for the prompts and, with guidance, for the empty text."""
    n = len(state)
    if batch.unconditional is not None and batch.conditional is not None:
        both = batch.unconditional.joined(batch.conditional)
        timesteps = torch.full((2 * n,), t, device=target.device)
        without, given = target.predict(torch.cat([state, state]), timesteps, both).chunk(2)
        on_calls(2 * n)
        return given, without
    timesteps = torch.full((n,), t, device=target.device)
    given = target.predict(state, timesteps, batch.conditional)
    on_calls(n)
    return given, None


def ddim_scheduler(target: DiffusionTarget) -> Any:
    """DDIM over the target's own noise schedule, for predictions of the noise."""
    from diffusers import DDIMScheduler

    config = dict(target.layout.scheduler_config)
    config.setdefault("clip_sample", not target.capabilities.is_latent)
    config |= {"prediction_type": "epsilon"}
    return DDIMScheduler.from_config(config)


def draws_key(draws: Sequence[Draw], sampling: Sampling, filter_key: str = "") -> str:
    """Name of a shard of draws: a hash of prompts, seeds, sampling and an inference filter."""
    named = [sampling.key, [list(draw) for draw in draws], *([filter_key] if filter_key else [])]
    text = json.dumps(named)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def to_uint8(images: Tensor) -> NDArray[np.uint8]:
    """(n, height, width, channels) bytes of (n, channels, height, width) images in [0, 1]."""
    pixels = (images.permute(0, 2, 3, 1).float().cpu() * 255).round()
    found: NDArray[np.uint8] = pixels.to(torch.uint8).numpy()
    return found
