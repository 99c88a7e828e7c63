"""Designs of subsets, a real learner without training noise, and digits with wrong labels."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.distance import cdist


def paired_halves(n_models: int, n: int, rng: np.random.Generator) -> NDArray[np.bool_]:
    """(m, n) where models 2j and 2j + 1 train on the two halves of a random split."""
    first = np.array([rng.permutation(n) < n // 2 for _ in range(n_models // 2)])
    return np.stack([first, ~first], axis=1).reshape(n_models, n)


def random_subsets(n_models: int, n: int, size: int, rng: np.random.Generator):
    """(m, n) independent subsets of a given size without replacement."""
    return np.array([rng.permutation(n) < size for _ in range(n_models)])


def coin_design(n_models: int, n: int, share: float, rng: np.random.Generator):
    """(m, n) each record in each subset by its own coin: counts differ between records."""
    return rng.random((n_models, n)) < share


class Digits(NamedTuple):
    points: NDArray[np.float64]
    labels: NDArray[np.int64]
    """With about a tenth of them wrong."""
    is_flipped: NDArray[np.bool_]


@lru_cache(maxsize=1)
def flipped_digits() -> Digits:
    """All 1,797 digits, each label wrong with probability .1 (seed 0: 179 of them)."""
    from sklearn.datasets import load_digits

    data, rng = load_digits(), np.random.default_rng(0)
    labels = data.target.copy()
    is_flipped = rng.random(labels.size) < 0.1
    labels[is_flipped] += rng.integers(1, 10, is_flipped.sum())
    return Digits(data.data, labels % 10, is_flipped)


def nearest_neighbour_answers(points, labels, keep, queries=None, query_labels=None):
    """(m, n) whether a 1-NN classifier on each subset is right about each query."""
    queries = points if queries is None else queries
    wanted = labels if query_labels is None else query_labels
    order = np.argsort(cdist(queries, points, "sqeuclidean"), axis=1, kind="stable")
    order = order[:, :100]  # subsets hold a good share of the records: the nearest is soon found
    assert all(subset[order].any(axis=1).all() for subset in keep[:3])
    rows = np.arange(len(queries))
    nearest = [order[rows, np.argmax(subset[order], axis=1)] for subset in keep]
    return np.array([labels[chosen] == wanted for chosen in nearest])


@lru_cache(maxsize=1)
def monte_carlo():
    """(400, n) keep and answers of 400 1-NN classifiers, each on 70 % of the digits."""
    digits = flipped_digits()
    n = digits.labels.size
    keep = random_subsets(400, n, int(0.7 * n), np.random.default_rng(1))
    return keep, nearest_neighbour_answers(digits.points, digits.labels, keep)
