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
MAX_ATTACKED = 8
"""Most shadow models that are attacked to tune `a`."""


def log_mean(log_p: NDArray[np.float64], mask: NDArray[np.bool_]) -> NDArray[np.float64]:
    """(n, q) log of the mean probability over the models that the mask (n, m) chooses."""
    chosen = np.where(mask[:, :, None], log_p, -np.inf)
    return signals.logsumexp(chosen, axis=1) - np.log(mask.sum(axis=1))[:, None]


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
    log_p: NDArray[np.float64], shadows: Shadows, a: float | None
) -> NDArray[np.float64]:
    """(n,) mean over queries of log P(x | target) - log P(x).

    log_p: (n, q) of the target; shadows: (n, m, q) log-probabilities; a: None for online.
    """
    log_p_out = log_mean(shadows.values, ~shadows.keep)
    if a is None:
        usual = online_log_p(log_mean(shadows.values, shadows.keep), log_p_out)
    else:
        usual = offline_log_p(log_p_out, a)
    return (log_p - usual).mean(axis=1)


def tuned_a(shadows: Shadows) -> float:
    """The value of the grid with the highest mean AUC when shadow models are attacked.

    Each of up to eight is taken for the target, with the others but its twin for its shadow
    models: the twin was trained on exactly what it was not, and would give the answer away.
    """
    means = [
        found
        for j in range(min(shadows.keep.shape[1], MAX_ATTACKED))
        if (found := _aucs_against(shadows, j)) is not None
    ]
    if not means:
        return UNTUNED
    return GRID[int(np.argmax(np.mean(means, axis=0)))]


def _aucs_against(shadows: Shadows, j: int) -> NDArray[np.float64] | None:
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
    log_p_out = log_mean(others.values, ~others.keep)
    scores = [(shadows.values[:, j] - offline_log_p(log_p_out, a)).mean(axis=1) for a in GRID]
    return np.array([auc(s[is_member], s[~is_member]).value for s in scores])
