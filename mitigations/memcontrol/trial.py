"""One trial: train a copy under a mask, and measure it."""

from __future__ import annotations

import copy
import time
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from mitigations.memcontrol.config import MemControlConfig
from mitigations.memcontrol.families import Tuned, attached, merged, trainable_count, with_weights
from mitigations.memcontrol.measures import Measures
from mitigations.memcontrol.parts import Parts, Side
from mitigations.training import Recipe, changed_weights, fit, whole_copy

ALWAYS = ("magnitude", "gap")
"""Metrics that every refit is reported with, whatever was searched for."""


class Candidate(NamedTuple):
    """A mask and a learning rate."""

    bits: tuple[int, ...]
    learning_rate: float


class Outcome(NamedTuple):
    """What came of a trial."""

    memorization: float
    quality: float
    slack: float
    """Uncertainty of the quality, where it is known."""
    trainable: int
    """Numbers that were trained."""
    seconds: float
    is_finite: bool
    """False if the training diverged: then there are no figures."""


class Refit(NamedTuple):
    """A training with a new seed, measured on the records that the search never measured."""

    memorization: dict[str, NDArray[np.float64]]
    """Metric -> (n,) values by record."""
    quality: float
    quality_each: NDArray[np.float64] | None
    trainable: int


@dataclass(frozen=True)
class Job:
    """All that a trial needs; it is sent once to each process."""

    target: Any
    parts: Parts
    config: MemControlConfig
    measures: Measures
    seed: int
    batch_size: int

    def tuned(self, bits: tuple[int, ...]) -> Tuned:
        """A mask of the family that is searched."""
        return Tuned(self.config.family, bits, self.config.rest, self.config.rank)

    def run(self, candidate: Candidate) -> Outcome:
        """Train and measure on the search's records; the same candidate gives the same figures."""
        began = time.perf_counter()
        view, trainable, is_finite = self._trained(
            self.tuned(candidate.bits), candidate.learning_rate, self.seed
        )
        figures = [float("inf")] * 3
        if is_finite:
            side = self.parts.search
            memorized = self.measures.memorization(view, side, self.seed)
            quality = self.measures.quality(view, side, self.seed)
            figures = [memorized.value, quality.value, quality.slack]
            is_finite = bool(np.isfinite(figures).all())
        seconds = time.perf_counter() - began
        return Outcome(figures[0], figures[1], figures[2], trainable, seconds, is_finite)

    def refit(self, tuned: Tuned | None, rate: float, seed: int, metrics: tuple[str, ...]) -> Refit:
        """Train with another seed and measure on the report's records; None trains everything.

        Raises nothing if the training diverges: its figures are then not finite.
        """
        view, trainable, _ = self._trained(tuned, rate, seed)
        side: Side = self.parts.report
        quality = self.measures.quality(view, side, seed)
        return Refit(
            {name: _each(self.measures, view, side, seed, name) for name in metrics},
            quality.value,
            quality.each,
            trainable,
        )

    def weights(self, tuned: Tuned, rate: float, seed: int) -> dict[str, Any]:
        """The weights of the plain network that such a training changes."""
        view, _, _ = self._trained(tuned, rate, seed)
        return changed_weights(self.target.unet, view.unet)

    def _trained(self, tuned: Tuned | None, rate: float, seed: int) -> tuple[Any, int, bool]:
        """The trained plain network, how much of it was trained, and whether that went well."""
        if tuned is None:
            view: Any = whole_copy(self.target)
        else:
            view = attached(self.target, tuned, seed=seed)
        trainable = trainable_count(view.unet)
        recipe = Recipe(
            steps=self.config.steps,
            batch_size=self.config.train_batch,
            learning_rate=rate,
            weight_decay=self.config.weight_decay,
            caption_dropout=self.config.caption_dropout,
        )
        fitted = fit(view, self.parts.trained, recipe, seed=seed, chunk=self.batch_size)
        if tuned is None:
            unet = copy.deepcopy(view.unet).to(self.target.unet.dtype)
            final: Any = self.target.with_unet(unet.eval().requires_grad_(False))
        else:
            final = with_weights(self.target, merged(view.unet))
        return final, trainable, fitted.is_finite


def _each(measures: Measures, view: Any, side: Side, seed: int, name: str) -> NDArray[np.float64]:
    each = measures.memorization(view, side, seed, name).each
    assert each is not None
    return each
