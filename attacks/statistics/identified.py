"""Members above the top nonmembers: exact evidence that single members can be told apart.

Averages such as AUC hide a leak of few records. The statistic here is K_r, the number of members
strictly above the r-th largest nonmember score. If membership is exchangeable, the j-th member
comes before the r-th nonmember exactly if the top j + r - 1 records hold at most r - 1
nonmembers, so K_r has a negative hypergeometric law whatever the scores are. Rank 1 is the most
sensitive; ranks 3 and 10 survive a few nonmembers that were in truth trained on.

Single records are named with conformal p-values (Bates et al., Ann. Statist. 2023) under
Benjamini-Hochberg. Ties count strictly (`>`) wherever a leak is claimed.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import gammaln

from attacks.errors import DataError, ShapeError
from attacks.statistics.multiplicity import benjamini_hochberg
from attacks.statistics.rates import checked_scores, nth_largest

RANKS = (1, 3, 10)
"""Which nonmembers serve as thresholds, counted from the top."""


def tail_probability(
    count: ArrayLike, rank: int, n_members: ArrayLike, n_nonmembers: int
) -> NDArray[np.float64]:
    """P(K_rank >= count) when membership is exchangeable; broadcasts over counts and n_members.

    This is hypergeom.cdf(rank - 1; n1 + n0, n0, count + rank - 1): the chance of at most rank - 1
    nonmembers among the top count + rank - 1 records. It is 1 where count <= 0, or rank > n0.
    """
    j, n1 = np.broadcast_arrays(np.asarray(count, float), np.asarray(n_members, float))
    draws = (np.clip(j, 0, n1) + rank - 1)[..., None]
    found = np.arange(min(rank - 1, n_nonmembers) + 1)
    size = n1[..., None]
    ways = _log_binomial(n_nonmembers, found) + _log_binomial(size, draws - found)
    # Draws beyond all records are possible only with rank > n0, where the answer is 1 anyway.
    log_draws = _log_binomial(size + n_nonmembers, np.minimum(draws, size + n_nonmembers))
    total = np.minimum(np.exp(ways - log_draws).sum(axis=-1), 1.0)
    total = np.where(j > n1, 0.0, total)
    return np.where((j <= 0) | (rank > n_nonmembers), 1.0, total)


def _log_binomial(n: ArrayLike, k: ArrayLike) -> NDArray[np.float64]:
    size, part = np.asarray(n, float), np.asarray(k, float)
    possible = (part >= 0) & (part <= size)
    part = np.where(possible, part, 0.0)
    value = gammaln(size + 1) - gammaln(part + 1) - gammaln(size - part + 1)
    return np.where(possible, value, -np.inf)


def count_above(members: ArrayLike, nonmembers: ArrayLike, rank: int) -> int:
    """K_rank: members strictly above the rank-th largest nonmember; 0 when rank > n0."""
    inside, outside = checked_scores(members, "members"), checked_scores(nonmembers, "nonmembers")
    if rank > outside.size:
        return 0
    return int(np.count_nonzero(inside > nth_largest(outside, rank)))


class TopEvidence(NamedTuple):
    """What one attack shows at the top of its ranking."""

    counts: dict[int, int]
    """rank -> K_rank."""
    p_values: dict[int, float]
    """rank -> exact P(K_rank >= observed), uncorrected."""
    leaked_at_least: int
    """Members that leak: largest lower bound over ranks, each at `level`."""
    best_rank: int
    """The rank behind `leaked_at_least`, or the smallest p-value when that is 0."""

    @property
    def p_value(self) -> float:
        """The smallest of the p-values with Bonferroni's factor for the ranks."""
        return min(1.0, len(self.p_values) * min(self.p_values.values()))


def top_evidence(members: ArrayLike, nonmembers: ArrayLike, *, level: float) -> TopEvidence:
    """Counts, exact p-values and the number leaked, from (n1,) and (n0,) scores.

    level: error probability of each of the three lower bounds; alpha / (3 K) over K attacks
        makes all bounds hold jointly with probability 1 - alpha.
    """
    inside, outside = checked_scores(members, "members"), checked_scores(nonmembers, "nonmembers")
    counts = {r: count_above(inside, outside, r) for r in RANKS}
    sizes = (inside.size, outside.size)
    p_values = {r: float(tail_probability(k, r, *sizes)) for r, k in counts.items()}
    leaked = {r: leaked_at_least(k, r, *sizes, level=level) for r, k in counts.items()}
    best = max(RANKS, key=lambda r: (leaked[r], -p_values[r]))
    return TopEvidence(counts, p_values, leaked[best], best)


def leaked_at_least(
    count: int, rank: int, n_members: int, n_nonmembers: int, *, level: float
) -> int:
    """Smallest m for which "m members leak" is compatible with K_rank = count at `level`.

    If m members leak, the other n1 - m are exchangeable with the nonmembers and hold at least
    count - m of those above: m is refuted if P(K_rank >= count - m | n1 - m) <= level. The
    probability grows with m, so the bound is found by bisection; it exceeds the number of leaking
    members with probability at most `level`.
    """
    if float(tail_probability(count, rank, n_members, n_nonmembers)) > level:
        return 0
    low, high = 0, count  # `low` is refuted, `high` is not: P = 1 at m = count
    while high - low > 1:
        m = (low + high) // 2
        refuted = float(tail_probability(count - m, rank, n_members - m, n_nonmembers)) <= level
        low, high = (m, high) if refuted else (low, m)
    return high


def outlier_p_values(members: ArrayLike, nonmembers: ArrayLike) -> NDArray[np.float64]:
    """(n1,) conformal p-values (1 + #{nonmembers >= s}) / (n0 + 1) of single members."""
    inside, outside = checked_scores(members, "members"), checked_scores(nonmembers, "nonmembers")
    ordered = np.sort(outside)
    at_or_above = outside.size - np.searchsorted(ordered, inside, side="left")
    return (1 + at_or_above) / (outside.size + 1)


def named_members(members: ArrayLike, nonmembers: ArrayLike, *, q: float = 0.10) -> NDArray:
    """(n1,) bool: members individually identified at false-discovery rate q.

    Only to be used after the rule on the whole sample has failed.
    """
    return benjamini_hochberg(outlier_p_values(members, nonmembers), q)


class SubjectScores(NamedTuple):
    """Scores by data subject."""

    scores: NDArray[np.float64]
    """(s,) maximum score over the records of each subject."""
    is_member: NDArray[np.bool_]
    """(s,) which subjects were trained on."""
    representative: NDArray[np.intp]
    """(s,) index of the record that has the maximum (the first of several)."""


def max_per_subject(
    scores: ArrayLike, is_member: NDArray[np.bool_], subjects: NDArray
) -> SubjectScores:
    """Reduce (n,) record scores to the maximum of each subject, subjects in sorted order.

    subjects: (n,) labels of any sortable kind.
    Raises DataError when a subject has records among members and nonmembers: its membership is
    then not defined and subjects are not exchangeable.
    """
    values = checked_scores(scores)
    members, names = np.asarray(is_member, dtype=bool), np.asarray(subjects)
    if not values.shape == members.shape == names.shape:
        raise ShapeError(
            f"scores {values.shape}, is_member {members.shape} and subjects {names.shape} differ"
        )
    _, group = np.unique(names, return_inverse=True)
    order = np.lexsort((np.arange(values.size), -values, group))
    first = np.append(True, np.diff(group[order]) != 0)
    representative = order[first]
    mixed = np.intersect1d(group[members], group[~members]).size
    if mixed:
        raise DataError(
            f"{mixed} subjects have records among members and nonmembers; "
            "split the records by subject, or drop the nonmember records of these subjects"
        )
    return SubjectScores(values[representative], members[representative], representative)
