"""Shares by group, with intervals that hold for all groups at once."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from attacks.results import Estimate, GroupShare
from attacks.statistics.rates import clopper_pearson, nth_largest

FEWEST = 5
"""Members below which a group is not shown by itself: its figures would be about persons."""
OTHERS = "other groups"


def shares_by_group(
    members: NDArray[np.float64],
    nonmembers: NDArray[np.float64],
    groups: Sequence[str],
    *,
    fpr: float = 0.01,
    confidence: float = 0.95,
) -> tuple[GroupShare, ...]:
    """Share of each group's members strictly above the score that a share of nonmembers reach.

    members, nonmembers: (n1,) and (n0,) scores; groups: (n1,) group of each member. The threshold
    is one for all groups. Groups of fewer than five members are put together, with the next
    smallest one if they are still fewer than five. Clopper-Pearson intervals at
    1 - (1 - confidence) / G each, so that all G hold together (Bonferroni). The most exposed group
    comes first.
    """
    if not len(members) or not len(nonmembers):
        return ()
    threshold = nth_largest(nonmembers, max(1, int(np.ceil(fpr * len(nonmembers)))))
    names, codes, counts = np.unique(
        np.asarray(groups, dtype=str), return_inverse=True, return_counts=True
    )
    labels = np.where(_are_few(counts), OTHERS, names)[codes]
    shown = np.unique(labels)
    level = 1 - (1 - confidence) / len(shown)
    found = []
    for name in shown:
        hits = members[labels == name] > threshold
        limits = clopper_pearson(int(hits.sum()), hits.size, confidence=level)
        share = Estimate(float(hits.mean()), float(limits.low), float(limits.high))
        found.append(GroupShare(str(name), hits.size, share))
    return tuple(sorted(found, key=lambda g: (-(g.share.value or 0.0), g.group)))


def _are_few(counts: NDArray[np.integer]) -> NDArray[np.bool_]:
    """(g,) which groups are shown together: the small ones, and one more if those are too few."""
    is_few = counts < FEWEST
    rest = np.flatnonzero(~is_few)
    if is_few.any() and counts[is_few].sum() < FEWEST and len(rest):
        is_few[rest[np.argmin(counts[rest])]] = True
    return is_few
