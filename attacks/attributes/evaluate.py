"""From guesses about members and nonmembers to a finding."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from attacks.attributes.attribute import MANIFEST, Guesses
from attacks.results import AttributeFinding, AttributeValue
from attacks.statistics.advantage import difference, paired_advantage
from attacks.statistics.groups import FEWEST
from attacks.statistics.rates import share_estimate

OTHERS = "other values"


def attribute_finding(
    found: Guesses, is_member: NDArray[np.bool_], column: str, names: Sequence[str], **facts: object
) -> AttributeFinding | None:
    """How often both guesses are right; None if a side has no record with a value.

    is_member: (n,); names: of the cells; facts: further fields of the finding. Records whose value
    is missing or in none of the cells are left out and counted.
    """
    usable = found.truth >= 0
    right = _Right(found, usable)
    inside = is_member[usable]
    if not inside.any() or inside.all():
        return None
    on_members, on_nonmembers = (
        paired_advantage(right.attacked[side], right.imputed[side]) for side in (inside, ~inside)
    )
    leak = difference(on_members, on_nonmembers)
    lows = on_members.low, leak.low
    return AttributeFinding(
        attack=MANIFEST.name,
        rule_id=MANIFEST.id,
        title=MANIFEST.title,
        access=str(MANIFEST.access),
        column=column,
        n_members=int(inside.sum()),
        n_nonmembers=int((~inside).sum()),
        n_left_out=int((~usable).sum()),
        imputed_members=share_estimate(right.imputed[inside]),
        attacked_members=share_estimate(right.attacked[inside]),
        imputed_nonmembers=share_estimate(right.imputed[~inside]),
        attacked_nonmembers=share_estimate(right.attacked[~inside]),
        advantage_members=on_members,
        advantage_nonmembers=on_nonmembers,
        leak=leak,
        is_shown=all(low is not None and low > 0 for low in lows),
        by_value=_by_value(right, inside, found.truth[usable], names),
        **facts,  # type: ignore[arg-type]
    )


class _Right:
    """Whether each guess is right, for the records that have a value."""

    def __init__(self, found: Guesses, usable: NDArray[np.bool_]) -> None:
        truth = found.truth[usable]
        self.imputed = found.imputed[usable] == truth
        self.attacked = found.attacked[usable] == truth


def _by_value(
    right: _Right, inside: NDArray[np.bool_], truth: NDArray[np.int64], names: Sequence[str]
) -> tuple[AttributeValue, ...]:
    """The same for the records of each value; rare values together, or not at all.

    The limits of all values hold together (Bonferroni).
    """
    sides = [np.bincount(truth[side], minlength=len(names)) for side in (inside, ~inside)]
    is_few = np.minimum(*sides) < FEWEST
    labels = np.where(is_few, OTHERS, np.asarray(names, dtype=object))[truth]
    shown = [name for name, few in zip(names, is_few, strict=True) if not few]
    if all(counts[is_few].sum() >= FEWEST for counts in sides):
        shown.append(OTHERS)
    if not shown:
        return ()
    confidence = 1 - 0.05 / len(shown)
    rows = []
    for name in shown:
        members, nonmembers = (labels == name) & inside, (labels == name) & ~inside
        gains = [
            paired_advantage(right.attacked[s], right.imputed[s], confidence=confidence)
            for s in (members, nonmembers)
        ]
        rows.append(
            AttributeValue(
                value=name,
                n_members=int(members.sum()),
                n_nonmembers=int(nonmembers.sum()),
                imputed_members=share_estimate(right.imputed[members], confidence=confidence),
                attacked_members=share_estimate(right.attacked[members], confidence=confidence),
                leak=difference(*gains),
            )
        )
    return tuple(rows)
