"""Paired comparison of two figures of the same records."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from attacks.errors import ShapeError


class PairedTest(NamedTuple):
    """How far two positive figures of the same records lie apart."""

    mean_log_ratio: float
    """Mean of log(second / first); above 0 where the second is larger."""
    p_greater: float
    """One-sided Student p-value of "the second is not larger"."""


def log_ratio_test(first: ArrayLike, second: ArrayLike) -> PairedTest:
    """Whether (n, t) second figures exceed the first ones, averaged over t, beyond chance.

    Ratios are compared on the log scale, where exchanging the two changes the sign and nothing
    else: a mean of plain ratios is above 1 for figures that differ by chance alone. Records are
    the units, so t figures of one record may depend on each other. Raises ShapeError unless both
    are positive arrays of one shape with at least two records.
    """
    from scipy import stats

    one, two = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    if one.shape != two.shape or one.ndim != 2 or len(one) < 2 or one.shape[1] == 0:
        raise ShapeError(
            f"expected two arrays (n, t) of one shape, n at least 2, got {one.shape} and "
            f"{two.shape}; pass the figures of the same records"
        )
    if not (one > 0).all() or not (two > 0).all():
        raise ShapeError("expected positive figures only; ratios of others mean nothing")
    ratios = (np.log(two) - np.log(one)).mean(axis=1)
    spread = float(ratios.std(ddof=1)) / np.sqrt(len(ratios))
    mean = float(ratios.mean())
    if spread == 0:
        return PairedTest(mean, 0.0 if mean > 0 else 1.0)
    return PairedTest(mean, float(stats.t.sf(mean / spread, len(ratios) - 1)))
