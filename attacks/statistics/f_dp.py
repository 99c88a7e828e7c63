"""Audit of one training run against a whole trade-off curve, assumed to be Gaussian.

Mahloujifar, Melis and Chaudhuri (ICML 2025, arXiv 2410.22235) bound how probable c correct of c'
guesses on m canaries are under an f-DP claim, by a recursion over the numbers of correct guesses.
With the curve of N(0, 1) against N(mu, 1) this gives a lower bound of mu, and through it of
epsilon. It shows more than `one_run` from the same guesses, but is no bound at all where the
mechanism has another curve: every result says so.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from numpy.typing import ArrayLike
from scipy.optimize import brentq
from scipy.special import ndtr, ndtri

from attacks.statistics.epsilon import UNIT, check_levels, whole_number
from attacks.statistics.gaussian_dp import GAUSSIAN_TRADE_OFF, stated_epsilon
from attacks.statistics.one_run import (
    GuessPair,
    checked_canaries,
    checked_grid,
    correct_guesses,
    one_run_assumption,
)


def f_dp_excess(
    mu: float, *, n_canaries: int, n_guesses: int, n_correct: int, alpha: float
) -> float:
    """How far the recursion exceeds its limit: mu-GDP is refuted at alpha where positive.

    `audit_rh_with_cap` of the paper, with the inverse curve x -> Phi(Phi^-1(x) - mu). It is
    continuous in mu and does not increase with it. O(n_correct), each step needs the last.
    """
    r = alpha * n_correct / n_canaries
    h = alpha * (n_guesses - n_correct) / n_canaries
    for i in range(n_correct - 1, -1, -1):
        reached = max(h, float(ndtr(ndtri(r) - mu)))
        if reached == h:  # then neither changes any more
            break
        r = min(1.0, r + i / (n_guesses - i) * (reached - h))
        h = reached
    return r + h - n_guesses / n_canaries


def f_dp_mu(n_canaries: int, n_guesses: int, n_correct: int, *, alpha: float = 0.05) -> float:
    """Lower bound of mu at confidence 1 - alpha from c correct of c' guesses on m canaries.

    0 when mu = 0 (perfect privacy) is not refuted.
    """
    check_levels(alpha, 0.0)
    m = whole_number(n_canaries, "n_canaries", least=1)
    guesses = whole_number(n_guesses, "n_guesses", least=1, most=m)
    correct = whole_number(n_correct, "n_correct", least=0, most=guesses)
    return _largest_refuted(m, guesses, correct, float(alpha))


@lru_cache(maxsize=65536)
def _largest_refuted(m: int, guesses: int, correct: int, alpha: float) -> float:
    def excess(mu: float) -> float:
        return f_dp_excess(mu, n_canaries=m, n_guesses=guesses, n_correct=correct, alpha=alpha)

    if excess(0.0) <= 0:
        return 0.0
    low, high = 0.0, 1.0
    while excess(high) > 0:
        low, high = high, 2 * high
    return float(brentq(excess, low, high, xtol=1e-10))


@dataclass(frozen=True, slots=True)
class FDpAudit:
    """A lower bound of mu and epsilon from one run, under an assumed Gaussian curve."""

    method: str
    """How the bound was computed."""
    mu_lower: float
    """Lower bound of mu at confidence 1 - alpha; 0 when nothing is shown."""
    mu_ceiling: float
    """Largest `mu_lower` that the grid allows: every guess correct."""
    lower: float | None
    """Epsilon of `mu_lower` at delta; None when it is infinite."""
    ceiling: float | None
    """Epsilon of `mu_ceiling` at delta; None when it is infinite."""
    reason: str | None
    """Why an epsilon is missing."""
    n_guesses: int
    """Guesses c' of the pair behind `mu_lower`."""
    n_correct: int
    """Correct ones among them, c; ties counted as wrong wherever they can be."""
    pair: GuessPair
    """The pair behind `mu_lower`; the first of the grid where no pair shows anything."""
    n_pairs: int
    """Pairs in the grid, each tested at alpha / n_pairs."""
    n_canaries: int
    """Canaries m, abstentions included."""
    delta: float
    alpha: float
    """Total error probability of `mu_lower`, and of `lower` with it."""
    assumption: str
    """What has to hold for the bound, the shape of the curve first."""
    unit: str = UNIT
    """How `lower` and `ceiling` read; mu is in standard deviations."""


def audit_one_run_gaussian(
    scores: ArrayLike,
    is_in: ArrayLike,
    *,
    delta: float,
    alpha: float = 0.05,
    grid: Sequence[tuple[int, int]] | None = None,
) -> FDpAudit:
    """Lower bound of mu and epsilon from (m,) canary scores and (m,) fair coins.

    The guesses, the grid and the checks are those of `one_run.audit_one_run`.
    """
    check_levels(alpha, delta)
    values, coins = checked_canaries(scores, is_in)
    m, pairs = values.size, checked_grid(grid, values.size)
    level = alpha / len(pairs)
    found = correct_guesses(values, coins, pairs).tolist()
    bounds = [f_dp_mu(m, sum(pair), c, alpha=level) for pair, c in zip(pairs, found, strict=True)]
    best = max(range(len(pairs)), key=lambda j: bounds[j])
    most = max(f_dp_mu(m, sum(pair), sum(pair), alpha=level) for pair in pairs)
    lower, ceiling = stated_epsilon(bounds[best], delta), stated_epsilon(most, delta)
    return FDpAudit(
        method="one training run, f-DP under a Gaussian curve (Mahloujifar et al. 2025)",
        mu_lower=bounds[best],
        mu_ceiling=most,
        lower=lower.value,
        ceiling=ceiling.value,
        reason=lower.reason or ceiling.reason,
        n_guesses=sum(pairs[best]),
        n_correct=found[best],
        pair=pairs[best],
        n_pairs=len(pairs),
        n_canaries=m,
        delta=delta,
        alpha=alpha,
        assumption=f"{GAUSSIAN_TRADE_OFF}; {one_run_assumption(len(pairs))}",
    )
