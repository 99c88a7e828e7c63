"""The files of an audit: scores, record, reports, hashes, and the private map."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from auditor.files import private_directory
from auditor.records import Record, write_private_map
from auditor.scoring import Scores
from reports.files import write_atomic
from reports.record import AuditRecord
from reports.render import render

if TYPE_CHECKING:
    from auditor.prepare import PreparedScan

FORMATS = ("json", "html", "junit", "sarif", "md")
"""What a scan writes."""


def write_outputs(
    scan: PreparedScan,
    record: AuditRecord,
    scores: Scores,
    records: tuple[Record, ...],
    published: tuple[str, ...],
    is_member: NDArray[np.bool_],
) -> tuple[AuditRecord, dict[str, Path]]:
    """Write scores, record, reports, the private map and SHA256SUMS; all in `out`."""
    out = scan.options.out
    files: dict[str, str] = {}
    for name, values in scores.items():
        content = _score_table(published, is_member, values)
        path = f"scores/{name}.parquet"
        write_atomic(out / path, content)
        files[path] = hashlib.sha256(content).hexdigest()
    record = record.model_copy(
        update={"manifest": record.manifest.model_copy(update={"files": files})}
    )
    _remove_stale(scan, files)
    private_directory(out / "private")
    write_private_map(out / "private" / "records.jsonl", records, scan.key)
    if scan.options.reveal:
        from auditor.reveal import write_revealed

        write_revealed(out / "private" / "revealed.html", record, records, published)
    paths = render(record, FORMATS, out)
    sums = files | {
        path.relative_to(out).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in paths.values()
    }
    lines = [f"{digest}  {path}\n" for path, digest in sorted(sums.items())]
    write_atomic(out / "SHA256SUMS", "".join(lines))
    return record, paths


def _remove_stale(scan: PreparedScan, files: dict[str, str]) -> None:
    """Delete what an earlier audit left in `out` and this one does not write."""
    out = scan.options.out
    for path in (out / "scores").glob("*.parquet"):
        if f"scores/{path.name}" not in files:
            path.unlink()
    if not scan.options.reveal:
        (out / "private" / "revealed.html").unlink(missing_ok=True)


def _score_table(
    published: tuple[str, ...], is_member: NDArray[np.bool_], values: NDArray[np.float64]
) -> bytes:
    order = np.argsort(np.array(published))
    table = pa.table(
        {
            "record_id": pa.array([published[i] for i in order]),
            "member": pa.array(is_member[order]),
            "score": pa.array(values[order].astype(np.float64)),
        }
    )
    content = io.BytesIO()
    pq.write_table(table, content)
    return content.getvalue()
