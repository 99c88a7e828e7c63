"""The coverage table: every class of attack accounted for, the six of the opinion first."""

from __future__ import annotations

from dataclasses import dataclass

from reports import crosswalk
from reports.record import AuditRecord, Coverage


@dataclass(frozen=True, slots=True)
class CoverageRow:
    """One class of attack as the report prints it."""

    clause: str
    name: str
    meaning: str
    status: str
    reason: str
    results: tuple[str, ...]


def coverage_rows(record: AuditRecord) -> tuple[CoverageRow, ...]:
    """The six classes of paragraph 55, each accounted for, then whatever else was recorded.

    A class is printed as tested only if a finding of this record stands behind it.
    """
    recorded = {row.id: row for row in record.coverage}
    done = {finding.attack for finding in record.findings}
    done |= {finding.attack for finding in record.attributes}
    done |= {record.extraction.attack} if record.extraction else set()
    known = crosswalk.coverage_classes()
    rows = [
        _coverage_row(one.clause, one.name, one.meaning, recorded.get(one.id), done)
        for one in known
    ]
    extra = [row for row in record.coverage if row.id not in {one.id for one in known}]
    rows += [_coverage_row("", row.name, "", row, done) for row in extra]
    return tuple(rows)


def _coverage_row(
    clause: str, name: str, meaning: str, row: Coverage | None, done: set[str]
) -> CoverageRow:
    if row is None:
        return CoverageRow(clause, name, meaning, "not tested", "the record says nothing", ())
    results = tuple(one for one in row.results if one in done)
    if row.status == "tested" and not results:
        reason = "recorded as tested, but no result in this record stands behind it"
        return CoverageRow(clause, name, meaning, "not tested", reason, ())
    return CoverageRow(clause, name, meaning, row.status, row.reason, results)
