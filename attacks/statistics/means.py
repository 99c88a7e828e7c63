"""Means with their intervals."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from attacks.results import Estimate

Z_95 = 1.959963984540054


def mean_interval(values: NDArray[np.floating]) -> Estimate:
    """Mean of (n,) values with its two-sided 95 % normal interval; none from a single value."""
    mean = float(values.mean())
    if len(values) < 2:
        return Estimate(mean, None, None, "one record has no spread")
    half = Z_95 * float(values.std(ddof=1)) / math.sqrt(len(values))
    return Estimate(mean, mean - half, mean + half)


def t_interval(values: ArrayLike) -> Estimate:
    """Mean of (n,) values with its two-sided 95 % Student interval; none from a single value.

    For a handful of repetitions, such as trials, of which the spread is estimated too.
    """
    from scipy import stats

    x = np.asarray(values, dtype=np.float64)
    mean = float(x.mean())
    if x.size < 2:
        return Estimate(mean, None, None, "one trial has no spread")
    half = float(stats.t.isf(0.025, x.size - 1)) * float(x.std(ddof=1)) / math.sqrt(x.size)
    return Estimate(mean, mean - half, mean + half)


def share_interval(values: ArrayLike) -> Estimate:
    """`t_interval` of (n,) values in [0, 1], such as AUCs, with limits cut at 0 and 1."""
    mean = t_interval(values)
    if mean.low is None or mean.high is None:
        return mean
    return Estimate(mean.value, max(0.0, mean.low), min(1.0, mean.high))
