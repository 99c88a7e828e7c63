"""The figures of an extraction finding: rates by how often records occur, and distances."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from attacks.extraction.results import DistancePoint, ExtractedRecord, ExtractionShare
from attacks.results import Estimate
from attacks.statistics.rates import clopper_pearson, upper_limit
from auditor.records import Record

BUCKETS = ((1, 1, "once"), (2, 9, "2 to 9"), (10, 99, "10 to 99"), (100, None, "100 or more"))
"""Smallest and largest multiplicity of each bucket, and its name."""
MOST_POINTS = 60
"""Points of the distribution of distances."""


def rate_of(n_extracted: int, n_tried: int) -> tuple[Estimate, float]:
    """The share with its exact two-sided 95 % interval, and its one-sided 95 % upper bound."""
    if not n_tried:
        return Estimate(None, None, None, "no member was tried"), 1.0
    limits = clopper_pearson(n_extracted, n_tried)
    upper = float(upper_limit(n_extracted, n_tried, alpha=0.05))
    return Estimate(n_extracted / n_tried, float(limits.low), float(limits.high)), upper


def by_copies(
    tried: Sequence[Record], extracted: Sequence[ExtractedRecord], publish: Callable[[str], str]
) -> tuple[ExtractionShare, ...]:
    """Rates of the buckets that hold a tried member."""
    back = {record.record_id for record in extracted}
    rows = []
    for low, high, name in BUCKETS:
        inside = [
            r for r in tried if low <= r.multiplicity and (high is None or r.multiplicity <= high)
        ]
        if inside:
            hits = sum(publish(record.id) in back for record in inside)
            rows.append(ExtractionShare(name, len(inside), hits, rate_of(hits, len(inside))[0]))
    return tuple(rows)


def distribution(
    members: NDArray[np.float64], nonmembers: NDArray[np.float64]
) -> tuple[DistancePoint, ...]:
    """Shares of both sides within a distance, at quantiles of all distances."""
    if not len(members) or not len(nonmembers):
        return ()
    every = np.sort(np.concatenate([members, nonmembers]))
    at = np.unique(every[np.linspace(0, len(every) - 1, MOST_POINTS).astype(int)])
    return tuple(
        DistancePoint(float(d), float((members <= d).mean()), float((nonmembers <= d).mean()))
        for d in at
    )
