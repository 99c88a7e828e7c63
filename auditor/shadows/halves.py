"""Which records each shadow model is trained on: a pure function of seed, model and record id.

Every record gets a 64-bit number for each pair of models, by hashing; a half is the records with
the lower numbers. More models never change the earlier ones, and the order of rows plays no part.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from attacks.errors import DataError, ShapeError, UsageError

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MULTIPLIERS = (np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB))
_SHIFTS = (np.uint64(30), np.uint64(27), np.uint64(31))


def paired_halves(
    record_ids: Sequence[str], n_models: int, seed: int, groups: Sequence[str] | None = None
) -> NDArray[np.bool_]:
    """(m, n) training sets of m/2 pairs of models, each pair a random half and its complement.

    Every record is IN for exactly m/2 models, so its IN and OUT sets are never empty (Carlini et
    al., arXiv:2112.03570, sec. V, with complements in place of independent halves).

    n_models: m, even.
    groups: (n,) data subject of each record; records of one subject stay together, and a half is
        half of the subjects.

    Raises UsageError if m is odd, DataError if an id occurs twice or there is less than two of
    what is halved.
    """
    check_even(n_models)
    keep = np.empty((n_models, len(record_ids)), dtype=bool)
    units, unit_of_record = _units(record_ids, groups)
    for j in range(n_models // 2):
        keep[2 * j] = _lowest(units, len(units) // 2, f"{seed}|pair|{j}")[unit_of_record]
        keep[2 * j + 1] = ~keep[2 * j]
    return keep


def random_subsets(
    record_ids: Sequence[str],
    n_models: int,
    share: float,
    seed: int,
    groups: Sequence[str] | None = None,
) -> NDArray[np.bool_]:
    """(m, n) training sets drawn one by one, each of round(share * n) records.

    The design of Feldman and Zhang (arXiv:2008.03703), who take share = 0.7. A record can be IN,
    or OUT, for few models: count them before an estimate.

    groups: as in `paired_halves`; then a set is round(share * g) of g subjects.

    Raises UsageError if a set or its complement would be empty, DataError as `paired_halves`.
    """
    units, unit_of_record = _units(record_ids, groups)
    size = round(share * len(units))
    if not 0 < size < len(units):
        raise UsageError(
            f"a share of {share:g} of {len(units)} leaves no record in or none out of the training "
            "sets; choose a share between 0 and 1, such as 0.7"
        )
    sets = [_lowest(units, size, f"{seed}|subset|{i}")[unit_of_record] for i in range(n_models)]
    return np.array(sets, dtype=bool).reshape(n_models, len(record_ids))


def model_seeds(seed: int, n_models: int) -> NDArray[np.int64]:
    """(m,) seeds of the models' initial weights and batches, below 2^32; a prefix stays as it is."""
    return np.array(
        [int(_number(f"{seed}|model|{i}") >> np.uint64(32)) for i in range(n_models)],
        dtype=np.int64,
    )


def _units(
    record_ids: Sequence[str], groups: Sequence[str] | None
) -> tuple[NDArray[np.uint64], NDArray[np.intp]]:
    """Hashes of what is halved (records or subjects) in an order of their own, unit of each row."""
    if len(set(record_ids)) != len(record_ids):
        raise DataError("two records of the pool have one id; remove the repeats")
    if groups is not None and len(groups) != len(record_ids):
        raise ShapeError(f"expected {len(record_ids)} groups, one per record, got {len(groups)}")
    kind, names = ("records", record_ids) if groups is None else ("data subjects", groups)
    distinct, unit_of_record = np.unique(np.asarray(names, dtype=str), return_inverse=True)
    if len(distinct) < 2:
        raise DataError(f"shadow models need at least two {kind} in the pool, got {len(distinct)}")
    return np.array([_number(name) for name in distinct], dtype=np.uint64), unit_of_record


def _lowest(units: NDArray[np.uint64], size: int, purpose: str) -> NDArray[np.bool_]:
    """Which units have the `size` lowest numbers for a purpose."""
    key = _number(purpose)
    numbers = _mixed(_mixed(units ^ key) + key)
    chosen = np.zeros(len(units), dtype=bool)
    chosen[np.argsort(numbers, kind="stable")[:size]] = True
    return chosen


def _number(text: str) -> np.uint64:
    digest = hashlib.blake2b(text.encode(), digest_size=8).digest()
    return np.uint64(int.from_bytes(digest, "little"))


def _mixed(numbers: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Every bit of the result depends on every bit of the number (SplitMix64, modulo 2^64)."""
    mixed = numbers + _GOLDEN
    for multiplier, shift in zip(_MULTIPLIERS, _SHIFTS[:2], strict=True):
        mixed = (mixed ^ (mixed >> shift)) * multiplier
    return mixed ^ (mixed >> _SHIFTS[2])


def check_even(n_models: int) -> None:
    """Raise UsageError unless a number of models makes pairs."""
    if n_models < 2 or n_models % 2:
        raise UsageError(
            f"shadow models come in pairs, so {n_models} cannot be trained; ask for "
            f"{max(2, n_models + n_models % 2)}"
        )
