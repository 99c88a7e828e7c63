"""Rows with equal features are one record: which row stands for them, and under which label."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from auditor.records.identity import content_id
from auditor.records.rows.model import RowRecord
from auditor.records.rows.reading import RawSide


class Distinct(NamedTuple):
    """The rows of one side that have the same features."""

    id: str
    """Content id of features and label."""
    content: str
    """Hash of the features alone."""
    label: str
    """The label of most of the rows."""
    n_labels: int
    """Different labels that they come with."""
    subject: str | None
    multiplicity: int
    """How many rows these are."""
    row: int
    """Position of the row that stands for all, members first."""
    side: RawSide
    """Where it was read."""
    at: int
    """Its position in its side."""

    def record(self, position: int) -> RowRecord:
        """The record at a position of the common table."""
        return RowRecord(
            id=self.id,
            content=self.content,
            label=self.label,
            subject=self.subject,
            multiplicity=self.multiplicity,
            position=position,
            source=self.side.sources[self.at],
        )


def distinct_rows(side: RawSide, hashes: Sequence[str], offset: int) -> list[Distinct]:
    """One entry for each content; offset: rows before this side in the joined table."""
    rows: dict[str, list[int]] = {}
    for i, content in enumerate(hashes):
        rows.setdefault(content, []).append(i)
    found = []
    for content, copies in rows.items():
        at, n_labels = _representative(side, copies) if len(copies) > 1 else (copies[0], 1)
        found.append(
            Distinct(
                content_id(content, side.labels[at]),
                content,
                side.labels[at],
                n_labels,
                side.subjects[at],
                len(copies),
                offset + at,
                side,
                at,
            )
        )
    return found


def _representative(side: RawSide, copies: Sequence[int]) -> tuple[int, int]:
    """The row that stands for copies, with the label of most of them; how many labels there are."""
    labels = Counter(side.labels[i] for i in copies)
    label = min(labels, key=lambda value: (-labels[value], value))

    def order(i: int) -> tuple[bool, str, str, int]:
        subject, source = side.subjects[i], side.sources[i]
        return subject is None, subject or "", source.name, source.row

    return min((i for i in copies if side.labels[i] == label), key=order), len(labels)
