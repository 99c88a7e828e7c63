"""The records at the top of a ranking, and whether others are comparable with them."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from attacks.results import NamedRecord
from attacks.statistics.rates import checked_scores
from auditor.units import RecordTable, Units

MOST_NAMED, FEWEST_MEMBERS, MOST_NONMEMBERS = 50, 10, 20
"""Sizes of the tables of top records."""
COMPARABLE_NONMEMBERS = 5
"""Nonmembers of similar blind score that a named record needs."""
CALIPER = 0.2
"""Similar means within this many standard deviations of the blind score."""


class TopRecords(NamedTuple):
    """The tables of top records of one attack."""

    members: tuple[NamedRecord, ...]
    """Every named member up to 50, and at least 10 where there are so many."""
    nonmembers: tuple[NamedRecord, ...]
    """The 20 highest-scoring nonmembers."""


def top_records(unit: Units, is_named: NDArray[np.bool_], records: RecordTable) -> TopRecords:
    """The tables of one attack; is_named: (u,) units named at the false-discovery rate."""
    wanted = min(MOST_NAMED, max(FEWEST_MEMBERS, int(is_named.sum())))
    inside = _highest(unit.scores, np.flatnonzero(unit.is_member), wanted)
    outside = _highest(unit.scores, np.flatnonzero(~unit.is_member), MOST_NONMEMBERS)
    ordered = np.sort(unit.scores)
    comparable = _comparable(unit, inside, records.blind_score)

    def describe(i: int, similar: bool | None) -> NamedRecord:
        row = int(unit.rows[i])
        above = ordered.size - int(np.searchsorted(ordered, unit.scores[i], side="right"))
        return NamedRecord(
            record_id=records.record_ids[row],
            is_member=bool(unit.is_member[i]),
            score=float(unit.scores[i]),
            rank=above + 1,
            multiplicity=int(records.multiplicity[row]),
            is_named=bool(is_named[i]) and similar is not False,
            comparable=similar,
            colour=records.colours[row],
            size=records.sizes[row],
        )

    return TopRecords(
        tuple(describe(i, similar) for i, similar in zip(inside, comparable, strict=True)),
        tuple(describe(i, None) for i in outside),
    )


def _highest(scores: NDArray[np.float64], among: NDArray[np.intp], count: int) -> NDArray[np.intp]:
    """Indices of the `count` highest scores among some, from the highest; ties by index."""
    if among.size > count:
        lowest = np.partition(scores[among], among.size - count)[among.size - count]
        among = among[scores[among] >= lowest]
    return among[np.lexsort((among, -scores[among]))][:count]


def _comparable(
    unit: Units, chosen: NDArray[np.intp], blind_score: NDArray[np.float64] | None
) -> list[bool | None]:
    """Whether at least five nonmembers have a similar blind score.

    Similar: within 0.2 standard deviations of the blind score over all units, the caliper that is
    usual in propensity matching (Austin, Pharmaceutical Statistics 2011). A record without such
    nonmembers may stand out because of what it is, not because it was trained on.
    """
    if blind_score is None:
        return [None] * chosen.size
    blind = checked_scores(blind_score, "blind scores")[unit.rows]
    ordered = np.sort(blind[~unit.is_member])
    width = CALIPER * float(blind.std())
    near = np.searchsorted(ordered, blind[chosen] + width, side="right") - np.searchsorted(
        ordered, blind[chosen] - width, side="left"
    )
    return [bool(count >= COMPARABLE_NONMEMBERS) for count in near]
