"""The figures of an extraction finding: the rate, and distances."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from attacks.extraction.generation import DistancePoint
from attacks.results import Estimate
from attacks.statistics.rates import clopper_pearson, upper_limit

MOST_POINTS = 60
"""Points of the distribution of distances, at its quantiles."""
NEAREST_POINTS = 40
"""Smallest distances that are points by themselves: what was copied must not fall between two."""


def rate_of(n_extracted: int, n_tried: int) -> tuple[Estimate, float]:
    """The share with its exact two-sided 95 % interval, and its one-sided 95 % upper bound."""
    if not n_tried:
        return Estimate(None, None, None, "no member was tried"), 1.0
    limits = clopper_pearson(n_extracted, n_tried)
    upper = float(upper_limit(n_extracted, n_tried, alpha=0.05))
    return Estimate(n_extracted / n_tried, float(limits.low), float(limits.high)), upper


def distribution(
    members: NDArray[np.float64], nonmembers: NDArray[np.float64]
) -> tuple[DistancePoint, ...]:
    """Shares of both sides within a distance, at quantiles and the smallest of all distances."""
    if not len(members) or not len(nonmembers):
        return ()
    every = np.sort(np.concatenate([members, nonmembers]))
    quantiles = np.linspace(0, len(every) - 1, MOST_POINTS).astype(int)
    at = np.unique(np.concatenate([every[:NEAREST_POINTS], every[quantiles]]))
    return tuple(
        DistancePoint(float(d), float((members <= d).mean()), float((nonmembers <= d).mean()))
        for d in at
    )
