"""The local executor: shards of records through one device, cached, resumable."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from PIL.Image import Image

from attacks.errors import InternalError, TargetError
from attacks.observations import Observations, Request, with_requirements
from attacks.observations.generations import Generation, Held
from attacks.protocols import NoisePredictor, PairEncoder
from auditor.memory import is_out_of_memory
from auditor.observe.cache import Cache, shard_key
from auditor.observe.diffusion import ShardObserver
from auditor.observe.drawn import DrawnObserver
from auditor.observe.generation import GenerationExecutor
from auditor.observe.usage import Usage
from auditor.progress import Progress
from auditor.records import Record, open_pictures
from auditor.targets.diffusion import DiffusionTarget

SHARD_RECORDS = 128
"""Records in a shard: the unit of resume."""


@dataclass
class LocalExecutor:
    """Runs shards one after another on the predictor's device.

    When memory runs out the batch halves and the shard starts again.
    """

    seed: int
    batch_size: int
    progress: Progress = field(default_factory=Progress)
    usage: Usage = field(default_factory=Usage)
    """Counts calls; shared with the scan that the executor works for."""
    encoder: PairEncoder | None = None
    """Answers requests about meaning; the attacker's own."""

    def observe(
        self,
        predictor: NoisePredictor,
        records: Sequence[Record],
        requests: Sequence[Request],
        cache: Cache | None,
    ) -> Observations:
        """Answers for all records, axis 0 in their order; finished shards come from the cache."""
        complete = with_requirements(requests)
        parts: dict[Request, list[NDArray[np.floating]]] = {r: [] for r in complete}
        for start in range(0, len(records), SHARD_RECORDS):
            shard = records[start : start + SHARD_RECORDS]
            answers = self._shard(predictor, shard, complete, cache)
            for request in complete:
                parts[request].append(answers[request])
            self.progress.advance(len(shard))
        return {r: np.concatenate(arrays) if arrays else np.empty(0) for r, arrays in parts.items()}

    def recall(
        self, records: Sequence[Record], requests: Sequence[Request], cache: Cache
    ) -> Observations | None:
        """What `observe` would return, if all of it is stored; otherwise None."""
        complete = with_requirements(requests)
        parts: dict[Request, list[NDArray[np.floating]]] = {r: [] for r in complete}
        for start in range(0, len(records), SHARD_RECORDS):
            shard = records[start : start + SHARD_RECORDS]
            name = shard_key([record.id for record in shard])
            for request in complete:
                stored = cache.load(request, name)
                if stored is None or len(stored) != len(shard):
                    return None
                parts[request].append(stored)
        self.usage.n_calls_cached += len(records) * sum(r.calls for r in complete)
        return {r: np.concatenate(arrays) for r, arrays in parts.items()}

    def _shard(
        self,
        predictor: NoisePredictor,
        shard: Sequence[Record],
        requests: Sequence[Request],
        cache: Cache | None,
    ) -> dict[Request, NDArray[np.floating]]:
        name = shard_key([record.id for record in shard])
        answers: dict[Request, NDArray[np.floating]] = {}
        for request in requests if cache else ():
            stored = cache.load(request, name) if cache else None
            if stored is not None and len(stored) == len(shard):
                answers[request] = stored
        wanted = with_requirements(r for r in requests if r not in answers)
        made = self.usage.n_calls
        fresh = self._compute(predictor, shard, wanted, cache) if wanted else {}
        planned = sum(r.calls for r in requests) * len(shard)
        self.usage.n_calls_cached += max(0, planned - (self.usage.n_calls - made))
        for request, answer in fresh.items():
            if request not in answers:
                answers[request] = answer
                if cache:
                    cache.store(request, name, answer)
        return answers

    def _compute(
        self,
        predictor: NoisePredictor,
        shard: Sequence[Record],
        requests: Sequence[Request],
        cache: Cache | None,
    ) -> dict[Request, NDArray[np.floating]]:
        images = open_pictures(shard)
        drawn = [r for r in requests if isinstance(r, Generation | Held)]
        plain = [r for r in requests if not isinstance(r, Generation | Held)]
        answers = self._draw(predictor, shard, images, drawn, cache) if drawn else {}
        while plain:
            observer = ShardObserver(
                predictor=predictor,
                images=images,
                captions=[record.caption or "" for record in shard],
                ids=[record.id for record in shard],
                batch_size=self.batch_size,
                seed=self.seed,
                on_calls=self._count,
            )
            try:
                answers |= observer.observe(plain)
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
                self._halve(cache, error)
                continue
            break
        _check_finite(answers)
        return answers

    def _draw(
        self,
        predictor: NoisePredictor,
        shard: Sequence[Record],
        images: Sequence[Image],
        requests: Sequence[Request],
        cache: Cache | None,
    ) -> dict[Request, NDArray[np.floating]]:
        """Answers to requests about images that the target draws."""
        if not isinstance(predictor, DiffusionTarget):
            raise InternalError("images can only be drawn from a diffusion target")
        drawing = GenerationExecutor(predictor, self.batch_size, cache, usage=Usage())
        observer = DrawnObserver(
            executor=drawing,
            images=images,
            captions=[record.caption or "" for record in shard],
            guesses=[record.guess or "" for record in shard],
            ids=[record.id for record in shard],
            seed=self.seed,
            encoder=self.encoder,
        )
        answers = observer.observe(requests)
        self.usage.n_calls += drawing.usage.n_calls  # what it read from its cache `_shard` counts
        if drawing.batch_size < self.batch_size:
            self._shrink(drawing.batch_size, cache)
        return answers

    def _count(self, rows: int) -> None:
        self.usage.n_calls += rows

    def _halve(self, cache: Cache | None, error: BaseException) -> None:
        if self.batch_size == 1:
            raise TargetError(
                "out of memory with a single image; use --precision bf16, a smaller "
                "--resolution, or another --device"
            ) from error
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
        self._shrink(self.batch_size // 2, cache)

    def _shrink(self, batch_size: int, cache: Cache | None) -> None:
        self.batch_size = batch_size
        self.progress.note(f"out of memory: going on with batches of {self.batch_size}")
        if cache:
            cache.store_batch_size(self.batch_size)


def automatic_batch_size(predictor: NoisePredictor) -> int:
    """A batch that suits the device: by input size on a CPU, by free memory on a GPU.

    A function of the device and the input shape alone, so that runs can be repeated.
    """
    _, height, width = predictor.input_shape
    device = torch.device(predictor.device)
    if device.type == "cuda":
        total = torch.cuda.get_device_properties(device).total_memory
        per_image = 64 * 2**20 + height * width * 2**16  # measured order of a large U-Net in fp32
        rows = int(total * 0.6 // per_image)
    else:
        rows = 2**14 // (height * width)
    return 2 ** int(np.log2(min(max(rows, 1), 256)))


def _check_finite(answers: dict[Request, NDArray[np.floating]]) -> None:
    for request, answer in answers.items():
        bad = ~np.isfinite(answer.reshape(len(answer), -1)).all(axis=1)
        if bad.any():
            raise TargetError(
                f"the model gave NaN or infinity on {int(bad.sum())} of {len(answer)} records "
                f"({request.kind}); use --precision fp32, and check that the weights are complete"
            )
