"""Shadow models of a recipe: designed, trained where they are missing, stored, put together."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from auditor.progress import Progress
from auditor.shadows.halves import check_even, model_seeds, paired_halves, random_subsets
from auditor.shadows.meter import Meter
from auditor.shadows.pool import Pool
from auditor.shadows.processes import fitted_pairs
from auditor.shadows.recipe import Recipe, SklearnRecipe, TorchRecipe
from auditor.shadows.store import ShadowFolder, ShadowStore, Trained

MOST_IN_MEMORY = 2**30
"""Bytes of logits that are held in memory; more are mapped from a file without a name."""


@dataclass(frozen=True)
class ShadowSet:
    """m shadow models: what they were trained on, and what they say."""

    keep: NDArray[np.bool_]
    """(m, n) whether a record was in the training set of a model."""
    logits: NDArray[np.float32]
    """(m, n, k) logits of every model on every record of the pool; perhaps mapped from a file."""
    record_ids: tuple[str, ...]
    """(n,) ids, in the order of the pool."""
    seeds: tuple[int, ...]
    """(m,) seeds of the models."""
    seconds: float
    """Time that training them took, summed over processes; also of those trained before."""
    n_reused: int
    """Models that were trained before and taken from the store."""
    clipped: float
    """Share of the probabilities of true classes that attacks clip, in [0, 1]."""
    notes: tuple[str, ...]
    """What a reader should know about the training."""
    eps: float = 0.0
    """How far from 0 and 1 the probability of the true class counts, the largest of the models'."""


def train_shadows(
    recipe: Recipe,
    pool: Pool,
    n_models: int,
    seed: int,
    store: ShadowStore,
    progress: Progress | None = None,
    *,
    share: float | None = None,
    device: str = "auto",
    processes: int | None = None,
    checkpoint_seconds: float = 60.0,
) -> ShadowSet:
    """Train shadow models on a pool, or take from the store those trained before.

    n_models: m, even. Of models 2j and 2j + 1 one is trained on a random half and the other on
        the rest, so leave out both where one of them plays the target.
    seed: of the halves, the initial weights and the batches.
    share: train on independent random subsets of this share instead, for an estimate of
        memorization at that share.
    device: of torch models. processes: of scikit-learn classifiers; None for one a core.
    checkpoint_seconds: how often torch models under way are saved.

    The same arguments give the same bytes on one machine; on a GPU they may differ by rounding.
    An interruption loses the pair under way, or the steps since the last checkpoint.

    Raises UsageError, DataError, ShapeError or TargetError if recipe, pool and design do not fit.
    """
    keep = _design(pool, n_models, seed, share)
    design = "halves" if share is None else f"subsets of {share!r}"
    folder = store.folder(recipe.key, pool.key, str(seed), design)
    training = _Training(recipe, pool, keep, seed, folder, progress or Progress())
    training.recall()
    if training.missing:
        training.complete(device, processes, checkpoint_seconds)
    return training.result()


def _design(pool: Pool, n_models: int, seed: int, share: float | None) -> NDArray[np.bool_]:
    check_even(n_models)
    n = pool.n_trainable
    ids, groups = pool.record_ids[:n], None if pool.groups is None else pool.groups[:n]
    if share is None:
        keep = paired_halves(ids, n_models, seed, groups)
    else:
        keep = random_subsets(ids, n_models, share, seed, groups)
    return np.pad(keep, ((0, 0), (0, pool.n_asked)))


@dataclass
class _Training:
    """A set of shadow models that fills up, pair by pair."""

    recipe: Recipe
    pool: Pool
    keep: NDArray[np.bool_]
    seed: int
    folder: ShadowFolder
    progress: Progress
    notes: list[str] = field(default_factory=list)
    seconds: float = 0.0
    clipped: float = 0.0
    eps: float = 0.0
    n_warned: int = 0
    n_reused: int = 0

    def __post_init__(self) -> None:
        self.seeds = model_seeds(self.seed, len(self.keep))
        self.missing = list(range(len(self.keep) // 2))
        shape = (*self.keep.shape, self.pool.n_classes)
        self.logits = self.folder.empty(shape, MOST_IN_MEMORY)

    def recall(self) -> None:
        """Take what is stored."""
        for pair in tuple(self.missing):
            keep, seeds = self._of_pair(pair)
            stored = self.folder.load_pair(pair, keep, seeds, self.pool.n_classes)
            if stored is not None:
                self._add(pair, stored)
                self.n_reused += 2

    def complete(self, device: str, processes: int | None, checkpoint_seconds: float) -> None:
        """Train and store what is missing."""
        meter = Meter(self.progress)
        self.progress.stage("training shadow models", 2 * len(self.missing), "models")
        if isinstance(self.recipe, SklearnRecipe):
            parts = fitted_pairs(
                self.recipe,
                self.pool,
                self.keep,
                self.seeds.tolist(),
                tuple(self.missing),
                processes,
            )
        else:
            parts = self._torch_parts(self.recipe, meter, device, checkpoint_seconds)
        for part in parts:
            added = [p for p in part.split() if p.models[0] // 2 in self.missing]
            for trained in added:
                pair = trained.models[0] // 2
                self.folder.store_pair(pair, trained, *self._of_pair(pair))
                self._add(pair, trained)
            meter.finish(2 * len(added))
        self.folder.drop_state()

    def result(self) -> ShadowSet:
        """What was put together, with notes on all of it."""
        m = len(self.keep)
        clipped = self.clipped / (m // 2)
        if self.n_warned:
            self.note(
                f"{self.n_warned} of {m} shadow models gave warnings when they were fitted, such "
                "as a missed convergence"
            )
        if clipped:
            self.note(
                f"{clipped:.1%} of the shadow models' probabilities of the true class are clipped"
            )
        return ShadowSet(
            keep=self.keep,
            logits=self.logits,
            record_ids=tuple(self.pool.record_ids),
            seeds=tuple(self.seeds.tolist()),
            seconds=self.seconds,
            n_reused=self.n_reused,
            clipped=clipped,
            eps=self.eps,
            notes=tuple(self.notes),
        )

    def note(self, text: str) -> None:
        """Show a note and keep it."""
        self.notes.append(text)
        self.progress.note(text)

    def _torch_parts(
        self, recipe: TorchRecipe, meter: Meter, device: str, checkpoint_seconds: float
    ) -> Iterator[Trained]:
        from auditor.shadows.job import make_job
        from auditor.shadows.torch_training import TorchTraining
        from auditor.targets.loading import choose_device

        n_trained_on = int(np.median(self.keep[:2].sum(axis=1)))
        seeds = self.seeds.tolist()
        job = make_job(recipe, self.pool, self.keep, seeds, n_trained_on, choose_device(device))
        training = TorchTraining(job, self.note, self.folder, meter, checkpoint_seconds)
        return training.chunks([i for pair in self.missing for i in (2 * pair, 2 * pair + 1)])

    def _of_pair(self, pair: int) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
        both = slice(2 * pair, 2 * pair + 2)
        return self.keep[both], self.seeds[both]

    def _add(self, pair: int, trained: Trained) -> None:
        self.logits[2 * pair : 2 * pair + 2] = trained.logits
        self.seconds += trained.seconds
        self.clipped += trained.clipped
        self.eps = max(self.eps, trained.eps)
        self.n_warned += trained.n_warned
        self.missing.remove(pair)
