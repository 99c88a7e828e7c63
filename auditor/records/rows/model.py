"""Labelled records and the splits that they come in: plain frozen values."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from auditor.records.sources import Source, printable

if TYPE_CHECKING:
    from auditor.records.rows.table import Table


@dataclass(frozen=True, slots=True, repr=False)
class RowSource:
    """One row of a table, or of the arrays of an NPZ file."""

    path: str
    """Where the file is."""
    name: str
    """The file relative to its data folder, for the private map and console errors."""
    row: int
    """Row of data inside the file, from 0; a header does not count."""

    @property
    def place(self) -> str:
        """The file and row as they may be printed."""
        return f"{printable(self.name)} row {self.row}"


@dataclass(frozen=True, slots=True, repr=False)
class RowRecord:
    """One record with its class: a row of a table, of an array, or a labelled picture.

    Two records are equal if their content and label are, wherever they lie. The representation
    shows neither id, label, subject nor place, so that it may reach a log.
    """

    id: str
    """Content id, 32 hex digits of the features and the label; private, see `ProjectKey`."""
    content: str
    """32 hex digits of the features alone: rows with equal ones are copies."""
    label: str
    """Class as text: 3 and 3.0 are "3"."""
    subject: str | None
    """The person or thing that the record is about, where the data name it."""
    multiplicity: int
    """Rows of its split that hold these features, at least 1."""
    position: int = field(compare=False)
    """Row of the table that all records of a comparison share."""
    source: RowSource | Source = field(compare=False)
    """Private: which row of which file."""

    @property
    def colour(self) -> str:
        """The same grey for every record: a row has no colour."""
        return "#808080"

    @property
    def size(self) -> str:
        """Nothing: all rows have the same columns."""
        return ""

    def __repr__(self) -> str:
        return f"RowRecord(multiplicity={self.multiplicity})"


@dataclass(frozen=True, slots=True, eq=False)
class SavedPredictions:
    """What a model answered about the records, saved by its owner."""

    values: NDArray[np.float64] = field(repr=False)
    """(n, k) answers, one column a class; n is the records of the table."""
    classes: tuple[str, ...] | None
    """Names of the columns as labels; None where the file does not name them."""
    kind: Literal["logits", "probabilities"]
    """What the values are."""
    files: tuple[Path, ...] = field(repr=False)
    """Where they were read."""


@dataclass(frozen=True, slots=True)
class RowSplits:
    """Labelled members and nonmembers, free of copies, in the order of their ids."""

    members: tuple[RowRecord, ...]
    """Evaluated members."""
    nonmembers: tuple[RowRecord, ...]
    """Evaluated nonmembers."""
    calibration_members: tuple[RowRecord, ...]
    """Members that fitted attacks are fitted on; may be empty."""
    calibration_nonmembers: tuple[RowRecord, ...]
    """Nonmembers that fitted attacks are fitted on; may be empty."""
    table: Table = field(compare=False)
    """Features and labels of all four parts, by `RowRecord.position`."""
    n_cross_split_dropped: int
    """Distinct nonmembers left out because their features are those of a member."""
    withheld_members: tuple[RowRecord, ...]
    """Members that a nonmember equals, or nearly equals where that is looked for: trained on, but
    not evaluated; empty if a limit draws a sample."""
    n_withheld_members: int
    """How many distinct members these are, under a limit too."""
    n_unreadable: int
    """Rows of both sides that could not be read."""
    near_duplicates: tuple[str, ...]
    """Content ids of nonmembers left out because they nearly equal a member; pictures only."""
    repeats: tuple[tuple[int, int], ...]
    """Pairs (multiplicity, members with it), ascending, calibration part included."""
    nonmember_repeats: tuple[tuple[int, int], ...]
    """Pairs (multiplicity, nonmembers with it), ascending, calibration part included."""
    has_subjects: bool
    """Every record has a subject, so that the subject can be the unit of evaluation."""
    label_source: str
    """Where the labels come from, for the report: `column 'label'`, `array 'y'` ..."""
    notes: tuple[str, ...]
    """What a reader of the report should know; names no record and no cell."""

    @property
    def n_near_duplicates_across(self) -> int:
        """Nonmembers that nearly equal a member."""
        return len(self.near_duplicates)
