"""Members above the top nonmembers, before and after, on the same records.

A record is `above` if its score is strictly above the r-th largest nonmember score. The difference
of the two shares of members above is that of the discordant pairs, (after alone - before alone)/n.

Interval: the number m of discordant pairs is Bin(n, D); of these Bin(m, q) are after alone; the
difference is D (2 q - 1). Exact limits (Clopper and Pearson, 1934) of D and of q, with a tenth and
nine tenths of the error, bound it. It covers at least as often as stated, keeps a width where no
pair is discordant, and leaves 0 out exactly when McNemar's exact test rejects at nine tenths of
the error. It speaks for the two thresholds that the sample set.

The thresholds are themselves random, and a lucky top nonmember can hide as many members as a
change of the model. `swap_test` accounts for it: if the two models are exchangeable, exchanging a
record's two ranks changes nothing in law, thresholds included (Venkatraman and Begg, Biometrika
1996, for whole curves). Before a difference is called better or worse, both must agree.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from attacks.errors import ShapeError
from attacks.results import Estimate
from attacks.statistics.rates import checked_scores, clopper_pearson, nth_largest

SWAPS = 9_999
"""Exchanges of a verdict."""
_DISCORDANCE = 0.1
"""Share of the error that is spent on how many pairs are discordant."""
_CELLS = 4_000_000


class PairedCount(NamedTuple):
    """How often something holds before and after, on the same n records."""

    n: int
    both: int
    before_alone: int
    after_alone: int

    @property
    def before(self) -> int:
        """Records for which it holds before."""
        return self.both + self.before_alone

    @property
    def after(self) -> int:
        """Records for which it holds after."""
        return self.both + self.after_alone


def top_rank(n_nonmembers: int, fpr: float) -> int:
    """Rank r: the nonmembers strictly above the r-th largest are at most fpr of all."""
    return min(int(np.floor(fpr * n_nonmembers + 1e-9)) + 1, n_nonmembers)


def count_above(
    members: tuple[ArrayLike, ArrayLike], nonmembers: tuple[ArrayLike, ArrayLike], fpr: float
) -> PairedCount:
    """Members strictly above the top nonmembers before and after.

    members: two (n1,) score arrays in one order of records; nonmembers: two (n0,).
    """
    hits = []
    for inside, outside in zip(members, nonmembers, strict=True):
        cleaned = checked_scores(outside, "nonmembers")
        threshold = nth_largest(cleaned, top_rank(cleaned.size, fpr))
        hits.append(checked_scores(inside, "members") > threshold)
    return paired_count(*hits)


def paired_count(before: NDArray[np.bool_], after: NDArray[np.bool_]) -> PairedCount:
    """Counts of two (n,) answers about the same records; raises ShapeError unless they pair."""
    if before.shape != after.shape or before.ndim != 1 or not before.size:
        raise ShapeError(f"paired answers differ in shape: {before.shape} and {after.shape}")
    both = int((before & after).sum())
    return PairedCount(before.size, both, int(before.sum()) - both, int(after.sum()) - both)


def share_difference(count: PairedCount, *, confidence: float = 0.95) -> Estimate:
    """Share after minus share before with exact limits, as the module says."""
    alpha = 1 - confidence
    m = count.before_alone + count.after_alone
    d = clopper_pearson(m, count.n, confidence=1 - _DISCORDANCE * alpha)
    if m:
        q = clopper_pearson(count.after_alone, m, confidence=1 - (1 - _DISCORDANCE) * alpha)
        tilt = (2 * float(q.low) - 1, 2 * float(q.high) - 1)
    else:
        tilt = (-1.0, 1.0)
    ends = [float(limit) * side for limit in d for side in tilt]
    value = (count.after_alone - count.before_alone) / count.n
    return Estimate(value, min(ends), max(ends))


def share_p_value(count: PairedCount) -> float:
    """P-value of "no difference" that agrees with `share_difference`.

    McNemar's exact p (twice the smaller binomial tail), divided by the error left to it.
    """
    m = count.before_alone + count.after_alone
    smaller = min(count.before_alone, count.after_alone)
    return min(1.0, 2 * float(stats.binom.cdf(smaller, m, 0.5)) / (1 - _DISCORDANCE))


def swap_test(
    members: tuple[ArrayLike, ArrayLike],
    nonmembers: tuple[ArrayLike, ArrayLike],
    fpr: float,
    *,
    rng: np.random.Generator,
    swaps: int = SWAPS,
) -> float:
    """Two-sided p-value of "both models put as many members above the top nonmembers".

    Shapes as in `count_above`. Scores are replaced by their ranks among all records of the same
    model, so that the two may live on different scales. Records that stay below every possible
    threshold are left out, so that the cost is that of the top alone.
    """
    inside, outside = _ranks(members, nonmembers)
    rank = top_rank(outside.shape[1], fpr)
    # No exchange can bring the threshold below the rank-th largest of the smaller ranks.
    floor = nth_largest(outside.min(axis=0), rank)
    inside = inside[:, inside.max(axis=0) > floor]
    outside = outside[:, outside.max(axis=0) >= floor]
    observed = abs(int(_gap(inside[:, None], outside[:, None], rank)[0]))
    extreme, done = 0, 0
    step = max(1, _CELLS // max(inside.shape[1] + outside.shape[1], 1))
    while done < swaps:
        b = min(step, swaps - done)
        gaps = _gap(_swapped(inside, b, rng), _swapped(outside, b, rng), rank)
        extreme += int(np.count_nonzero(np.abs(gaps) >= observed))
        done += b
    return (1 + extreme) / (1 + swaps)


def _ranks(
    members: tuple[ArrayLike, ArrayLike], nonmembers: tuple[ArrayLike, ArrayLike]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(2, n1) and (2, n0) ranks, each row among all records of one model."""
    rows = []
    for inside, outside in zip(members, nonmembers, strict=True):
        first, second = checked_scores(inside, "members"), checked_scores(outside, "nonmembers")
        rows.append((first.size, stats.rankdata(np.concatenate([first, second]))))
    if rows[0][0] != rows[1][0] or rows[0][1].size != rows[1][1].size:
        raise ShapeError("paired scores differ in length; give the same records twice")
    ranks = np.stack([row for _, row in rows])
    return ranks[:, : rows[0][0]], ranks[:, rows[0][0] :]


def _swapped(ranks: NDArray[np.float64], b: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """(2, b, n): b copies of (2, n) in which each record's pair is exchanged by a fair coin."""
    coins = rng.integers(0, 2, size=(b, ranks.shape[1]), dtype=np.uint8).astype(bool)
    return np.stack([np.where(coins, ranks[1], ranks[0]), np.where(coins, ranks[0], ranks[1])])


def _gap(inside: NDArray[np.float64], outside: NDArray[np.float64], rank: int) -> NDArray[np.int64]:
    """(b,) members above after minus before, from (2, b, n1) and (2, b, n0) ranks."""
    place = outside.shape[2] - rank
    threshold = np.partition(outside, place, axis=2)[:, :, place]
    counts = np.count_nonzero(inside > threshold[:, :, None], axis=2)
    gaps: NDArray[np.int64] = counts[1] - counts[0]
    return gaps
