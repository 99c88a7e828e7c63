"""Extraction rates by how often the training set holds a record: copies drive extraction."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from attacks.errors import ShapeError
from attacks.extraction.results import CopyRate
from attacks.results import Estimate
from attacks.statistics.rates import clopper_pearson

COPIES_FROM = (1, 2, 3, 10, 100)
"""First number of copies of each range; the last range is open."""


def rates_by_copies(
    multiplicity: ArrayLike,
    is_copied: ArrayLike,
    *,
    starts: Sequence[int] = COPIES_FROM,
    confidence: float = 0.95,
) -> tuple[CopyRate, ...]:
    """Share of the records in each range of copies that were reproduced.

    multiplicity: (n,) copies of each distinct record, at least `starts[0]`; is_copied: (n,).
    starts: ascending first values of the ranges. Ranges without a record are left out.
    confidence: that all limits hold together: each of g ranges gets an exact interval at
        1 - (1 - confidence)/g (Bonferroni). They take the records for a sample of their range.
    """
    counts, copied = np.asarray(multiplicity), np.asarray(is_copied, dtype=bool)
    if counts.ndim != 1 or counts.shape != copied.shape:
        raise ShapeError(
            f"expected (n,) multiplicities and outcomes, got {counts.shape}, {copied.shape}"
        )
    if counts.size and counts.min() < starts[0]:
        raise ShapeError(f"a record has {counts.min()} copies; at least {starts[0]} are possible")
    place = np.searchsorted(np.asarray(starts), counts, side="right") - 1
    shown = np.unique(place)
    each = 1 - (1 - confidence) / max(shown.size, 1)
    rates = []
    for i in shown:
        hits = copied[place == i]
        limits = clopper_pearson(int(hits.sum()), hits.size, confidence=each)
        share = Estimate(float(hits.mean()), float(limits.low), float(limits.high))
        rates.append(CopyRate(_range(starts, int(i)), hits.size, int(hits.sum()), share))
    return tuple(rates)


def _range(starts: Sequence[int], i: int) -> str:
    if i == len(starts) - 1:
        return f"{starts[i]} or more"
    last = starts[i + 1] - 1
    return str(starts[i]) if last == starts[i] else f"{starts[i]} to {last}"
