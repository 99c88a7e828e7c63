"""What the canaries are, and which of them are in: drawn from one secret seed.

A canary is written as the rows of the data that its cells come from, so that it has the types and
spellings of the data in every format. The coins are bits of SHAKE-256 of the seed and of nothing
else: they cannot depend on what the canaries hold, and any version of any library repeats them.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple, TypeAlias, get_args

import numpy as np
from numpy.typing import NDArray

from attacks.errors import DataError, UsageError

Kind: TypeAlias = Literal["mislabelled", "random"]
KINDS: tuple[str, ...] = get_args(Kind)
SEED_BYTES = 16
LEAST = 20
"""Fewest canaries: below, even perfect guesses prove little more than an epsilon of 1."""
_ROUNDS = 20

Rows: TypeAlias = NDArray[np.int64]


class Draw(NamedTuple):
    """m canaries as rows of the data that their cells come from."""

    features: Rows
    """(m, d) row of each feature cell: d columns of a table, or numbers of an item of an array."""
    label: Rows
    """(m,) row with the canary's label."""
    rest: Rows
    """(m,) row of all other columns."""
    taken_out: Rows
    """Rows that must not be trained on, ascending."""


def new_seed(seed: int | None) -> bytes:
    """16 secret bytes: from the operating system, or those of a given number.

    Raises UsageError when the number does not fit.
    """
    if seed is None:
        return os.urandom(SEED_BYTES)
    if not 0 <= seed < 2 ** (8 * SEED_BYTES):
        raise UsageError(f"the seed must lie between 0 and 2^128 - 1, got {seed}; leave it out")
    return seed.to_bytes(SEED_BYTES, "big")


def flip_coins(seed: bytes, n: int) -> NDArray[np.bool_]:
    """(n,) independent fair coins, True for "in"."""
    stream = hashlib.shake_256(b"auditor canary coins\0" + seed).digest((n + 7) // 8)
    return np.unpackbits(np.frombuffer(stream, np.uint8))[:n].astype(bool)


def generator(seed: bytes, purpose: str) -> np.random.Generator:
    """Random numbers for one purpose, unrelated to the coins and to other purposes."""
    digest = hashlib.sha256(purpose.encode() + b"\0" + seed).digest()
    return np.random.default_rng(int.from_bytes(digest, "big"))


def check_number(n: int, most: int, why: str) -> None:
    """Raise DataError unless LEAST <= n <= most."""
    if not LEAST <= n <= most:
        raise DataError(
            f"{n} canaries cannot be planted here: give {LEAST} to {most} with --n ({why})"
            if most >= LEAST
            else f"the data are too few for {LEAST} canaries ({why}); give more rows"
        )


def draw_mislabelled(
    contents: Sequence[str],
    classes: NDArray[np.int64],
    n_features: int,
    m: int,
    rng: np.random.Generator,
) -> Draw:
    """Rows that are taken out of the data, each with a class that is not its own.

    contents: (n,) equal for rows with equal features; copies leave together and give one canary.
    classes: (n,) indices, all of 0 .. k - 1 in use. At least one row of every class stays.
    Raises DataError when more than half of the distinct rows would leave.
    """
    _, first, group = np.unique(
        np.asarray(contents, dtype=str), return_index=True, return_inverse=True
    )
    order = rng.permutation(len(first))
    _, stays = np.unique(classes[first[order]], return_index=True)
    free = np.delete(order, stays)
    most = min(len(first) // 2, len(free))
    check_number(m, most, f"half of the {len(first)} distinct rows may leave the training data")
    chosen = free[:m]
    source = first[chosen].astype(np.int64)
    n_classes = int(classes.max()) + 1
    wrong = (classes[source] + rng.integers(1, n_classes, m)) % n_classes
    features = np.broadcast_to(source[:, None], (m, n_features))
    taken_out = np.flatnonzero(np.isin(group, chosen))
    return Draw(features, _row_of_class(classes)[wrong], source, taken_out)


def draw_random(
    contents: Sequence[str],
    classes: NDArray[np.int64],
    n_features: int,
    m: int,
    rng: np.random.Generator,
    contents_of: Callable[[Rows], Sequence[str]],
) -> Draw:
    """Rows whose every cell is drawn from its own column, with a class drawn at random.

    contents_of: the contents of rows made of cells, (m, d) rows of the data. Canaries differ from
        all rows and from each other. Raises DataError when the columns do not offer as many.
    """
    n = len(classes)
    check_number(m, n, f"at most one for each of the {n} rows")
    features = rng.integers(0, n, (m, n_features))
    known = set(contents)
    for _ in range(_ROUNDS):
        seen: set[str] = set()
        again = []
        for i, content in enumerate(contents_of(features)):
            if content in known or content in seen:
                again.append(i)
            seen.add(content)
        if not again:
            wanted = rng.integers(0, int(classes.max()) + 1, m)
            rest = rng.integers(0, n, m)
            return Draw(features, _row_of_class(classes)[wanted], rest, np.empty(0, np.int64))
        features[again] = rng.integers(0, n, (len(again), n_features))
    raise DataError(
        f"the columns have too few values for {m} new rows that differ from the data; plant "
        "fewer canaries, or --kind mislabelled"
    )


def _row_of_class(classes: NDArray[np.int64]) -> Rows:
    """(k,) the first row of each class."""
    return np.unique(classes, return_index=True)[1].astype(np.int64)
