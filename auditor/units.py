"""What is evaluated: the table of records, and scores by unit (record or data subject)."""

from __future__ import annotations

from collections.abc import Sized
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from attacks.errors import DataError, ShapeError
from attacks.statistics.identified import max_per_subject
from attacks.statistics.rates import checked_scores


@dataclass(frozen=True, slots=True)
class RecordTable:
    """The evaluated records, in the order of the scores."""

    record_ids: tuple[str, ...]
    """Published ids."""
    is_member: NDArray[np.bool_]
    """(n,) which records were trained on."""
    multiplicity: NDArray[np.int64]
    """(n,) how often the content occurs in its split."""
    colours: tuple[str, ...]
    """Mean colours as #rrggbb."""
    sizes: tuple[str, ...]
    """Width x height as read."""
    subjects: NDArray | None = None
    """(n,) data subject of each record; the unit of the audit if given."""
    blind_score: NDArray[np.float64] | None = None
    """(n,) score of a model that never saw the target; used to find comparable nonmembers."""

    def __post_init__(self) -> None:
        n = len(self.record_ids)
        columns: dict[str, Sized | None] = {
            "is_member": self.is_member,
            "multiplicity": self.multiplicity,
            "colours": self.colours,
            "sizes": self.sizes,
            "subjects": self.subjects,
            "blind_score": self.blind_score,
        }
        for name, column in columns.items():
            if column is not None and len(column) != n:
                raise ShapeError(
                    f"expected {n} values of {name}, one per record, got {len(column)}"
                )
        if n == 0 or np.all(self.is_member) or not np.any(self.is_member):
            raise DataError("both members and nonmembers are needed, and one group is empty")


class Units(NamedTuple):
    """The scores of one attack by unit (record or subject)."""

    scores: NDArray[np.float64]
    is_member: NDArray[np.bool_]
    rows: NDArray[np.intp]
    """Record that stands for each unit."""

    @property
    def members(self) -> NDArray[np.float64]:
        """Scores of the members."""
        return self.scores[self.is_member]

    @property
    def nonmembers(self) -> NDArray[np.float64]:
        """Scores of the nonmembers."""
        return self.scores[~self.is_member]


def units_of(name: str, values: NDArray, records: RecordTable) -> Units:
    """Scores of an attack by unit; raises ShapeError or DataError when they do not fit."""
    array = checked_scores(values, f"scores of {name}")
    labels = np.asarray(records.is_member, dtype=bool)
    if array.shape != labels.shape:
        raise ShapeError(f"expected scores of {name} of shape {labels.shape}, got {array.shape}")
    if records.subjects is None:
        return Units(array, labels, np.arange(array.size))
    return Units(*max_per_subject(array, labels, records.subjects))


def unit_members(records: RecordTable) -> NDArray[np.bool_]:
    """(u,) which units are members, for an audit without attacks."""
    return units_of("no attack", np.zeros(len(records.record_ids)), records).is_member
