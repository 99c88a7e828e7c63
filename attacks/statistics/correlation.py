"""Rank correlation with an interval.

The interval is taken on Fisher's z scale with the variance (1 + r^2 / 2) / (n - 3) of Bonett and
Wright, Psychometrika 2000. A perfect correlation gets the inner limit of a sample that is one
swap of neighbours away from it, since its own would be a point.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import ndtri
from scipy.stats import rankdata

from attacks.errors import ShapeError
from attacks.results import Estimate
from attacks.statistics.rates import checked_scores

MIN_RECORDS = 10
"""Fewest pairs of values for an interval."""


def spearman(first: ArrayLike, second: ArrayLike, *, confidence: float = 0.95) -> Estimate:
    """Spearman's rank correlation of two (n,) scorings of the same records; ties share a rank.

    The value is missing, with the reason, below 10 records and where a scoring is constant.
    Raises ShapeError if the scorings differ in length, DataError where they are not finite.
    """
    x, y = checked_scores(first, "first scores"), checked_scores(second, "second scores")
    if x.size != y.size:
        raise ShapeError(f"paired scores differ in length: {x.size} and {y.size}")
    if x.size < MIN_RECORDS:
        reason = f"{x.size} records are too few for a rank correlation; it needs {MIN_RECORDS}"
        return Estimate(None, None, None, reason)
    if np.ptp(x) == 0 or np.ptp(y) == 0:
        return Estimate(None, None, None, "all scores are equal, so they rank nothing")
    a, b = (rankdata(values) - (x.size + 1) / 2 for values in (x, y))
    r = max(-1.0, min(1.0, float(a @ b / math.sqrt((a @ a) * (b @ b)))))
    half = -float(ndtri((1 - confidence) / 2)) * math.sqrt((1 + r * r / 2) / (x.size - 3))
    most = 1 - 12 / (x.size**3 - x.size)
    z = math.atanh(max(-most, min(most, r)))
    return Estimate(r, min(r, math.tanh(z - half)), max(r, math.tanh(z + half)))
