"""Attribute inference in a scan of a classifier: which columns, what is asked, what came out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from attacks.attributes import attribute
from attacks.attributes.attribute import AttributeConfig
from attacks.attributes.cells import cell_names, cells_of
from attacks.attributes.evaluate import attribute_finding
from attacks.configuration import configured
from attacks.errors import DataError, Inapplicable, UsageError
from attacks.manifest import ClassifierCapabilities
from attacks.observations import Calibration, Cells, Request, calls_per_record
from attacks.results import AttributeFinding, PlannedAttack
from auditor.config import ScanConfig
from auditor.observe.attribute import column_index, known_values
from auditor.prepare import Inferred
from auditor.progress import Progress
from auditor.records.rows import RowSplits

if TYPE_CHECKING:
    from auditor.families.classifier_scan import ClassifierScan
    from auditor.prepare import Observed

NAME = attribute.MANIFEST.name


@dataclass(frozen=True, slots=True)
class Hidden:
    """One column that the attacker does not know."""

    column: str
    cells: Cells
    config: AttributeConfig

    @property
    def requests(self) -> tuple[Request, ...]:
        """What is asked about it."""
        return attribute.requests(self.column, self.cells)

    @property
    def calls(self) -> int:
        """Forward calls per record."""
        return calls_per_record(self.requests)


def sensitive_columns(asked: Sequence[str], config: ScanConfig) -> tuple[str, ...]:
    """The columns that were named, on the command line or in the configuration."""
    names = tuple(dict.fromkeys(asked or config.sensitive))
    if not names and NAME in config.attack_options:
        raise UsageError(
            f"the configuration has options of '{NAME}', which needs a column to guess; name it "
            "with --sensitive"
        )
    return names


def hidden_columns(
    names: Sequence[str],
    splits: RowSplits,
    config: ScanConfig,
    capabilities: ClassifierCapabilities,
) -> tuple[Hidden, ...]:
    """What to ask about each column; its values are those of the nonmembers to calibrate on.

    Raises UsageError for a column that is not there and for a target that cannot be asked, and
    DataError for a column of a single value.
    """
    if not names:
        return ()
    if reason := attribute.applicable(capabilities):
        raise UsageError(f"attribute inference {reason}; leave --sensitive out")
    options = dict(config.attack_options.get(NAME, {}))
    try:
        settings = configured(attribute.default_config(capabilities), options)
    except UsageError as error:
        raise UsageError(f"attack '{NAME}': {error}") from None
    positions = np.array([r.position for r in splits.calibration_nonmembers], dtype=np.int64)
    found = []
    for name in names:
        column_index(splits.table, name)
        values = known_values(splits.table, name, positions)
        try:
            cells = cells_of(values, bins=settings.bins, max_values=settings.max_values)
        except DataError as error:
            raise DataError(f"column '{name}': {error}") from None
        found.append(Hidden(name, cells, settings))
    return tuple(found)


def attribute_findings(scan: ClassifierScan, observed: Observed, progress: Progress) -> Inferred:
    """A finding for each column, and the columns about which none could be made."""
    findings: list[AttributeFinding] = []
    dropped: list[PlannedAttack] = []
    observer = scan.observer_of(scan.target, scan.cache)
    known = np.isin(
        [r.id for r in scan.calibration], [r.id for r in scan.splits.calibration_members]
    )
    progress.stage("attribute inference", len(scan.hidden), "columns")
    for hidden in scan.hidden:
        answers = observer.observe(observed.records, hidden.requests)
        part = Calibration(observer.observe(scan.calibration, hidden.requests), known)
        try:
            guesses = attribute.guesses(answers, hidden.column, hidden.cells, hidden.config, part)
        except Inapplicable as reason:
            dropped.append(PlannedAttack(f"{NAME} ({hidden.column})", str(reason)))
            continue
        finding = attribute_finding(
            guesses,
            observed.is_member,
            hidden.column,
            cell_names(hidden.cells),
            calls=hidden.calls,
            knowledge="the other columns of the record and its class; the model's confidences; "
            "records with a known value: members and nonmembers of the calibration part",
            warnings=_warnings(scan, hidden, guesses),
        )
        if finding is None:
            why = "a side has no evaluated record in which the column holds a value tried"
            dropped.append(PlannedAttack(f"{NAME} ({hidden.column})", why))
        else:
            findings.append(finding)
        progress.advance(1)
    return Inferred(tuple(findings), tuple(dropped))


def _warnings(scan: ClassifierScan, hidden: Hidden, guesses: attribute.Guesses) -> tuple[str, ...]:
    found = []
    left_out = int((guesses.truth < 0).sum())
    if left_out:
        found.append(
            f"{left_out} evaluated records hold nothing in the column, or a value that no "
            f"calibration record shows among its {len(hidden.cells.values)} most frequent ones; "
            "they are left out."
        )
    if scan.splits.has_subjects:
        found.append(
            "Records of one subject are counted one by one, so that the intervals are too narrow."
        )
    return tuple(found)
