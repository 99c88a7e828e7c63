"""The files of a concealment test: distances, record, reports, hashes, and what is private."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from auditor.concealment.assemble import assemble
from auditor.files import private_directory
from auditor.records import write_private_map
from reports import concealment_json, concealment_junit, concealment_markdown
from reports.concealment_record import ConcealmentRecord
from reports.files import write_atomic
from reports.html import concealment_page

if TYPE_CHECKING:
    from auditor.concealment.scan import Concealed, ConcealmentScan

FORMATS: dict[str, tuple[str, Callable[[ConcealmentRecord], str]]] = {
    "json": ("concealment.json", concealment_json.render),
    "html": ("report.html", concealment_page.render),
    "md": ("report.md", concealment_markdown.render),
    "junit": ("junit.xml", concealment_junit.render),
}
TABLE = "distances.parquet"


def write_outputs(
    scan: ConcealmentScan, found: Concealed
) -> tuple[ConcealmentRecord, dict[str, Path]]:
    """Write distances, record, reports, the private map and SHA256SUMS; all in `out`."""
    out = scan.options.out
    table = _table(scan, found)
    record = assemble(scan, found, {TABLE: _sha256(table)})
    texts = {name: render(record) for name, (_, render) in FORMATS.items()}
    write_atomic(out / TABLE, table)
    private_directory(out / "private")
    write_private_map(out / "private" / "records.jsonl", scan.records, scan.key)
    paths = {name: out / FORMATS[name][0] for name in texts}
    for name, text in texts.items():
        write_atomic(paths[name], text)
    sums = dict(record.files) | {
        path.name: _sha256(path.read_bytes()) for path in sorted(paths.values())
    }
    lines = [f"{digest}  {name}\n" for name, digest in sorted(sums.items())]
    write_atomic(out / "SHA256SUMS", "".join(lines))
    return record, paths | {"distances": out / TABLE}


def _sha256(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()


def _table(scan: ConcealmentScan, found: Concealed) -> bytes:
    """One row for each record and model, by published id: the nearest distances."""
    rows: list[dict[str, Any]] = []
    checkpoints = scan.setting.attack.checkpoints
    for role, measured in found.measured.items():
        for i, record in enumerate(scan.records):
            row: dict[str, Any] = {
                "record_id": scan.publish(record),
                "is_member": i < scan.n_members,
                "model": role,
                "by_prompt": float(measured.prompt[i]),
            }
            for c, steps in enumerate(checkpoints):
                row[f"after_{steps}"] = float(measured.attacked[i, :, : c + 1].min())
            rows.append(row)
    rows.sort(key=lambda row: (row["record_id"], row["model"]))
    content = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows), content)
    return content.getvalue()
