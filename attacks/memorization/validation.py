"""Does a proxy find what is memorized? A report to put beside it, on the project's own data."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from attacks.errors import DataError, ShapeError, UnderPowered
from attacks.memorization._design import Bools, Floats, known_values
from attacks.memorization.subsampled import MEMORIZED
from attacks.results import Estimate
from attacks.statistics.auc import auc
from attacks.statistics.correlation import spearman
from attacks.statistics.rates import clopper_pearson

SCREENING_BELOW = 0.3
"""Rank correlation with memorization below which a proxy is fit for screening only."""
TOP_SHARE = 0.05
"""Share of the records, the highest by the proxy, in which its precision is taken."""


@dataclass(frozen=True, slots=True)
class ProxyReport:
    """How well a proxy agrees with memorization on the same records."""

    spearman: Estimate
    """Rank correlation with memorization."""
    flip_auc: Estimate
    """AUC for telling records with a wrong label from the others, where the wrong ones are known."""
    precision_memorized: Estimate
    """Share of the top records that are memorized, with exact limits."""
    precision_flipped: Estimate
    """Share of the top records whose label is known to be wrong, with exact limits."""
    base_memorized: float
    """Share of all records that are memorized: the precision of a proxy that knows nothing."""
    n_records: int
    """Records with both a proxy and a memorization score."""
    n_left_out: int
    """Records without one of them."""
    n_top: int
    """Records that make up the top."""

    @property
    def is_screening_only(self) -> bool:
        """Whether the rank correlation is below .3 or cannot be given."""
        return self.spearman.value is None or self.spearman.value < SCREENING_BELOW

    @property
    def label(self) -> str:
        """`screening only`, or `validated` with the correlation, to print beside the proxy."""
        if self.spearman.value is None:
            return f"screening only ({self.spearman.reason})"
        word = "screening only" if self.is_screening_only else "validated"
        return f"{word} (rank correlation with memorization {self.spearman.value:.2f})"


def validate_proxy(
    proxy: ArrayLike,
    memorization: ArrayLike,
    is_flipped: ArrayLike | None = None,
    *,
    threshold: float = MEMORIZED,
    top: float = TOP_SHARE,
) -> ProxyReport:
    """Compare a proxy with memorization, and with labels that are known to be wrong.

    proxy: (n,) scores, higher for more memorized; masked where missing.
    memorization: (n,) `Memorization.value`, or an exact oracle; masked where refused.
    is_flipped: (n,) True where the label is known to be wrong, if that is known.
    threshold: memorization from which a record counts as memorized.
    top: share of the records that make up the top; ties at its edge count in proportion.

    Raises ShapeError if lengths differ, UnderPowered if no record has both scores.
    """
    scores, has_score = known_values(proxy)
    truth, has_truth = known_values(memorization)
    if scores.ndim != 1 or scores.shape != truth.shape:
        raise ShapeError(
            f"expected proxy and memorization of one shape (n,), got {scores.shape} "
            f"and {truth.shape}"
        )
    if not 0 < top <= 1:
        raise DataError(f"expected top in (0, 1], got {top:g}")
    both = has_score & has_truth
    if not both.any():
        raise UnderPowered("no record has both a proxy and a memorization score")
    flipped = _checked_flips(is_flipped, scores.shape)
    s, is_memorized = scores[both], truth[both] >= threshold
    n_top = max(1, math.ceil(top * s.size - 1e-9))
    unknown = Estimate(None, None, None, "it is not known which labels are wrong")
    return ProxyReport(
        spearman=spearman(s, truth[both]),
        flip_auc=unknown if flipped is None else _flip_auc(s, flipped[both]),
        precision_memorized=_precision(s, is_memorized, n_top),
        precision_flipped=unknown if flipped is None else _precision(s, flipped[both], n_top),
        base_memorized=float(is_memorized.mean()),
        n_records=int(s.size),
        n_left_out=int(both.size - s.size),
        n_top=n_top,
    )


def _checked_flips(is_flipped: ArrayLike | None, shape: tuple[int, ...]) -> Bools | None:
    if is_flipped is None:
        return None
    flipped = np.asarray(is_flipped, dtype=bool)
    if flipped.shape != shape:
        raise ShapeError(f"expected is_flipped of shape {shape}, got {flipped.shape}")
    return flipped


def _flip_auc(scores: Floats, flipped: NDArray[np.bool_]) -> Estimate:
    if flipped.all() or not flipped.any():
        return Estimate(None, None, None, "it takes records with right and with wrong labels")
    return auc(scores[flipped], scores[~flipped]).interval()


def _precision(scores: Floats, hit: Bools, n_top: int) -> Estimate:
    """Hits among the n_top highest scores; of those tied at the edge, the expected number."""
    edge = np.partition(scores, scores.size - n_top)[scores.size - n_top]
    above, tied = scores > edge, scores == edge
    room = n_top - int(np.count_nonzero(above))
    hits = np.count_nonzero(hit & above) + room * float(hit[tied].mean())
    limits = clopper_pearson(hits, n_top)
    return Estimate(hits / n_top, float(limits.low), float(limits.high))
