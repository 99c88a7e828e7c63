"""Two audits read from disk, checked against themselves, and paired record by record."""

from __future__ import annotations

import hashlib
import io
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from attacks.errors import DataError, UsageError
from attacks.results import MembershipFinding
from attacks.statistics.auc import auc
from attacks.wording import plural
from reports import json_file
from reports.record import AuditRecord
from reports.text import clean

_TOLERANCE = 1e-9
MIN_COMMON = 2
"""Records of each group that both audits must hold."""


@dataclass(frozen=True, slots=True, eq=False)
class Audit:
    """An audit with the scores that lie beside it."""

    side: str
    """`BEFORE` or `AFTER`, for messages."""
    record: AuditRecord
    sha256: str
    """Of audit.json."""
    ids: NDArray[np.str_]
    """(n,) published ids, sorted."""
    is_member: NDArray[np.bool_]
    """(n,) in the order of the ids."""
    scores: dict[str, NDArray[np.float64]]
    """Attack -> (n,) in the order of the ids."""

    @property
    def findings(self) -> dict[str, MembershipFinding]:
        """Findings by attack."""
        return {finding.attack: finding for finding in self.record.findings}


@dataclass(frozen=True, slots=True, eq=False)
class Paired:
    """Scores of both audits on the records that they share, in one order."""

    before: Audit
    after: Audit
    is_member: NDArray[np.bool_]
    """(n,) of the common records."""
    rows: tuple[NDArray[np.intp], NDArray[np.intp]]
    """Where they lie in each audit."""

    @property
    def attacks(self) -> tuple[str, ...]:
        """Attacks that both audits hold, in the order of the first."""
        return tuple(name for name in self.before.scores if name in self.after.scores)

    def sides(self, attack: str) -> tuple[tuple[NDArray[np.float64], NDArray[np.float64]], ...]:
        """(members, nonmembers) of one attack before, and after."""
        found = []
        for audit, rows in zip((self.before, self.after), self.rows, strict=True):
            values = audit.scores[attack][rows]
            found.append((values[self.is_member], values[~self.is_member]))
        return tuple(found)


def read_audit(path: Path, side: str) -> Audit:
    """An audit from its audit.json, or from the folder that holds it.

    Raises UsageError for a record that contradicts itself, score files that are missing or have
    changed, or an audit by subjects: its score files do not say which records belong together.
    """
    file = path / "audit.json" if path.is_dir() else path
    record = json_file.read(file)
    if record.data.unit == "subject":
        raise UsageError(
            f"{side} was evaluated by data subject, and its score files do not say which records "
            "belong together; compare audits of records without a subject column"
        )
    ids: NDArray[np.str_] | None = None
    is_member: NDArray[np.bool_] | None = None
    scores: dict[str, NDArray[np.float64]] = {}
    for finding in record.findings:
        table = _score_table(file.parent, record, finding, side)
        if ids is not None and is_member is not None:
            same = np.array_equal(table[0], ids) and np.array_equal(table[1], is_member)
            if not same:
                raise _changed(side, finding.scores, "holds other records than its neighbours")
        ids, is_member = table[0], table[1]
        scores[finding.attack] = table[2]
    if ids is None or is_member is None:
        raise UsageError(
            f"{side} holds no membership attack, so there is nothing to pair; "
            "scan the model with at least one"
        )
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    return Audit(side, record, digest, ids, is_member, scores)


def _score_table(
    folder: Path, record: AuditRecord, finding: MembershipFinding, side: str
) -> tuple[NDArray[np.str_], NDArray[np.bool_], NDArray[np.float64]]:
    """Ids in order, labels and scores of one attack, as the record describes them."""
    shown = clean(finding.scores, 120)
    path = (folder / finding.scores).resolve()
    if not path.is_relative_to(folder.resolve()):
        raise UsageError(f"{side} names a score file outside its folder: {shown}; scan again")
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UsageError(
            f"{side} lacks {shown} ({error.strerror}); keep the scores/ folder beside audit.json"
        ) from error
    if hashlib.sha256(content).hexdigest() != record.manifest.files.get(finding.scores):
        raise _changed(side, finding.scores, "is not the file that the scan wrote")
    try:
        table = pq.read_table(io.BytesIO(content), columns=["record_id", "member", "score"])
        ids = np.array(table["record_id"].to_pylist(), dtype=np.str_)
        labels = np.asarray(table["member"].to_numpy(zero_copy_only=False), dtype=bool)
        values = np.asarray(table["score"].to_numpy(zero_copy_only=False), dtype=np.float64)
    except (pa.ArrowException, ValueError, KeyError) as error:
        raise _changed(side, finding.scores, "cannot be read as a table of scores") from error
    order = np.argsort(ids)
    ids, labels, values = ids[order], labels[order], values[order]
    if np.any(ids[1:] == ids[:-1]):
        raise _changed(side, finding.scores, "holds a record twice")
    _agrees(finding, labels, values, side)
    return ids, labels, values


def _agrees(
    finding: MembershipFinding, labels: NDArray[np.bool_], values: NDArray[np.float64], side: str
) -> None:
    """Raise unless the scores give the AUC that the finding states."""
    sizes = (int(labels.sum()), int((~labels).sum()))
    is_same = sizes == (finding.n_members, finding.n_nonmembers)
    if is_same and np.isfinite(values).all() and finding.auc.value is not None:
        stated, found = finding.auc.value, auc(values[labels], values[~labels]).value
        is_same = math.isclose(stated, found, rel_tol=0, abs_tol=_TOLERANCE)
    else:
        is_same = False
    if not is_same:
        raise _changed(side, finding.scores, "does not give the figures of audit.json")


def _changed(side: str, name: str, what: str) -> UsageError:
    return UsageError(
        f"{side}: {clean(name, 120)} {what}; it was edited or damaged, restore it or scan again"
    )


def pair(before: Audit, after: Audit) -> Paired:
    """Both audits on the records that they share.

    Raises DataError if they share too few, if a record is a member in one and a nonmember in the
    other, or if no attack is in both.
    """
    common, first, second = np.intersect1d(
        before.ids, after.ids, assume_unique=True, return_indices=True
    )
    if not common.size:
        raise DataError(
            "the two audits share no record id: they were published under different project keys, "
            "or scanned different records; scan the same records with both --out folders in the "
            "same parent folder, which holds the key (.auditor/project.key)"
        )
    labels = before.is_member[first]
    n_moved = int(np.count_nonzero(labels != after.is_member[second]))
    if n_moved:
        raise DataError(
            f"{plural(n_moved, 'record')} changed sides: member in one audit, nonmember in the "
            "other; scan both models with the same --members and --nonmembers"
        )
    if min(labels.sum(), (~labels).sum()) < MIN_COMMON:
        raise DataError(
            f"the two audits share {plural(int(labels.sum()), 'member')} and "
            f"{plural(int((~labels).sum()), 'nonmember')}, too few to compare; scan both models "
            "with the same --members and --nonmembers"
        )
    paired = Paired(before, after, labels, (first, second))
    if not paired.attacks:
        raise DataError(
            "the two audits have no attack in common; scan both models with the same --attacks"
        )
    return paired
