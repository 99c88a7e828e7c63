"""Do the estimates hold together: identities that bookkeeping errors break, and split halves."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from attacks.errors import ShapeError
from attacks.memorization._design import (
    Sides,
    checked_answers,
    checked_keep,
    compare_sides,
    require_estimates,
)
from attacks.memorization.influence import self_influence
from attacks.memorization.subsampled import MEMORIZED, memorization
from attacks.results import Estimate
from attacks.statistics.correlation import spearman


class SelfCheck(NamedTuple):
    """Two identities that wrong bookkeeping of subsets breaks."""

    mean_memorization: float
    """Mean over the records that have a figure."""
    accuracy_gap: float
    """Accuracy of all IN answers minus accuracy of all OUT answers about the same records."""
    is_balanced: bool
    """Whether all these records have the same counts; then the two figures above are equal."""
    diagonal_error: float
    """Largest difference between memorization and the influence of a record on itself."""

    def holds(self, tolerance: float = 1e-5) -> bool:
        """Whether every identity that applies holds; the tolerance is for single precision."""
        gap = abs(self.mean_memorization - self.accuracy_gap)
        return self.diagonal_error <= tolerance and (not self.is_balanced or gap <= tolerance)


def self_check(keep: ArrayLike, correct: ArrayLike, *, soft: bool = False) -> SelfCheck:
    """Memorization against the generalisation gap, and against the arithmetic of influence.

    keep, correct, soft: as for `memorization`.
    Mean memorization is the gap between IN and OUT accuracy when every record has the same
    counts, as paired halves have (Feldman 2020, Lemma 4.2); and the influence of a training
    record on itself is its memorization. A mask, order or target mixed up between the two
    arrays leaves memorization near 0 or below on data that a model must memorize.
    """
    trained = checked_keep(keep)
    answers = checked_answers(correct, trained.shape[0], "correct", soft=soft)
    sides = compare_sides(trained, answers, twins=False)
    known = require_estimates(sides.n_in, sides.n_out)
    value = sides.difference[known]
    own = self_influence(trained[:, known], answers[:, known])
    return SelfCheck(
        mean_memorization=float(value.mean()),
        accuracy_gap=_pooled_gap(sides, known),
        is_balanced=bool(np.ptp(sides.n_in[known]) == 0),
        diagonal_error=float(np.abs(own - value).max()),
    )


def _pooled_gap(sides: Sides, known: NDArray[np.bool_]) -> float:
    inside = np.average(sides.mean_in[known], weights=sides.n_in[known])
    return float(inside - np.average(sides.mean_out[known], weights=sides.n_out[known]))


class SplitHalf(NamedTuple):
    """Agreement of two estimates from disjoint sets of models."""

    correlation: Estimate
    """Spearman correlation over the records that both halves can estimate."""
    jaccard: float | None
    """Records memorized in both halves over those in either; None when there are none."""
    n_records: int
    """Records that both halves can estimate."""


def split_half(
    keep: ArrayLike,
    correct: ArrayLike,
    is_first: ArrayLike,
    *,
    soft: bool = False,
    threshold: float = MEMORIZED,
) -> SplitHalf:
    """How well an estimate from some of the models repeats in the others.

    keep, correct, soft: as for `memorization`.
    is_first: (m,) True for the models of the first half; keep the twins of a pair together.
    threshold: memorization from which a record counts as selected.
    The estimate from all models is more reliable than either half, and no proxy can be expected
    to agree with it better than it agrees with itself.
    """
    trained = checked_keep(keep)
    answers = checked_answers(correct, trained.shape[0], "correct", soft=soft)
    first = np.asarray(is_first, dtype=bool)
    if first.shape != (trained.shape[0],):
        raise ShapeError(f"expected is_first of shape ({trained.shape[0]},), got {first.shape}")
    one, two = (memorization(trained[s], answers[s], soft=soft).value for s in (first, ~first))
    both = ~(np.ma.getmaskarray(one) | np.ma.getmaskarray(two))
    if not both.any():
        reason = "no record has enough models in both halves"
        return SplitHalf(Estimate(None, None, None, reason), None, 0)
    a, b = one.data[both], two.data[both]
    either = int(np.count_nonzero((a >= threshold) | (b >= threshold)))
    overlap = int(np.count_nonzero((a >= threshold) & (b >= threshold)))
    return SplitHalf(spearman(a, b), overlap / either if either else None, int(a.size))
