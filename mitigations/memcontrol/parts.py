"""Which records the search may look at, and which are kept for the report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from attacks.errors import DataError
from mitigations.material import Examples

FEWEST_MEMORIZED = 4
"""Records that memorization is measured on, in all: half of them for the search."""
FEWEST_HELD_OUT = 8
"""Nonmembers, in all: half of them for the search."""


class Side(NamedTuple):
    """What one half of the figures is measured on."""

    memorized: Examples
    """Members that are at risk."""
    held_out: Examples
    """Nonmembers."""


@dataclass(frozen=True, slots=True)
class Parts:
    """All records by their use; those of `search` and `report` share none."""

    trained: Examples
    """Every member, as often as it occurs: each training sees all of them."""
    search: Side
    report: Side
    is_repeated: bool
    """Whether the members at risk are those that occur more than once; all members otherwise."""


def divided(members: Examples, nonmembers: Examples, seed: int) -> Parts:
    """Divide records at risk, and nonmembers, into halves for search and report.

    At risk are the members that occur more than once, or all if too few do.

    Raises DataError with fewer than 4 members or 8 nonmembers.
    """
    if len(members) < FEWEST_MEMORIZED or len(nonmembers) < FEWEST_HELD_OUT:
        raise DataError(
            f"the search needs {FEWEST_MEMORIZED} members and {FEWEST_HELD_OUT} nonmembers, half "
            f"of them kept for the report; there are {len(members)} and {len(nonmembers)}"
        )
    repeated = [row for row, n in enumerate(members.repeats) if n > 1]
    is_repeated = len(repeated) >= FEWEST_MEMORIZED
    rng = np.random.default_rng([seed, 0x5EA])
    at_risk = rng.permutation(repeated if is_repeated else len(members))
    held_out = rng.permutation(len(nonmembers))
    sides = [
        Side(chosen(members, sorted(at_risk[i::2])), chosen(nonmembers, sorted(held_out[i::2])))
        for i in (0, 1)
    ]
    return Parts(members, sides[0], sides[1], is_repeated)


def chosen(examples: Examples, rows: Sequence[int]) -> Examples:
    """Some of the examples, in this order."""
    index = [int(row) for row in rows]
    return Examples(
        examples.inputs[index],
        tuple(examples.captions[row] for row in index),
        tuple(examples.repeats[row] for row in index),
    )
