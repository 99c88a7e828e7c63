"""Subsampled memorization: does a model know a record only because it trained on it?

Idea: train m models, each on a random subset, and compare how often those that had a record are
right about it with those that had not. The same shadow models serve LiRA and RMIA.
Citation: Feldman and Zhang, "What Neural Networks Memorize and Why", NeurIPS 2020,
arXiv:2008.03703; label memorization is defined in Feldman, STOC 2020, arXiv:1906.05271.
Score: P(right | trained on it) - P(right | not), in [-1, 1]. Higher means more memorized.
Cost: m trainings; the arithmetic is one pass over two (m, n) arrays.
Invalid when: answers were taken in training mode or on augmented records, keep is not the subset
that each model was trained on, or the subsets were not drawn at random.

The estimate is for training on subsets of the given size. With halves (share .5) its variance is
smallest, but records that half the data does not teach count as memorized although more data
would; with a share of .7 that bias is smaller. Correct answers lag behind: a model can give away
a record through its confidence long before it gets the label right, so look at `soft` too.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from attacks.errors import DataError
from attacks.memorization._design import (
    checked_answers,
    checked_keep,
    compare_sides,
    has_twins,
    masked,
    refusal,
    require_estimates,
)

MEMORIZED = 0.25
"""Memorization from which a record counts as memorized (Feldman and Zhang)."""


@dataclass(frozen=True, slots=True, eq=False)
class Memorization:
    """Memorization of each record with its uncertainty.

    Masked entries are records with too few IN or OUT models; `reason` says so. NaN lies under
    the mask.
    """

    kind: str
    """`label` for correctness, `confidence` for the probability of the true label."""
    value: np.ma.MaskedArray
    """(n,) IN mean minus OUT mean, in [-1, 1]; higher is more memorized."""
    standard_error: np.ma.MaskedArray
    """(n,) plug-in standard error from the record's own counts; 0 where all answers agree."""
    low: np.ma.MaskedArray
    """(n,) lower limit (Newcombe), one record at a time; conservative for `confidence`."""
    high: np.ma.MaskedArray
    """(n,) upper limit."""
    mean_in: np.ma.MaskedArray
    """(n,) mean answer of the models that trained on the record."""
    mean_out: np.ma.MaskedArray
    """(n,) mean answer of those that did not."""
    n_in: NDArray[np.int64]
    """(n,) models that trained on the record."""
    n_out: NDArray[np.int64]
    """(n,) models that did not."""
    n_models: int
    share: float
    """Mean share of the records that a model trained on: .5 for paired halves."""
    has_twins: bool
    """Whether models 2j and 2j + 1 trained on complementary halves: the standard error and the
    limits then use the correlation of the answers within a pair."""
    rms_error_bound: float
    """Bound of the root mean square error at this number of models and share."""
    confidence: float
    """Two-sided level of low and high."""

    @property
    def n_refused(self) -> int:
        """Records without a figure."""
        return int(np.ma.count_masked(self.value))

    def reason(self, record: int) -> str | None:
        """Why there is no figure about this record (its position); None where there is one."""
        return refusal(int(self.n_in[record]), int(self.n_out[record]))


def memorization(
    keep: ArrayLike, correct: ArrayLike, *, soft: bool = False, confidence: float = 0.95
) -> Memorization:
    """Memorization of each of n records from m models trained on random subsets.

    keep: (m, n) True where model m trained on record n.
    correct: (m, n) True where model m is right about record n; with `soft` the probability that
        it gives the true label, which has a lower variance and is reported as `confidence`.
    confidence: two-sided level of the interval of each record; nothing corrects for n of them.

    Raises ShapeError or DataError for arrays that do not fit, UnderPowered if every record has
    fewer than 8 IN or 8 OUT models. Source: Feldman and Zhang 2020, mem_m.
    """
    trained = checked_keep(keep)
    answers = checked_answers(correct, trained.shape[0], "correct", soft=soft)
    twins = has_twins(trained)
    sides = compare_sides(trained, answers, twins=twins)
    known = require_estimates(sides.n_in, sides.n_out)
    limits = sides.limits(confidence)
    share = float(trained.mean())
    return Memorization(
        kind="confidence" if soft else "label",
        value=masked(sides.difference, known),
        standard_error=masked(sides.standard_error, known),
        low=masked(limits.low, known),
        high=masked(limits.high, known),
        mean_in=masked(sides.mean_in, known),
        mean_out=masked(sides.mean_out, known),
        n_in=sides.n_in,
        n_out=sides.n_out,
        n_models=trained.shape[0],
        share=share,
        has_twins=twins,
        rms_error_bound=rms_error_bound(trained.shape[0], share),
        confidence=confidence,
    )


def rms_error_bound(n_models: int, share: float) -> float:
    """Bound of the root mean square error of an estimate from subsets of a share of the records.

    sqrt(1/(p t) + 1/((1-p) t) + exp(-p t/16)/2) with t models and p = min(share, 1 - share): it
    holds before anything is seen and for any learner, so the standard error of a record is
    usually well below it. Source: the lemma of Feldman and Zhang 2020 on their estimator.
    """
    if n_models < 1 or not 0 < share < 1:
        raise DataError(
            f"no bound for {n_models} models on a share of {share:g} of the records; each model "
            "must leave some records out"
        )
    p = min(share, 1 - share)
    t = n_models
    return math.sqrt(1 / (p * t) + 1 / ((1 - p) * t) + math.exp(-p * t / 16) / 2)


@dataclass(frozen=True, slots=True, eq=False)
class MemorizedRecords:
    """Records whose estimate reaches a threshold, the most memorized first.

    Estimates near the top are too high on average, because noise put them there: delete or
    suppress by `is_sure`, or estimate again with other models.
    """

    record: NDArray[np.int64]
    """(r,) positions of the records."""
    value: NDArray[np.float64]
    """(r,) their memorization."""
    is_sure: NDArray[np.bool_]
    """(r,) whether the lower limit of the record's interval also reaches the threshold."""
    threshold: float
    n_estimated: int
    """Records with a figure, out of which these were selected."""

    @property
    def share(self) -> float:
        """Memorized records as a share of those with a figure."""
        return self.record.size / self.n_estimated


def memorized_records(scores: Memorization, threshold: float = MEMORIZED) -> MemorizedRecords:
    """The records whose memorization is at least `threshold`; ties in order of position."""
    values = scores.value.filled(-np.inf)
    order = np.argsort(-values, kind="stable")
    chosen = order[: np.count_nonzero(values >= threshold)].astype(np.int64)
    return MemorizedRecords(
        record=chosen,
        value=values[chosen],
        is_sure=scores.low.filled(-np.inf)[chosen] >= threshold,
        threshold=threshold,
        n_estimated=values.size - scores.n_refused,
    )
