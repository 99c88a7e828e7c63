"""Memorized records by group: are some groups memorized more than others?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from attacks.errors import ShapeError
from attacks.memorization.subsampled import MEMORIZED, Memorization
from attacks.statistics.rates import clopper_pearson


@dataclass(frozen=True, slots=True)
class GroupShare:
    """How much of one group is memorized."""

    group: str
    """Name of the group."""
    n_records: int
    """Records of the group with a figure."""
    n_memorized: int
    """Those among them that reach the threshold."""
    share: float
    """Memorized records as a share of them."""
    low: float
    """Lower limit, simultaneous over all groups."""
    high: float
    """Upper limit."""


def memorized_by_group(
    scores: Memorization,
    groups: ArrayLike,
    *,
    threshold: float = MEMORIZED,
    confidence: float = 0.95,
) -> tuple[GroupShare, ...]:
    """The share of memorized records of each group, in the order of the names.

    groups: (n,) names, shown as text. Records without a figure, and groups without a record that
        has one, are left out.
    confidence: that all limits hold at once: each of g groups gets an exact interval at
        1 - (1 - confidence)/g (Bonferroni).

    The limits take the records for a random sample of their group, each with the estimate that it
    has; all share the same models. Raises ShapeError unless there is one group a record.
    """
    names = np.asarray(groups).astype(str)
    if names.shape != scores.value.shape:
        raise ShapeError(f"expected groups of shape {scores.value.shape}, got {names.shape}")
    known = ~np.ma.getmaskarray(scores.value)
    is_memorized = scores.value.filled(-np.inf) >= threshold
    distinct = np.unique(names[known])
    each = 1 - (1 - confidence) / max(distinct.size, 1)
    shares = []
    for name in distinct:
        own = known & (names == name)
        n, k = int(np.count_nonzero(own)), int(np.count_nonzero(own & is_memorized))
        low, high = (float(limit) for limit in clopper_pearson(k, n, confidence=each))
        shares.append(GroupShare(str(name), n, k, k / n, low, high))
    return tuple(shares)
