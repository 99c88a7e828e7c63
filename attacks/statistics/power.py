"""What a sample can show: the smallest leak it would catch, and the records that would decide.

Everything here follows from the sample sizes, before any score is seen, except the two
projections, which assume that the observed shares stay as they are.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

from scipy.special import ndtri

from attacks.results import Estimate
from attacks.statistics.auc import Auc
from attacks.statistics.identified import RANKS, tail_probability
from attacks.statistics.rates import pass_rank, upper_bound_of_count
from attacks.wording import plural

POWER = 0.80
"""Probability with which a "detectable" leak is found."""
_GROWTH = 1.05
_MOST_RECORDS = 10_000_000


@lru_cache(maxsize=4096)
def critical_count(n_members: int, n_nonmembers: int, rank: int, level: float) -> int | None:
    """Smallest j with P(K_rank >= j) <= level when nothing leaks; None if none up to n1."""
    if float(tail_probability(n_members, rank, n_members, n_nonmembers)) > level:
        return None
    low, high = 0, n_members
    while high - low > 1:
        j = (low + high) // 2
        reached = float(tail_probability(j, rank, n_members, n_nonmembers)) <= level
        low, high = (low, j) if reached else (j, high)
    return high


@lru_cache(maxsize=1024)
def smallest_detectable(
    n_members: int, n_nonmembers: int, *, n_attacks: int = 1, alpha: float = 0.01
) -> int | None:
    """Fewest leaking members that the identified rule rejects with 80 % power.

    Leaking means scored above every nonmember by one attack of n_attacks; the others behave like
    nonmembers. Uses Bonferroni over attacks and ranks, so the permutation test is at least about
    as powerful. None when even all members above all nonmembers would not be rejected.
    """
    level = alpha / (len(RANKS) * max(n_attacks, 1))
    critical = {r: critical_count(n_members, n_nonmembers, r, level) for r in RANKS}

    def power(leaked: int) -> float:
        return max(
            float(tail_probability(j - leaked, r, n_members - leaked, n_nonmembers))
            for r, j in critical.items()
            if j is not None
        )

    if all(j is None for j in critical.values()):
        return None
    low, high = 0, n_members
    while high - low > 1:
        leaked = (low + high) // 2
        low, high = (low, leaked) if power(leaked) >= POWER else (leaked, high)
    return high


def detectable_share(
    n_members: int, n_nonmembers: int, *, n_attacks: int = 1, alpha: float = 0.01
) -> Estimate:
    """`smallest_detectable` as a share of the members, or the reason why there is none."""
    leaked = smallest_detectable(n_members, n_nonmembers, n_attacks=n_attacks, alpha=alpha)
    if leaked is None:
        reason = f"{plural(n_members, 'member')} and {plural(n_nonmembers, 'nonmember')} are too few for any FAIL"
        return Estimate(None, None, None, reason)
    return Estimate(leaked / n_members, None, None)


def largest_passing_count(
    n_members: int, n_nonmembers: int, *, fpr: float, limit: float, alpha: float = 0.05
) -> int:
    """Most members at or above the threshold with a TPR bound below limit; -1 if 0 is too many."""

    def bound(k: int) -> float:
        return float(upper_bound_of_count(k, n_members, n_nonmembers, fpr, alpha=alpha))

    if pass_rank(n_nonmembers, fpr, alpha=alpha).rank > n_nonmembers or bound(0) >= limit:
        return -1
    low, high = 0, n_members
    while high - low > 1:
        k = (low + high) // 2
        low, high = (k, high) if bound(k) < limit else (low, k)
    return low


def clean_pass_probability(
    n_members: int, n_nonmembers: int, *, fpr: float, limit: float, alpha: float = 0.05
) -> float:
    """Probability that one attack on a target that leaks nothing gets its TPR bound below limit."""
    most = largest_passing_count(n_members, n_nonmembers, fpr=fpr, limit=limit, alpha=alpha)
    if most < 0:
        return 0.0
    rank = pass_rank(n_nonmembers, fpr, alpha=alpha).rank
    return 1.0 - float(tail_probability(most + 1, rank, n_members, n_nonmembers))


def records_to_pass(
    k: int, n_members: int, n_nonmembers: int, *, fpr: float, limit: float, alpha: float = 0.05
) -> tuple[int, int] | None:
    """(members, nonmembers) that would bring the TPR bound below limit with 80 % probability.

    k: members at or above the threshold y_(r) now. Both groups grow by one factor and the slope
    of the ROC curve near the threshold is assumed to stay. None when no size would do.
    """
    rank_now = pass_rank(n_nonmembers, fpr, alpha=alpha).rank
    slope = (k + 0.5) / n_members / (min(rank_now, n_nonmembers) / n_nonmembers)
    if slope * fpr >= limit:
        return None
    z, factor = float(ndtri(POWER)), 1.0
    while factor * max(n_members, n_nonmembers) <= _MOST_RECORDS:
        members, nonmembers = math.ceil(factor * n_members), math.ceil(factor * n_nonmembers)
        rank = pass_rank(nonmembers, fpr, alpha=alpha).rank
        expected = slope * members * rank / nonmembers
        # The count varies with the members and with the threshold, which is itself random.
        unlucky = math.ceil(expected + z * math.sqrt(expected + expected**2 / rank))
        bound = upper_bound_of_count(unlucky, members, nonmembers, fpr, alpha=alpha)
        if unlucky < members and rank <= nonmembers and float(bound) < limit:
            return members, nonmembers
        factor *= _GROWTH
    return None


def nonmembers_to_fail(
    leaked: int, n_members: int, n_nonmembers: int, *, n_attacks: int = 1, alpha: float = 0.01
) -> int | None:
    """Nonmembers at which `leaked` members above all of them would FAIL; None beyond 10^7."""
    level = alpha / (len(RANKS) * max(n_attacks, 1))
    size = n_nonmembers
    while leaked > 0 and size <= _MOST_RECORDS:
        if float(tail_probability(leaked, 1, n_members, size)) <= level:
            return size
        size = math.ceil(size * _GROWTH)
    return None


def records_for_auc(estimate: Auc, limit: float, *, alpha: float) -> tuple[int, int] | None:
    """(members, nonmembers) at which the bound of an AUC would clear `limit` with 80 % power.

    Both groups grow by one factor and the AUC is assumed to stay; None when it equals the limit
    or would need more than 10^7 records.
    """
    gap = abs(estimate.value - limit)
    share = limit * (1 - limit) / min(estimate.n_members, estimate.n_nonmembers)
    variance = share if estimate.is_degenerate else estimate.variance
    if gap * math.sqrt(_MOST_RECORDS) < 1:
        return None
    factor = max(1.0, variance * (float(ndtri(1 - alpha)) + float(ndtri(POWER))) ** 2 / gap**2)
    sizes = math.ceil(factor * estimate.n_members), math.ceil(factor * estimate.n_nonmembers)
    return sizes if max(sizes) <= _MOST_RECORDS else None


@dataclass(frozen=True, slots=True)
class Reachable:
    """What a rule can say at given sample sizes."""

    rule: str
    can_fail: bool
    """Whether any outcome of the scores could FAIL it."""
    can_pass: bool
    """Whether any outcome of the scores could PASS it."""
    clean_pass: float
    """About how often a target that leaks nothing passes, in [0, 1]; independent attacks."""
    detectable: float | None
    """Smallest share of members (AUC rule: smallest AUC) that FAILs with 80 % power."""
    explanation: str
    """One sentence for a dry run."""


def reachable_verdicts(
    n_members: int,
    n_nonmembers: int,
    n_attacks: int,
    *,
    fpr: float = 0.001,
    limit: float = 0.03,
    auc_limits: tuple[float, float] = (0.40, 0.60),
    alpha_fail: float = 0.01,
    alpha_pass: float = 0.05,
) -> tuple[Reachable, Reachable]:
    """Which verdicts the rules `identified` and `auc` can reach, for a dry run."""
    leaked = smallest_detectable(n_members, n_nonmembers, n_attacks=n_attacks, alpha=alpha_fail)
    clean = clean_pass_probability(
        n_members, n_nonmembers, fpr=fpr, limit=limit, alpha=alpha_pass
    ) ** max(n_attacks, 1)
    share = None if leaked is None else leaked / n_members
    fail = (
        "no leak could FAIL"
        if leaked is None
        else f"a leak of {leaked} of {n_members:,} would FAIL"
    )
    text = f"{fail}; a target that leaks nothing would PASS in about {clean:.0%} of scans"
    first = Reachable("identified", leaked is not None, clean > 0, clean, share, text)
    return first, _reachable_auc(
        n_members, n_nonmembers, n_attacks, auc_limits, alpha_fail, alpha_pass
    )


def _reachable_auc(
    n_members: int,
    n_nonmembers: int,
    n_attacks: int,
    limits: tuple[float, float],
    alpha_fail: float,
    alpha_pass: float,
) -> Reachable:
    lower, upper = limits
    se = math.sqrt((n_members + n_nonmembers + 1) / (12 * n_members * n_nonmembers))
    z_pass, z_power = float(ndtri(1 - alpha_pass)), float(ndtri(POWER))
    z_fail = float(ndtri(1 - alpha_fail / max(n_attacks, 1)))
    room = min(0.5 - lower, upper - 0.5) / se - z_pass
    clean = max(0.0, 1 - 2 * _upper_tail(room)) ** max(n_attacks, 1) if room > 0 else 0.0
    smallest = upper + (z_fail + z_power) * se
    perfect = Auc(1.0, 0.0, n_members, n_nonmembers)
    can_fail = perfect.p_above(upper) <= alpha_fail / max(n_attacks, 1)
    fail = f"an AUC from about {smallest:.2f} on would FAIL" if smallest < 1 else "only AUC near 1"
    fail = fail if can_fail else "no AUC could FAIL"
    text = f"{fail}; a target that leaks nothing would PASS in about {clean:.0%} of scans"
    detectable = smallest if can_fail and smallest < 1 else None
    return Reachable("auc", can_fail, clean > 0, clean, detectable, text)


def _upper_tail(z: float) -> float:
    return 0.5 * math.erfc(z / math.sqrt(2))
