"""Whether one set of figures is smaller than another: a rank test in the direction that matters."""

from __future__ import annotations

from numpy.typing import ArrayLike
from scipy import stats

from attacks.statistics.rates import checked_scores


def nearer_p_value(members: ArrayLike, nonmembers: ArrayLike) -> float:
    """One-sided p-value of "distances of members are no smaller than those of nonmembers".

    members (n1,), nonmembers (n0,): finite. Mann and Whitney's test; exact for small samples
    without ties.
    """
    first = checked_scores(members, "distances of members")
    second = checked_scores(nonmembers, "distances of nonmembers")
    return float(stats.mannwhitneyu(first, second, alternative="less").pvalue)
