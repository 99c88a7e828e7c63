"""Audit of differential privacy from one training run (Steinke, Nasr and Jagielski, 2023).

Each of m canaries is put into the training data by a fair coin of its own. After the one run the
auditor calls the k_plus highest scores "in" and the k_minus lowest "out", and abstains on the
rest. Under (epsilon, 0)-DP the number of correct guesses among r = k_plus + k_minus is no larger,
in distribution, than Bin(r, q) with q = e^epsilon / (1 + e^epsilon); delta adds
2 m delta max_i P(v - i <= Bin(r, q) < v) / i to the p-value (arXiv 2305.08846, Corollary 5.4 and
Appendix D, NeurIPS 2023).

The numbers of guesses must not depend on the coins. Here they come from a grid that is fixed by m
alone, or by the caller beforehand, and all its pairs share the error alpha (Bonferroni).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats
from scipy.special import betainc, expit

from attacks.errors import DataError, ShapeError, UsageError
from attacks.statistics.epsilon import UNIT, check_levels, whole_number
from attacks.statistics.rates import checked_scores, lower_limit, upper_limit

MOST_PAIRS = 20
"""Largest grid: more pairs cost more by Bonferroni than a finer choice gains."""

GRID_SHARES = (0.5, 0.25, 0.1, 0.05, 0.02, 0.01)
"""Guesses on one side as shares of the canaries, for `guess_grid`."""

UNFAIR_COINS = 1e-9
"""Probability below which an imbalance of the coins is taken as proof that they were not fair."""

_CHUNK, _HALVINGS = 4096, 40


class GuessPair(NamedTuple):
    """How many canaries the auditor guesses on."""

    k_plus: int
    """Highest scores that are called "in"."""
    k_minus: int
    """Lowest scores that are called "out"."""


def guess_grid(n_canaries: int) -> tuple[GuessPair, ...]:
    """At most 12 pairs that follow from m alone: both sides alike, and the top only.

    Both sides suit a shift of all scores; the top alone suits a leak of few canaries.
    """
    m = whole_number(n_canaries, "the number of canaries", least=1)
    sizes = [max(1, math.floor(share * m)) for share in GRID_SHARES]
    pairs = [GuessPair(k, k) for k in sizes if 2 * k <= m] + [GuessPair(k, 0) for k in sizes]
    return tuple(dict.fromkeys(pairs))


def one_run_p_value(
    epsilon: ArrayLike, *, n_canaries: int, n_guesses: int, n_correct: int, delta: float
) -> NDArray[np.float64]:
    """P-value of "the mechanism is (epsilon, delta)-DP"; broadcasts over epsilon >= 0.

    min(1, P(W >= v) + 2 m delta max_{1 <= i <= v} P(v - i <= W < v) / i), W ~ Bin(r, q).
    n_canaries: m, n_guesses: r <= m, n_correct: v <= r.
    """
    r, v = _checked_counts(n_canaries, n_guesses, n_correct)
    q = np.atleast_1d(expit(np.asarray(epsilon, float)))
    p = betainc(v, r - v + 1, q) if v else np.ones_like(q)
    if delta > 0:
        p = p + 2 * n_canaries * delta * _densest_stretch(q.ravel(), r, v).reshape(q.shape)
    return np.minimum(p, 1.0).reshape(np.shape(epsilon))


def _densest_stretch(q: NDArray[np.float64], r: int, v: int) -> NDArray[np.float64]:
    """(e,) max over 1 <= i <= v of P(v - i <= Bin(r, q) < v) / i, for (e,) values of q; 0 at v = 0.

    Sums downward from v - 1, in which nothing cancels. The binomial law has one peak: once a term
    is below the mean so far, all later terms are, and the rest need not be read.
    """
    total, best, done = np.zeros(q.size), np.zeros(q.size), 0
    while done < v:
        i = np.arange(done + 1, min(done + _CHUNK, v) + 1)
        terms = stats.binom.pmf(v - i, r, q[:, None])
        sums = total[:, None] + np.cumsum(terms, axis=1)
        best = np.maximum(best, (sums / i).max(axis=1))
        total, done = sums[:, -1], int(i[-1])
        if np.all(terms[:, -1] < total / done):
            break
    return best


def one_run_epsilon(
    n_canaries: int, n_guesses: int, n_correct: int, *, delta: float, alpha: float = 0.05
) -> float:
    """Lower bound of epsilon at confidence 1 - alpha from v correct of r guesses on m canaries.

    The largest epsilon with a p-value below alpha, by bisection from below; 0 when epsilon 0 is
    not refuted. With delta = 0 it is the logit of the exact lower limit of v / r, which bounds it
    from above otherwise.
    """
    check_levels(alpha, delta)
    r, v = _checked_counts(n_canaries, n_guesses, n_correct)
    return _largest_refuted(int(n_canaries), r, v, float(delta), float(alpha))


@lru_cache(maxsize=65536)
def _largest_refuted(m: int, r: int, v: int, delta: float, alpha: float) -> float:
    share, misses = lower_limit(v, r, alpha=alpha), upper_limit(r - v, r, alpha=alpha)
    high = math.log(float(share) / float(misses)) if share > misses else 0.0
    if high == 0 or delta == 0:
        return high

    def refuted(epsilon: float) -> bool:
        p = one_run_p_value(epsilon, n_canaries=m, n_guesses=r, n_correct=v, delta=delta)
        return float(p) < alpha

    if not refuted(0.0):
        return 0.0
    low = 0.0
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if refuted(middle) else (low, middle)
    return low


def correct_guesses(
    scores: ArrayLike, is_in: ArrayLike, pairs: Sequence[GuessPair]
) -> NDArray[np.int64]:
    """(k,) correct guesses of each pair on (m,) canary scores and (m,) coins.

    Where scores tie at a cut, as many wrong guesses are taken as the tie allows. The count is the
    smallest over all orders of the tied canaries, so a tie never helps the auditor.
    """
    values, coins = checked_canaries(scores, is_in)
    highs = _hits_at_top(values, coins, [pair[0] for pair in pairs])
    lows = _hits_at_top(-values, ~coins, [pair[1] for pair in pairs])
    return highs + lows


def _hits_at_top(
    values: NDArray[np.float64], wanted: NDArray[np.bool_], sizes: Sequence[int]
) -> NDArray[np.int64]:
    """(k,) wanted among the `size` largest values, the unwanted first among equal values."""
    # lexsort orders by the last key first: values downward, then unwanted before wanted.
    order = np.lexsort((wanted, -values))
    return np.concatenate([[0], np.cumsum(wanted[order])])[np.asarray(sizes, dtype=np.int64)]


class Canaries(NamedTuple):
    """Checked scores and coins."""

    scores: NDArray[np.float64]
    """(m,) finite scores; higher is more likely "in"."""
    is_in: NDArray[np.bool_]
    """(m,) which coins put the canary in."""


def checked_canaries(scores: ArrayLike, is_in: ArrayLike) -> Canaries:
    """Scores (m,) and coins (m,) in order.

    Raises ShapeError when they do not fit, DataError when a score is not finite, a coin is
    neither 0 nor 1, or so many coins agree that they cannot have been fair. All coins may agree
    where m is small.
    """
    values, coins = checked_scores(scores, "canary scores"), np.asarray(is_in)
    if coins.shape != values.shape:
        raise ShapeError(
            f"{values.size} canary scores but coins of shape {coins.shape}; pass one each"
        )
    if not np.all((coins == 0) | (coins == 1)):
        raise DataError("is_in holds values other than 0 and 1; pass one coin per canary")
    coins = coins.astype(bool)
    n_in = int(coins.sum())
    if stats.binom.cdf(min(n_in, coins.size - n_in), coins.size, 0.5) < UNFAIR_COINS / 2:
        raise DataError(
            f"{n_in} of {coins.size} canaries are in, which fair coins do not show; include every "
            "canary by its own fair coin, or audit independent trainings instead"
        )
    return Canaries(values, coins)


def checked_grid(grid: Sequence[tuple[int, int]] | None, n_canaries: int) -> tuple[GuessPair, ...]:
    """The pairs of a grid without repeats, or `guess_grid` when it is None.

    Raises UsageError when it is empty or has more than 20 pairs, and DataError when a pair
    guesses on no canary or on more than there are.
    """
    if grid is None:
        return guess_grid(n_canaries)
    pairs = tuple(dict.fromkeys(GuessPair(*pair) for pair in grid))
    if not 1 <= len(pairs) <= MOST_PAIRS:
        raise UsageError(
            f"a grid has 1 to {MOST_PAIRS} different pairs, got {len(pairs)}; choose fewer"
        )
    for pair in pairs:
        whole_number(pair.k_plus, "k_plus", least=0)
        whole_number(pair.k_minus, "k_minus", least=0)
        whole_number(sum(pair), "k_plus + k_minus", least=1, most=n_canaries)
    return pairs


def one_run_assumption(n_pairs: int) -> str:
    """What has to hold for an audit of one run with so many pairs."""
    return (
        "every canary was included by a fair coin of its own, not by drawing exactly half; the "
        f"grid of {n_pairs} numbers of guesses was fixed before the coins were seen and shares "
        "alpha (Bonferroni); neighbours differ by one canary added or removed"
    )


@dataclass(frozen=True, slots=True)
class OneRunAudit:
    """A lower bound of epsilon from the canaries of one training run."""

    method: str
    """How the bound was computed."""
    lower: float
    """Lower bound of epsilon at confidence 1 - alpha; 0 when nothing is shown."""
    ceiling: float
    """Largest `lower` that the grid allows: every guess correct."""
    n_guesses: int
    """Guesses r of the pair behind `lower`."""
    n_correct: int
    """Correct ones among them, v; ties counted as wrong wherever they can be."""
    pair: GuessPair
    """The pair behind `lower`; where no pair shows anything, the one nearest to it."""
    n_pairs: int
    """Pairs in the grid, each tested at alpha / n_pairs."""
    n_canaries: int
    """Canaries m, abstentions included."""
    p_value: float
    """P-value of "epsilon is 0 at this delta" over the whole grid (Bonferroni), in [0, 1]."""
    delta: float
    alpha: float
    """Total error probability of `lower`."""
    assumption: str
    """What has to hold for the guarantee."""
    unit: str = UNIT
    """How `lower` and `ceiling` read."""


def audit_one_run(
    scores: ArrayLike,
    is_in: ArrayLike,
    *,
    delta: float,
    alpha: float = 0.05,
    grid: Sequence[tuple[int, int]] | None = None,
) -> OneRunAudit:
    """Lower bound of epsilon from (m,) canary scores and (m,) independent fair coins.

    scores: higher = more likely included. grid: at most 20 (k_plus, k_minus), fixed before the
        coins were seen; `guess_grid(m)` when None.
    """
    check_levels(alpha, delta)
    values, coins = checked_canaries(scores, is_in)
    m, pairs = values.size, checked_grid(grid, values.size)
    level = alpha / len(pairs)
    found = correct_guesses(values, coins, pairs).tolist()
    bounds = [
        one_run_epsilon(m, sum(pair), v, delta=delta, alpha=level)
        for pair, v in zip(pairs, found, strict=True)
    ]
    at_zero = [
        float(one_run_p_value(0.0, n_canaries=m, n_guesses=sum(pair), n_correct=v, delta=delta))
        for pair, v in zip(pairs, found, strict=True)
    ]
    best = max(range(len(pairs)), key=lambda j: (bounds[j], -at_zero[j]))
    return OneRunAudit(
        method="one training run with canaries (Steinke et al. 2023)",
        lower=bounds[best],
        ceiling=max(one_run_epsilon(m, sum(p), sum(p), delta=delta, alpha=level) for p in pairs),
        n_guesses=sum(pairs[best]),
        n_correct=found[best],
        pair=pairs[best],
        n_pairs=len(pairs),
        n_canaries=m,
        p_value=min(1.0, len(pairs) * min(at_zero)),
        delta=delta,
        alpha=alpha,
        assumption=one_run_assumption(len(pairs)),
    )


def _checked_counts(n_canaries: int, n_guesses: int, n_correct: int) -> tuple[int, int]:
    m = whole_number(n_canaries, "n_canaries", least=1)
    r = whole_number(n_guesses, "n_guesses", least=1, most=m)
    return r, whole_number(n_correct, "n_correct", least=0, most=r)
