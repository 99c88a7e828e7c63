"""Rank statistics of many relabellings at once: AUCs, tail counts and permutation p-values.

A permutation test compares the declared labels with thousands of random relabellings; row 0 of
every (b, n) array here is the declared one. Permuting whole units (data subjects) keeps the test
exact where records of one subject resemble each other. The p-value counts the declared labels
among the relabellings, so that it is valid at any number of them (Phipson and Smyth, 2010,
doi:10.2202/1544-6115.1585).
"""

from __future__ import annotations

import numpy as np
import scipy.stats
from numpy.typing import NDArray

ROWS = 250
"""Relabellings per matrix product: 20 MB of scores at 10,000 records."""

TAIL_RANK = 3
"""K_3 counts members strictly above the third largest nonmember: two strays do not hide a tail."""

_LEVELS = 2.0**28  # score levels in the sort key, which must fit 32 bits

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


def relabellings(labels: Bools, n_permutations: int, rng: np.random.Generator) -> Bools:
    """(b + 1, u) labels: row 0 as declared, the rest permuted at random."""
    rows = np.tile(labels, (n_permutations + 1, 1))
    rng.permuted(rows[1:], axis=1, out=rows[1:])
    return rows


def row_aucs(scores: Floats, labels: Bools) -> Floats:
    """(b,) AUC of each row of scores (b, n) for its own labels (b, n); ties count one half.

    Each row is sorted once with the label in the lowest bit of an integer key, so that members
    come last among equal scores, and once so that they come first; the mean of the two is the
    midrank. Ten times faster than ranking; scores within 4e-9 of the row's range are tied.
    """
    largest = np.abs(scores).max(axis=1, keepdims=True)
    levels = np.rint(scores * (_LEVELS / np.where(largest > 0, largest, 1.0))).astype(np.int32)
    ranks = np.arange(1, scores.shape[1] + 1, dtype=float)
    last = (np.sort(2 * levels + labels, axis=1) & 1) @ ranks
    first = ranks.sum() - (np.sort(2 * levels + ~labels, axis=1) & 1) @ ranks
    return _auc_of_rank_sum((last + first) / 2, labels)


def score_aucs(scores: Floats, labels: Bools) -> Floats:
    """(b,) AUC of one score (n,) for each of b labellings (b, n)."""
    ranks = scipy.stats.rankdata(scores)
    chunks = (labels[i : i + ROWS] for i in range(0, len(labels), ROWS))
    return _auc_of_rank_sum(np.concatenate([chunk @ ranks for chunk in chunks]), labels)


def tail_counts(values: Floats, labels: Bools, rank: int = TAIL_RANK) -> NDArray[np.int64]:
    """(b,) members strictly above the rank-th largest nonmember; values (u,), labels (b, u)."""
    order = np.argsort(-values, kind="stable")
    depth = 32 * rank
    while True:  # the top is all that matters; deepen until every labelling has its nonmembers
        top = order[:depth]
        nonmembers = np.cumsum(~labels[:, top], axis=1)
        if depth >= order.size or bool(np.all(nonmembers[:, -1] >= rank)):
            break
        depth *= 4
    threshold = values[top[np.argmax(nonmembers >= rank, axis=1)]]
    above = np.searchsorted(-values[top], -threshold, side="left")
    below_first = np.maximum(above - 1, 0)
    return above - np.where(above > 0, nonmembers[np.arange(len(labels)), below_first], 0)


def standardised(aucs: Floats) -> Floats:
    """(b,) AUCs in deviations of all b values, the observed one included; 0 where constant."""
    deviation = float(aucs.std())
    return (aucs - aucs.mean()) / deviation if deviation > 1e-12 else np.zeros_like(aucs)


def p_of_first(statistic: NDArray) -> float:
    """Permutation p-value of entry 0: the share of entries that reach it, itself included."""
    return float(np.mean(statistic >= statistic[0] - 1e-9))


def _auc_of_rank_sum(rank_sum: Floats, labels: Bools) -> Floats:
    members = labels.sum(axis=1).astype(float)
    pairs = members * (labels.shape[1] - members)
    wins = rank_sum - members * (members + 1) / 2
    return np.where(pairs > 0, wins / np.maximum(pairs, 1), 0.5)
