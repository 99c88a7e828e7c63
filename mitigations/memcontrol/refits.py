"""The pick and its controls, trained again with new seeds and measured on other records."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from attacks.errors import UsageError
from attacks.results import Estimate
from attacks.statistics.means import t_interval
from mitigations.memcontrol.families import Tuned
from mitigations.memcontrol.masks import Mask, bits_text
from mitigations.memcontrol.result import RefitRow
from mitigations.memcontrol.trial import ALWAYS, Job, Refit

PLAIN, NONE, FULL = "plain", "none", "full"


class Variant(NamedTuple):
    """One way to train."""

    name: str
    tuned: Tuned | None
    """None trains every weight."""
    learning_rate: float


class Refits(NamedTuple):
    """All refits of a search."""

    rows: tuple[RefitRow, ...]
    excess: Estimate | None
    """How much more full fine-tuning memorizes than no training, by the gap of losses, record by
    record; None where it diverged."""


def variants(job: Job, mask: Mask) -> list[Variant]:
    """The pick; its family without a mask; a random mask of its size; nothing; everything."""
    ones, n = sum(mask.tuned.bits), len(mask.tuned.bits)
    rate = mask.learning_rate
    found = [Variant("chosen", mask.tuned, rate)]

    def add(name: str, bits: tuple[int, ...]) -> None:
        found.append(Variant(name, dataclasses.replace(mask.tuned, bits=bits), rate))

    add(PLAIN, (1,) * n)
    if 0 < ones < n:
        add("random", _other(mask.tuned.bits, job.seed))
    add(NONE, (0,) * n)
    found.append(Variant(FULL, None, job.config.full_rate))
    return found


def _other(bits: tuple[int, ...], seed: int) -> tuple[int, ...]:
    """Another mask with as many ones."""
    rng = np.random.default_rng([seed, 0xB17])
    drawn = bits
    while drawn == bits:
        drawn = tuple(int(bit) for bit in rng.permutation(bits))
    return drawn


def new_seeds(job: Job) -> tuple[int, ...]:
    """Seeds of the refits, none of them that of the search."""
    return tuple(job.seed + 1 + i for i in range(job.config.refits))


def refitted(
    job: Job,
    mask: Mask,
    store: Path | None,
    told: Callable[[int, int], None] = lambda done, total: None,
) -> Refits:
    """Every variant, one row each.

    store: file of finished trainings, so that an interrupted run continues; None keeps nothing.
    Raises UsageError if the training of the pick diverges with a new seed.
    """
    metrics = _metrics(job)
    ways, seeds = variants(job, mask), new_seeds(job)
    kept = _Store(store)
    runs: dict[str, list[Refit]] = {}
    done = 0
    for way in ways:
        for seed in seeds:
            key = f"{way.tuned!r}|{way.learning_rate!r}|{seed}"
            refit = kept.get(key)
            if refit is None:
                refit = job.refit(way.tuned, way.learning_rate, seed, metrics)
                kept.put(key, refit)
            runs.setdefault(way.name, []).append(refit)
            done += 1
            told(done, len(ways) * len(seeds))
    diverged = [name for name, found in runs.items() if not all(_is_finite(one) for one in found)]
    if {"chosen", PLAIN} & set(diverged):
        raise UsageError(
            f"training with the mask {mask.text} diverged at learning rate {mask.learning_rate:.3g} "
            "with a new seed; lower rate_high"
        )
    total = sum(p.numel() for p in job.target.unet.parameters())
    rows = tuple(
        _row(way, runs[way.name], runs[PLAIN], total) for way in ways if way.name not in diverged
    )
    if {FULL, NONE} & set(diverged):
        return Refits(rows, None)
    return Refits(rows, t_interval(_mean(runs[FULL], "gap") - _mean(runs[NONE], "gap")))


def _metrics(job: Job) -> tuple[str, ...]:
    """What was searched for, and what was not."""
    searched = {"magnitude_high": "magnitude"}.get(job.config.memorization, job.config.memorization)
    is_text = job.target.capabilities.is_text_conditional
    others = ALWAYS if is_text else ("gap",)
    return tuple(dict.fromkeys((searched, *others)))


def _is_finite(refit: Refit) -> bool:
    each = refit.memorization.values()
    return bool(np.isfinite(refit.quality)) and all(np.isfinite(one).all() for one in each)


def _row(way: Variant, runs: Sequence[Refit], plain: Sequence[Refit], total: int) -> RefitRow:
    means = {name: _mean(runs, name) for name in runs[0].memorization}
    if runs[0].quality_each is not None:
        each = [run.quality_each for run in runs if run.quality_each is not None]
        quality = t_interval(np.mean(each, axis=0))
    else:
        quality = t_interval([run.quality for run in runs])
    return RefitRow(
        name=way.name,
        bits=None if way.tuned is None else bits_text(way.tuned.bits),
        learning_rate=way.learning_rate,
        trainable=runs[0].trainable,
        share=runs[0].trainable / total,
        memorization={name: t_interval(mean) for name, mean in means.items()},
        relief={name: t_interval(_mean(plain, name) - mean) for name, mean in means.items()},
        quality=quality,
    )


def _mean(runs: Sequence[Refit], name: str) -> NDArray[np.float64]:
    """(n,) values by record, averaged over seeds."""
    mean: NDArray[np.float64] = np.mean([run.memorization[name] for run in runs], axis=0)
    return mean


class _Store:
    """Finished trainings in a file."""

    def __init__(self, path: Path | None):
        self._path = path
        self._found: dict[str, dict] = {}
        if path is not None and path.is_file():
            self._found = json.loads(path.read_text(encoding="utf-8"))

    def get(self, key: str) -> Refit | None:
        """A training that was finished before."""
        found = self._found.get(key)
        if found is None:
            return None
        each = found["quality_each"]
        return Refit(
            {name: np.array(values) for name, values in found["memorization"].items()},
            found["quality"],
            None if each is None else np.array(each),
            found["trainable"],
        )

    def put(self, key: str, refit: Refit) -> None:
        """Keep a training."""
        each = refit.quality_each
        self._found[key] = {
            "memorization": {name: v.tolist() for name, v in refit.memorization.items()},
            "quality": refit.quality,
            "quality_each": None if each is None else each.tolist(),
            "trainable": refit.trainable,
        }
        if self._path is not None:
            staging = self._path.with_suffix(".part")
            staging.write_text(json.dumps(self._found), encoding="utf-8")
            staging.replace(self._path)
