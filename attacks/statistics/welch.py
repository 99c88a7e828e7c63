"""Welch's one-sided test: is one collection's mean score higher than another's?"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from attacks.errors import UnderPowered
from attacks.statistics.rates import checked_scores

FEWEST = 10
"""Scores of a side below which the normal approximation of a mean is not trusted."""


class WelchTest(NamedTuple):
    """The outcome; unequal variances, one-sided."""

    p_value: float
    """Probability of such a difference or a larger one if the means are equal, in [0, 1]."""
    statistic: float
    """Difference of the means in its standard errors."""
    effect: float
    """Difference of the means in standard deviations of the second sample's scores; 0 if it has
    none."""


def welch_greater(first: ArrayLike, second: ArrayLike) -> WelchTest:
    """Test that the mean of the first scores is above that of the second.

    first: (n,), second: (m,), independent scores. Where nothing varies there is no evidence, and
    p is 1. Raises UnderPowered below 10 scores a side.
    """
    from scipy.stats import ttest_ind

    a, b = checked_scores(first, "the first sample"), checked_scores(second, "the second sample")
    if min(a.size, b.size) < FEWEST:
        raise UnderPowered(
            f"a comparison of means needs at least {FEWEST} scores a side, "
            f"got {a.size} and {b.size}"
        )
    difference, spread = float(a.mean() - b.mean()), float(b.std(ddof=1))
    effect = difference / spread if spread > 0 else 0.0
    if np.ptp(a) == 0 and np.ptp(b) == 0:
        return WelchTest(1.0, 0.0, effect)
    found = ttest_ind(a, b, equal_var=False, alternative="greater")
    return WelchTest(float(found.pvalue), float(found.statistic), effect)
