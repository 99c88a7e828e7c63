"""Attacks the records on one model and draws from the embeddings: distances to the records.

Records go through in shards, all starts of all records of a shard at once; a finished shard is
kept, so that an interrupted test continues and another edited model reuses the original's.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from attacks.concealment.curve import Reach
from attacks.concealment.embedding import CHECKPOINTS, EmbeddingConfig, attack, gaussian_start
from attacks.errors import DataError, TargetError, UsageError
from attacks.extraction.distances import tiled_rms
from attacks.observations import Request
from auditor.extraction.pictures import compared, compared_records, side_of
from auditor.observe.cache import Cache, shard_key
from auditor.observe.generation import GenerationExecutor
from auditor.observe.usage import Usage
from auditor.progress import Progress
from auditor.records import Record, open_pictures
from auditor.targets.conditioning import Conditioning
from auditor.targets.diffusion import DiffusionTarget
from auditor.targets.parametrisation import add_noise
from auditor.targets.sampling import Draw, Sampling, generate

SHARD = 16
"""Records of a shard: the unit of resume and of memory."""
PROBES = 8
"""Timesteps and noises of the noise error of a record."""
PROMPT_STARTS = 2
"""Most starts from the caption; the others are random."""


@dataclass(frozen=True, slots=True)
class Setting:
    """How a model is attacked and drawn from."""

    attack: EmbeddingConfig = EmbeddingConfig()
    restarts: int = 5
    """Starts for each record: 2 of 5 from its caption, the others random."""
    images: int = 4
    """Images drawn from each embedding, and from each caption."""
    sampling: Sampling = Sampling()

    def __post_init__(self) -> None:
        if self.restarts < 1 or self.images < 1:
            raise UsageError(
                f"at least one start and one image are needed, got {self.restarts} and {self.images}"
            )

    @property
    def n_prompt_starts(self) -> int:
        """Starts from the caption; the first ones."""
        return min(PROMPT_STARTS, self.restarts // 2)

    @property
    def is_random(self) -> NDArray[np.bool_]:
        """(s,) which starts know nothing of the caption."""
        return np.arange(self.restarts) >= self.n_prompt_starts

    @property
    def calls(self) -> int:
        """Forward calls for one record on one model, a backward pass counted as two."""
        embeddings = 1 + self.restarts * len(self.attack.checkpoints)
        drawing = embeddings * self.images * self.sampling.calls
        return PROBES + self.restarts * self.attack.calls + drawing


@dataclass(frozen=True, slots=True)
class EmbeddingReach(Request):
    """(n, 3 + s + s c) figures of n records, in the order of the fields of `Measured`."""

    kind: ClassVar[str] = "embedding_reach"
    steps: int
    rate: float
    draws: int
    checkpoints: str
    restarts: int
    images: int
    sampling: str
    side: int
    second: str
    """Key of the model whose text encoder the second start comes from."""


@dataclass(frozen=True)
class Measured:
    """What one model gave away about n records."""

    loss: NDArray[np.float64]
    """(n,) noise error with the caption."""
    prompt: NDArray[np.float64]
    """(n,) distance of the nearest image drawn by the caption."""
    median: NDArray[np.float64]
    """(n,) median distance over all images of the last checkpoint."""
    moved: NDArray[np.float64]
    """(n, s) distance of the last embedding to that of the caption, over the norm of the latter."""
    attacked: NDArray[np.float64]
    """(n, s, c) distance of the nearest image drawn from each embedding."""

    def reach(self, setting: Setting, n_members: int) -> Reach:
        """The distances for a recovery curve; the first n_members records are members."""
        return Reach(
            prompt=self.prompt,
            attacked=self.attacked.transpose(1, 2, 0),
            is_random=setting.is_random,
            checkpoints=setting.attack.checkpoints,
            loss=float(self.loss[n_members:].mean()),
        )


@dataclass
class Prober:
    """Attacks records on one model."""

    target: DiffusionTarget
    original: DiffusionTarget
    """Its text encoder gives the second start: the attacker may know the unedited one."""
    setting: Setting
    seed: int
    batch_size: int
    cache: Cache | None = None
    progress: Progress = field(default_factory=Progress)
    usage: Usage = field(default_factory=Usage)

    def measure(self, records: Sequence[Record]) -> Measured:
        """Figures of all records, in their order; finished shards come from the cache."""
        s, c = self.setting.restarts, len(self.setting.attack.checkpoints)
        parts = []
        for start in range(0, len(records), SHARD):
            shard = records[start : start + SHARD]
            parts.append(self._stored(shard))
            self.progress.advance(len(shard))
        found = np.concatenate(parts)
        return Measured(
            loss=found[:, 0],
            prompt=found[:, 1],
            median=found[:, 2],
            moved=found[:, 3 : 3 + s],
            attacked=found[:, 3 + s :].reshape(-1, s, c),
        )

    def prompt_distances(
        self, target: DiffusionTarget, records: Sequence[Record]
    ) -> NDArray[np.float64]:
        """(n,) distance of the nearest image that another edit of the model draws by caption."""
        captions = [record.caption or "" for record in records]
        given = target.embed(captions)
        assert given is not None
        executor = self._executor()
        return executor.in_memory(
            lambda rows: self._distances(target, records, given, "prompt", rows).min(axis=0)
        )

    def _executor(self) -> GenerationExecutor:
        return GenerationExecutor(self.target, self.batch_size, None, self.progress, self.usage)

    @property
    def _request(self) -> EmbeddingReach:
        s = self.setting
        return EmbeddingReach(
            steps=s.attack.steps,
            rate=s.attack.rate,
            draws=s.attack.draws,
            checkpoints=",".join(map(str, CHECKPOINTS)),
            restarts=s.restarts,
            images=s.images,
            sampling=s.sampling.key,
            side=side_of(self.target),
            second=self.original.key,
        )

    def _stored(self, shard: Sequence[Record]) -> NDArray[np.float64]:
        name = shard_key([record.id for record in shard])
        calls = self.setting.calls * len(shard)
        found = self.cache.load(self._request, name) if self.cache else None
        if found is not None and len(found) == len(shard):
            self.usage.n_calls_cached += calls
            return found
        fresh: NDArray[np.float64] = self._executor().in_memory(
            lambda rows: self._compute(shard, rows)
        )
        if not np.isfinite(fresh).all():
            raise TargetError(
                f"'{self.target.name}' gave NaN or infinity under attack; use --precision fp32, or "
                "a smaller --rate"
            )
        if self.cache:
            self.cache.store(self._request, name, fresh)
        return fresh

    def _compute(self, shard: Sequence[Record], batch_size: int) -> NDArray[np.float64]:
        """(n, 3 + s + s c) figures of a shard."""
        n, s = len(shard), self.setting.restarts
        clean = self.target.prepare(open_pictures(shard))
        given = self.target.embed([record.caption or "" for record in shard])
        if given is None:
            raise TargetError(
                f"'{self.target.name}' takes no text; there is no embedding to attack"
            )
        starts = self._starts(shard, given)
        trace = attack(
            self.target,
            clean.repeat(s, 1, 1, 1),
            starts,
            self.setting.attack,
            [self._seed(record, f"attack {k}") for k in range(s) for record in shard],
            batch_size=batch_size,
            on_calls=lambda rows: self._count(3 * rows),
        )
        near, median = [], np.zeros(n)
        for kept in trace.embeddings:
            assert isinstance(kept, Conditioning)
            every = [
                self._distances(
                    self.target, shard, _rows(kept, range(k * n, (k + 1) * n)), f"start {k}",
                    batch_size,
                )
                for k in range(s)
            ]  # fmt: skip
            near.append([one.min(axis=0) for one in every])
            median = np.median(np.concatenate(every), axis=0)
        attacked = np.array(near).transpose(2, 1, 0).reshape(n, -1)  # (c, s, n) -> (n, s c)
        prompt = self._distances(self.target, shard, given, "prompt", batch_size).min(axis=0)
        loss = self._losses(shard, clean, given, batch_size)
        assert isinstance(trace.final, Conditioning)
        columns = [loss, prompt, median, *_moved(trace.final, given, s)]
        return np.column_stack([*columns, attacked])

    def _starts(self, shard: Sequence[Record], given: Conditioning) -> Conditioning:
        """(s n) starts: by the own text encoder, by the original's, and random ones."""
        starts = [given] * self.setting.n_prompt_starts
        if len(starts) > 1:
            known = self.original.embed([record.caption or "" for record in shard])
            if known is not None and known.hidden.shape == given.hidden.shape:
                starts[1] = known
        empty = self.target.embed_nothing()
        assert empty is not None
        for k in range(len(starts), self.setting.restarts):
            seeds = [self._seed(record, f"start {k}") for record in shard]
            random = gaussian_start(empty, seeds)
            assert isinstance(random, Conditioning)
            starts.append(random)
        joined = starts[0]
        for one in starts[1:]:
            joined = joined.joined(one)
        return joined

    def _distances(
        self,
        target: DiffusionTarget,
        shard: Sequence[Record],
        embeddings: Conditioning,
        purpose: str,
        batch_size: int,
    ) -> NDArray[np.float64]:
        """(images, n) distances of images drawn from an embedding for each record to it."""
        n, images = len(shard), self.setting.images
        draws = [
            Draw("", self._seed(record, f"draw {purpose} {i}"))
            for i in range(images)
            for record in shard
        ]
        drawn = generate(
            target,
            draws,
            self.setting.sampling,
            batch_size=batch_size,
            on_calls=self._count,
            embeddings=_rows(embeddings, list(range(n)) * images),
        )
        side = side_of(target)
        pictures = compared_records(target, shard, side, batch_size)
        seen = compared(drawn, side)
        return tiled_rms(seen.reshape(images, *pictures.shape), pictures[None]).values

    def _losses(
        self, shard: Sequence[Record], clean: Tensor, given: Conditioning, batch_size: int
    ) -> NDArray[np.float64]:
        """(n,) mean squared noise error with the caption, over timesteps and noises of its own."""
        total = torch.zeros(len(shard), dtype=torch.float64)
        generators = [
            torch.Generator("cpu").manual_seed(self._seed(record, "loss")) for record in shard
        ]
        for i in range(PROBES):
            t = (2 * i + 1) * self.target.capabilities.n_timesteps // (2 * PROBES)
            noise = torch.stack(
                [torch.randn(self.target.input_shape, generator=one) for one in generators]
            ).to(clean.device)
            for rows in torch.arange(len(shard), device=clean.device).split(batch_size):
                timesteps = torch.full((len(rows),), t, device=clean.device)
                at = self.target.coefficients.at(timesteps)
                noised = add_noise(clean[rows], noise[rows], at)
                predicted = self.target.predict(noised, timesteps, given.rows(rows))
                error = (predicted - noise[rows]).double().square().flatten(1).mean(1)
                total[rows.cpu()] += error.cpu() / PROBES
                self._count(len(rows))
        return total.numpy()

    def _seed(self, record: Record, purpose: str) -> int:
        text = f"{self.seed}|{purpose}|{record.id}".encode()
        return int.from_bytes(hashlib.blake2b(text, digest_size=7).digest(), "big")

    def _count(self, rows: int) -> None:
        self.usage.n_calls += rows


def check_target(target: DiffusionTarget, setting: Setting) -> None:
    """Refuse a model without text, or with fewer timesteps than the sampler takes."""
    if not target.capabilities.is_text_conditional:
        raise TargetError(
            f"'{target.name}' takes no text; the concealment test attacks text embeddings"
        )
    if setting.sampling.steps > target.capabilities.n_timesteps:
        raise TargetError(
            f"--sampling-steps {setting.sampling.steps} is more than the "
            f"{target.capabilities.n_timesteps} timesteps of '{target.name}'"
        )


def check_captions(records: Sequence[Record]) -> None:
    """Refuse records without captions: their prompts are what an edit blocks."""
    without = sum(not record.caption for record in records)
    if without:
        raise DataError(
            f"{without:,} of {len(records):,} records have no caption; the concealment test needs "
            "the prompts that the edit was made against"
        )


def _rows(conditioning: Conditioning, index: Sequence[int]) -> Conditioning:
    places = torch.tensor(list(index), device=conditioning.hidden.device)
    return conditioning.rows(places)


def _moved(final: Conditioning, given: Conditioning, s: int) -> list[NDArray[np.float64]]:
    """One array (n,) a start: how far the embeddings of each start lie from the captions'."""
    n = len(given.hidden)
    size = given.hidden.double().flatten(1).norm(dim=1)
    found = []
    for k in range(s):
        gap = (final.hidden[k * n : (k + 1) * n] - given.hidden).double().flatten(1).norm(dim=1)
        found.append((gap / size).cpu().numpy())
    return found
