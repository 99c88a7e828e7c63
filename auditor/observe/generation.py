"""Draws the images of a target in shards: cached, resumable, with bounded memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

from attacks.errors import TargetError
from attacks.observations import Request
from auditor.memory import is_out_of_memory
from auditor.observe.cache import Cache
from auditor.observe.usage import Usage
from auditor.progress import Progress
from auditor.targets.diffusion import DiffusionTarget
from auditor.targets.sampling import Draw, Sampling, draws_key, generate

Computed = TypeVar("Computed")
SHARD_DRAWS = 64
"""Images in a shard: the unit of resume and of memory."""


@dataclass(frozen=True, slots=True)
class GeneratedImage(Request):
    """(n, height, width, channels) uint8 images; a record is a prompt with a seed."""

    kind: ClassVar[str] = "generated_image"
    steps: int
    guidance: float

    @property
    def calls(self) -> int:
        """Forward calls for one image."""
        return Sampling(self.steps, self.guidance).calls


@dataclass
class GenerationExecutor:
    """Draws through one target; when memory runs out the batch halves and the shard starts again.

    Images are private derivations, since they may be copies: they stay in the private cache.
    """

    target: DiffusionTarget
    batch_size: int
    """Rows of one forward call, guidance included."""
    cache: Cache | None = None
    progress: Progress = field(default_factory=Progress)
    usage: Usage = field(default_factory=Usage)

    def images(self, draws: Sequence[Draw], sampling: Sampling) -> NDArray[np.uint8]:
        """(n, height, width, channels) all images at once, for few draws."""
        return np.concatenate([images for _, images in self.shards(draws, sampling)])

    def shards(
        self, draws: Sequence[Draw], sampling: Sampling
    ) -> Iterator[tuple[Sequence[Draw], NDArray[np.uint8]]]:
        """Shards of draws with their images; finished ones come from the cache."""
        request = GeneratedImage(sampling.steps, sampling.guidance)
        for start in range(0, len(draws), SHARD_DRAWS):
            shard = draws[start : start + SHARD_DRAWS]
            name = draws_key(shard, sampling, self.target.filter_key)
            images = self.cache.load(request, name) if self.cache else None
            if images is not None and len(images) == len(shard):
                self.usage.n_calls_cached += sampling.calls * len(shard)
            else:
                images = self._draw(shard, sampling)
                if self.cache:
                    self.cache.store(request, name, images)
            self.progress.advance(len(shard))
            yield shard, images

    def _draw(self, shard: Sequence[Draw], sampling: Sampling) -> NDArray[np.uint8]:
        return self.in_memory(
            lambda rows: generate(
                self.target, shard, sampling, batch_size=rows, on_calls=self._count
            )
        )

    def in_memory(self, compute: Callable[[int], Computed]) -> Computed:
        """What `compute` returns for a batch size; when memory runs out, for half of it."""
        while True:
            try:
                return compute(self.batch_size)
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
                self._halve(error)

    def _count(self, rows: int) -> None:
        self.usage.n_calls += rows

    def _halve(self, error: BaseException) -> None:
        if self.batch_size == 1:
            raise TargetError(
                "out of memory with a single image; use --precision bf16, a smaller "
                "--resolution, or another --device"
            ) from error
        self.batch_size //= 2
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        self.progress.note(f"out of memory: going on with batches of {self.batch_size}")
