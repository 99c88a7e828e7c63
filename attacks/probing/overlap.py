"""Overlap of masks: do sets of memorized prompts mark the same weights, and only they?

IoU is the number of weights in both masks over the number in either, 0 where both are empty. A high
IoU of memorized sets says little alone: all prompts react alike against the empty prompt. So sets
of ordinary prompts stand beside them, against the same reference, and random masks with as many
weights in every row. The published code has neither.
Axis names: p sets, l layers, t steps.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import combinations
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from attacks.errors import ShapeError

MOST_SPLITS = 10_000
"""Relabellings of the sets up to which all are tried."""


class Groups(NamedTuple):
    """Mean IoU of the pairs of each kind; NaN where there is no pair."""

    memorized: float
    ordinary: float
    across: float
    """One memorized and one ordinary set."""


class Distinction(NamedTuple):
    """Whether memorized sets are more like each other than like ordinary ones."""

    difference: float
    """Mean IoU of two memorized sets minus that of a memorized and an ordinary one."""
    p_value: float
    """Share of the relabellings of the sets with a difference as large, the real one included."""
    smallest_p: float
    """The smallest p-value that these numbers of sets can give."""


def iou(first: NDArray[np.bool_], second: NDArray[np.bool_]) -> float:
    """Intersection over union of two masks of one shape; 0 if both are empty."""
    if first.shape != second.shape:
        raise ShapeError(f"masks of {first.shape} and {second.shape} cannot be compared")
    either = int(np.count_nonzero(first | second))
    return int(np.count_nonzero(first & second)) / either if either else 0.0


def iou_matrix(masks: Sequence[NDArray[np.bool_]]) -> NDArray[np.float64]:
    """(p, p) IoU of every pair of masks of one layer: symmetric, 1 on the diagonal.

    An empty mask has 0 everywhere, on the diagonal too.
    """
    flat = np.stack([np.asarray(mask, dtype=bool).reshape(-1) for mask in masks])
    return iou_of_counts(flat.astype(np.float32) @ flat.T.astype(np.float32))


def iou_of_counts(both: ArrayLike) -> NDArray[np.float64]:
    """(p, p) IoU from the numbers of weights in both masks; sizes stand on the diagonal."""
    counts = np.asarray(both, dtype=np.float64)
    sizes = np.diag(counts)
    either = sizes[:, None] + sizes[None, :] - counts
    return np.divide(counts, either, out=np.zeros_like(counts), where=either > 0)


def expected_iou(density: float) -> float:
    """IoU of two large random masks of density rho: rho / (2 - rho)."""
    return density / (2 - density)


def expected_iou_of_rows(first: NDArray[np.bool_], second: NDArray[np.bool_]) -> float:
    """IoU of two random masks with the numbers of these masks in every row, in expectation.

    Of the intersection and of the union, taken each on its own: exact for large masks.
    """
    a, b = first.sum(axis=1, dtype=np.int64), second.sum(axis=1, dtype=np.int64)
    both = float((a * b).sum()) / first.shape[1]
    either = float(a.sum() + b.sum()) - both
    return both / either if either > 0 else 0.0


def random_like(mask: NDArray[np.bool_], rng: np.random.Generator) -> NDArray[np.bool_]:
    """(o, d) a random mask with as many weights in every row."""
    ranks = rng.random(mask.shape).argsort(axis=1).argsort(axis=1)
    found: NDArray[np.bool_] = ranks < mask.sum(axis=1, keepdims=True)
    return found


def by_group(matrix: NDArray[np.float64], n_memorized: int) -> Groups:
    """Mean off-diagonal IoU of each kind; memorized sets come first in the (p, p) matrix."""
    p = len(matrix)
    kinds: dict[int, list[float]] = {0: [], 1: [], 2: []}
    for i, j in combinations(range(p), 2):
        kinds[(i >= n_memorized) + (j >= n_memorized)].append(float(matrix[i, j]))
    mean = {k: float(np.mean(values)) if values else math.nan for k, values in kinds.items()}
    return Groups(memorized=mean[0], ordinary=mean[2], across=mean[1])


def distinction(matrix: NDArray[np.float64], n_memorized: int) -> Distinction | None:
    """Exact permutation test over the sets: are memorized ones more alike than mixed ones?

    matrix: (p, p) IoU, memorized sets first, at least two of them and two ordinary ones; otherwise
    None. If memorization plays no part, sets of one size can be relabelled at will. One-sided. All
    relabellings are tried up to 10,000; beyond that None, for so many sets are not needed.
    """
    p = len(matrix)
    n_splits = math.comb(p, n_memorized)
    if n_memorized < 2 or p - n_memorized < 2 or n_splits > MOST_SPLITS:
        return None
    observed = _difference(matrix, tuple(range(n_memorized)))
    found = [_difference(matrix, chosen) for chosen in combinations(range(p), n_memorized)]
    at_least = sum(value >= observed - 1e-12 for value in found)
    return Distinction(observed, at_least / n_splits, 1 / n_splits)


def _difference(matrix: NDArray[np.float64], chosen: tuple[int, ...]) -> float:
    inside = list(chosen)
    outside = [i for i in range(len(matrix)) if i not in set(chosen)]
    own = matrix[np.ix_(inside, inside)]
    pairs = own[np.triu_indices(len(inside), 1)]
    return float(pairs.mean() - matrix[np.ix_(inside, outside)].mean())
