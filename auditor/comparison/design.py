"""Which records each model of a comparison is trained on, and which of them are canaries.

Every trial splits the pool into two complementary halves at random and trains a model on each, so
that every record is a member of one and a nonmember of the other. Canaries are records of the pool
under a wrong label, the same ones and the same labels in all trials; a fair coin for each canary
and trial says in which half it is. So each trial has exactly one model that never saw a record,
and the other trials' models serve as references.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from attacks.errors import DataError
from auditor.methods.protocol import Records

CANARY_SHARE = 15
"""One record in so many is a canary, within the limits below."""
FEWEST_CANARIES = 10
MOST_CANARIES = 60
HALVES = 2


@dataclass(frozen=True, slots=True, eq=False)
class Design:
    """The pool of a comparison and its halves."""

    records: Records
    """The pool, canaries under their wrong labels."""
    is_canary: NDArray[np.bool_]
    """(n,) which records are canaries."""
    keep: NDArray[np.bool_]
    """(trials, 2, n) the training set of each model; the two halves are complementary."""
    seeds: tuple[int, ...]
    """Seed of each trial; both halves and both kinds of models share it."""


def make_design(pool: Records, trials: int, seed: int) -> Design:
    """Halves and canaries, a function of the pool's size, its classes and the seed alone.

    Without classes there are no canaries. Raises DataError where the pool is too small to hold
    canaries and halves of the rest.
    """
    n = len(pool)
    if n < 4 * FEWEST_CANARIES:
        raise DataError(f"a comparison needs {4 * FEWEST_CANARIES} records in the pool, got {n}")
    rng = np.random.default_rng([seed, 11])
    records, is_canary = pool, np.zeros(n, dtype=bool)
    if pool.classes is not None:
        wanted = int(np.clip(n // CANARY_SHARE, FEWEST_CANARIES, MOST_CANARIES))
        chosen = rng.choice(n, size=wanted, replace=False)
        is_canary[chosen] = True
        records = Records(
            pool.features, with_wrong_labels(pool.classes, chosen, rng), pool.ids, pool.extras
        )
    seeds = tuple(range(seed, seed + trials))
    first = np.stack([_half(is_canary, np.random.default_rng([s, 12])) for s in seeds])
    return Design(records, is_canary, np.stack([first, ~first], axis=1), seeds)


def with_wrong_labels(
    classes: NDArray[np.int64], rows: NDArray[np.int64], rng: np.random.Generator
) -> NDArray[np.int64]:
    """(n,) classes, where those of some rows are another class of the pool, all others alike.

    Raises DataError where there is only one class.
    """
    known = np.unique(classes)
    if known.size < 2:
        raise DataError("canaries need a wrong label, and all records are of one class")
    planted = classes.copy()
    shift = rng.integers(1, known.size, size=len(rows))
    planted[rows] = known[(np.searchsorted(known, classes[rows]) + shift) % known.size]
    return planted


def _half(is_canary: NDArray[np.bool_], rng: np.random.Generator) -> NDArray[np.bool_]:
    """(n,) exactly half of the ordinary records (rounded down), and canaries by fair coins."""
    keep = np.zeros(is_canary.size, dtype=bool)
    ordinary = np.flatnonzero(~is_canary)
    keep[rng.permutation(ordinary)[: ordinary.size // 2]] = True
    keep[is_canary] = rng.random(int(is_canary.sum())) < 0.5
    return keep
