"""Permutation of membership, jointly over attacks, so that their dependence is accounted for.

Every permutation relabels the records once for all attacks; the extreme of a statistic over the
attacks is compared with its own permutation law (Westfall and Young, Resampling-Based Multiple
Testing, 1993). P-values are (1 + #{as extreme}) / (1 + B), so they are valid at every B.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import rankdata

from attacks.errors import DataError, ShapeError
from attacks.statistics.identified import RANKS, tail_probability
from attacks.statistics.rates import checked_scores

PERMUTATIONS = 9_999
"""Permutations of a verdict."""
_MAX_DEPTH = 2_000
_CELLS = 8_000_000


class JointTest(NamedTuple):
    """A test over several attacks at once."""

    p_value: float
    """Of "no attack shows anything"."""
    adjusted: NDArray[np.float64]
    """(k,) p-value of each attack, corrected for the others."""
    statistic: NDArray[np.float64]
    """(k,) observed statistic of each attack."""


def score_matrix(scores: Sequence[ArrayLike], is_member: ArrayLike) -> NDArray[np.float64]:
    """(k, n) finite scores beside (n,) labels.

    Raises ShapeError when lengths differ, DataError unless both groups are there.
    """
    labels = np.asarray(is_member, dtype=bool)
    rows = [checked_scores(row) for row in scores]
    if not rows or any(row.shape != labels.shape for row in rows):
        shapes = sorted({row.shape for row in rows})
        raise ShapeError(f"expected scores of shape {labels.shape} for each attack, got {shapes}")
    if labels.all() or not labels.any():
        raise DataError("both members and nonmembers are needed, and one group is empty")
    return np.stack(rows)


@dataclass(frozen=True, slots=True)
class _Top:
    """The top records of one attack, from the highest score down."""

    rows: NDArray[np.intp]
    """(d,) indices of the records."""
    tie_start: NDArray[np.intp]
    """(d + 1,) how many records score strictly more than the one at each position."""

    def best_p(self, is_nonmember: NDArray[np.bool_], tables: NDArray) -> NDArray[np.float64]:
        """(b,) smallest p over ranks, for labels (d, b) of the top records."""
        depth, width = is_nonmember.shape
        found = np.zeros((depth + 1, width), dtype=np.int16)
        np.cumsum(is_nonmember, axis=0, dtype=np.int16, out=found[1:])
        columns = np.arange(width)
        best = np.ones(width)
        for rank, table in zip(RANKS, tables, strict=True):
            start = self.tie_start[np.count_nonzero(found[1:] < rank, axis=0)]
            np.minimum(best, table[start - found[start, columns]], out=best)
        return best


def joint_identified_test(
    scores: Sequence[ArrayLike],
    is_member: ArrayLike,
    *,
    rng: np.random.Generator,
    permutations: int = PERMUTATIONS,
) -> JointTest:
    """Test that no attack puts members above the top nonmembers.

    scores: k arrays of shape (n,); is_member: (n,) bool.

    The statistic is the smallest exact p over attacks and ranks 1, 3 and 10, recalibrated by
    permuting membership. Only the top of each ranking can matter, so labels are drawn for the
    union of the tops alone, one record after another from the remaining pool. Counts are taken
    within a depth that holds the tenth nonmember with near certainty (at most 2,000 records),
    for the observed labels as for the permuted ones, so the test is exact whatever the depth.
    Cost: permutations x k x depth. With permutations = 0 the exact p-values are combined by
    Bonferroni instead.
    """
    labels = np.asarray(is_member, dtype=bool)
    matrix = score_matrix(scores, labels)
    n_members, n_nonmembers = int(labels.sum()), int((~labels).sum())
    tables = _tables(n_members, n_nonmembers)
    depth = tables.shape[1] - 1
    tops = [_top(row, depth) for row in matrix]
    observed = np.array([top.best_p(~labels[top.rows][:, None], tables)[0] for top in tops])
    if permutations == 0:
        adjusted = np.minimum(1.0, observed * len(RANKS) * len(tops))
        return JointTest(float(adjusted.min()), adjusted, observed)
    union, places = np.unique(np.concatenate([top.rows for top in tops]), return_inverse=True)
    where = np.split(places, np.cumsum([top.rows.size for top in tops])[:-1])
    smallest = []
    for width in _blocks(permutations, union.size):
        drawn = _draw_nonmembers(union.size, n_members, n_nonmembers, width, rng)
        best = np.ones(width)
        for top, rows in zip(tops, where, strict=True):
            np.minimum(best, top.best_p(drawn[rows], tables), out=best)
        smallest.append(best)
    law = np.sort(np.concatenate(smallest))
    # Equal p-values of different ranks differ by rounding; a tie must count as extreme.
    reached = np.searchsorted(law, observed * (1 + 1e-6), side="right")
    adjusted = (1 + reached) / (permutations + 1)
    return JointTest(float(adjusted.min()), adjusted, observed)


@lru_cache(maxsize=64)
def _tables(n_members: int, n_nonmembers: int) -> NDArray[np.float64]:
    """(ranks, depth + 1) exact p-value of every count within the depth."""
    counts = np.arange(_depth(n_members, n_nonmembers) + 1)
    tables = np.stack([tail_probability(counts, r, n_members, n_nonmembers) for r in RANKS])
    tables.flags.writeable = False
    return tables


def _depth(n_members: int, n_nonmembers: int) -> int:
    """How far down to look: past the last rank with probability above 1 - 1e-9."""
    n = n_members + n_nonmembers
    sizes = np.arange(1, min(n, _MAX_DEPTH) + 1)
    missed = tail_probability(sizes - max(RANKS) + 1, max(RANKS), n_members, n_nonmembers)
    enough = np.flatnonzero(missed <= 1e-9)
    return int(sizes[enough[0]] if enough.size else sizes[-1])


def _top(scores: NDArray[np.float64], depth: int) -> _Top:
    """The `depth` highest records and where the ties of each begin."""
    kept = min(depth + 1, scores.size)
    rows = np.argpartition(-scores, kept - 1)[:kept]
    rows = rows[np.argsort(-scores[rows], kind="stable")]
    values = -scores[rows]
    tie_start = np.searchsorted(values, values, side="left")
    if kept == depth:  # every record is in the top: position `depth` lies past the last one
        tie_start = np.append(tie_start, depth)
    return _Top(rows[:depth], tie_start)


def _draw_nonmembers(
    size: int, n_members: int, n_nonmembers: int, width: int, rng: np.random.Generator
) -> NDArray[np.bool_]:
    """(size, width) labels of `size` records under `width` random permutations of membership."""
    drawn = np.empty((size, width), dtype=bool)
    left = np.full(width, n_nonmembers, dtype=np.float64)
    for i in range(size):
        np.less(rng.random(width) * (n_members + n_nonmembers - i), left, out=drawn[i])
        left -= drawn[i]
    return drawn


def _blocks(permutations: int, cells_each: int) -> Iterator[int]:
    width = max(1, min(permutations, _CELLS // max(cells_each, 1)))
    for done in range(0, permutations, width):
        yield min(width, permutations - done)


def joint_auc_test(
    scores: Sequence[ArrayLike],
    is_member: ArrayLike,
    *,
    rng: np.random.Generator,
    permutations: int = PERMUTATIONS,
) -> JointTest:
    """Two-sided test that every attack has AUC 1/2, by the maximum |z(AUC)| over attacks.

    scores: k arrays of shape (n,); is_member: (n,) bool. z uses the exact permutation variance of
    the rank sum, ties included; an attack whose scores are all equal has z = 0. For the negative
    control: one random half of the nonmembers against the other.
    """
    labels = np.asarray(is_member, dtype=bool)
    matrix = score_matrix(scores, labels)
    n, n_members = labels.size, int(labels.sum())
    ranks = np.stack([rankdata(row) for row in matrix]) - (n + 1) / 2
    spread = np.sqrt(n_members * (n - n_members) / n * ranks.var(axis=1, ddof=1))
    weights = np.divide(ranks, spread[:, None], out=np.zeros_like(ranks), where=spread[:, None] > 0)
    observed = weights[:, labels].sum(axis=1)
    largest = []
    template = np.zeros(n)
    template[:n_members] = 1.0
    for width in _blocks(permutations, n):
        drawn = rng.permuted(np.tile(template, (width, 1)), axis=1)
        largest.append(np.abs(drawn @ weights.T).max(axis=1))
    law = np.sort(np.concatenate(largest)) if largest else np.empty(0)
    # Sums in another order differ by rounding; a tie must count as extreme.
    reached = law.size - np.searchsorted(law, np.abs(observed) - 1e-9, side="left")
    adjusted = (1 + reached) / (permutations + 1)
    return JointTest(float(adjusted.min()), adjusted, observed)
