"""Ratios of a model's probability to what is usual, for RMIA; all in logarithms.

Zarifzadeh, Liu, Shokri, arXiv:2312.03262. Probabilities close to 0 make ratios that span many
orders of magnitude. Axis names: n records, m shadow models, q queries.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from attacks import signals
from attacks.membership._classifier import Shadows

GRID = tuple(i / 10 for i in range(11))
"""Values of `a` that are tried."""
UNTUNED = 1.0
"""`a` where a single pair leaves nothing to tune on: the OUT models as they are."""
MOST_PAIRS = 2**24
"""Comparisons that are held in memory at once when queries vote."""
MAX_ATTACKED = 8
"""Most shadow models that are attacked to tune `a`."""


def log_mean(
    log_p: NDArray[np.float64], mask: NDArray[np.bool_], trim: float = 0.0
) -> NDArray[np.float64]:
    """(n, q) log of the mean probability over the models that the mask (n, m) chooses.

    trim: share of a record's models that is left out at either end, rounded down; below 1/2.
    """
    chosen = np.where(mask[:, :, None], log_p, -np.inf)
    count = mask.sum(axis=1)
    cut = np.floor(trim * count + 1e-9).astype(np.int64)
    if cut.any():
        chosen = np.sort(chosen, axis=1)  # what is not chosen comes first
        rank = np.arange(mask.shape[1]) - (mask.shape[1] - count)[:, None]
        is_kept = (rank >= cut[:, None]) & (rank < (count - cut)[:, None])
        chosen = np.where(is_kept[:, :, None], chosen, -np.inf)
    return signals.logsumexp(chosen, axis=1) - np.log(count - 2 * cut)[:, None]


def offline_log_p(log_p_out: NDArray[np.float64], a: float) -> NDArray[np.float64]:
    """Log of ((1 + a) P_out + 1 - a) / 2, where P_in is taken for a P_out + 1 - a."""
    with np.errstate(divide="ignore"):
        return np.logaddexp(np.log1p(a) + log_p_out, np.log1p(-a)) - np.log(2)


def online_log_p(
    log_p_in: NDArray[np.float64], log_p_out: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Log of (P_in + P_out) / 2."""
    return np.logaddexp(log_p_in, log_p_out) - np.log(2)


def log_ratios(
    log_p: NDArray[np.float64], shadows: Shadows, a: float | None, trim: float = 0.0
) -> NDArray[np.float64]:
    """(n, q) log P(x | target) - log P(x) of each query.

    log_p: (n, q) of the target; shadows: (n, m, q) log-probabilities; a: None for online; trim:
    as in `log_mean`, of the IN and of the OUT models.
    """
    log_p_out = log_mean(shadows.values, ~shadows.keep, trim)
    if a is None:
        return log_p - online_log_p(log_mean(shadows.values, shadows.keep, trim), log_p_out)
    return log_p - offline_log_p(log_p_out, a)


def share_outvoted(
    ratios: NDArray[np.float64], population: NDArray[np.float64], *, gap: float, strict: bool
) -> NDArray[np.float64]:
    """(n,) share of a population that a record exceeds in more than half of the queries.

    ratios: (n, q), population: (z, q) log-ratios; a query counts if the difference is at least
    `gap`, or above it if strict. All n * z pairs are compared, a part of the records at a time.
    """
    n, q = ratios.shape
    found = np.empty(n)
    step = max(1, MOST_PAIRS // max(population.size, 1))
    limits = population + gap
    for low in range(0, n, step):
        part = ratios[low : low + step, None]
        votes = (part > limits if strict else part >= limits).sum(axis=2)
        found[low : low + step] = (2 * votes > q).mean(axis=1)
    return found


def tuned_a(shadows: Shadows, trim: float = 0.0) -> float:
    """The value of the grid with the highest mean AUC when shadow models are attacked.

    Each of up to eight is taken for the target, with the others but its twin for its shadow
    models: the twin was trained on exactly what it was not, and would give the answer away.
    """
    means = [
        found
        for j in range(min(shadows.keep.shape[1], MAX_ATTACKED))
        if (found := _aucs_against(shadows, j, trim)) is not None
    ]
    if not means:
        return UNTUNED
    return GRID[int(np.argmax(np.mean(means, axis=0)))]


def _aucs_against(shadows: Shadows, j: int, trim: float = 0.0) -> NDArray[np.float64] | None:
    """AUC of every `a` against shadow model j; None if a record would be left without OUT model."""
    from attacks.statistics.auc import auc

    keep = shadows.keep
    is_member = keep[:, j]
    is_other = ~np.all(keep == ~is_member[:, None], axis=0)
    is_other[j] = False
    others = Shadows(shadows.values[:, is_other], keep[:, is_other])
    n_members = int(is_member.sum())
    if not (0 < n_members < len(is_member)) or not np.all(np.any(~others.keep, axis=1)):
        return None
    log_p_out = log_mean(others.values, ~others.keep, trim)
    scores = [(shadows.values[:, j] - offline_log_p(log_p_out, a)).mean(axis=1) for a in GRID]
    return np.array([auc(s[is_member], s[~is_member]).value for s in scores])
