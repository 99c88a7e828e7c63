"""The files of a data scan: tables, record, reports, hashes, and what is private."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from auditor.data_assemble import assemble
from auditor.files import private_directory
from auditor.records import write_private_map
from reports import data_json, data_markdown
from reports.data_record import DataRecord
from reports.files import write_atomic
from reports.html import data_page

if TYPE_CHECKING:
    from auditor.data_measure import Measured
    from auditor.data_scan import DataScan

FORMATS: dict[str, tuple[str, Callable[[DataRecord], str]]] = {
    "json": ("data.json", data_json.render),
    "html": ("data.html", data_page.render),
    "md": ("data.md", data_markdown.render),
}
MEMORIZATION, INFLUENCE = "memorization.parquet", "influence.parquet"


def write_outputs(scan: DataScan, measured: Measured) -> tuple[DataRecord, dict[str, Path]]:
    """Write tables, record, reports, the private map and SHA256SUMS; all in `out`."""
    out = scan.options.out
    tables = {MEMORIZATION: _memorization(scan, measured)}
    if measured.influence is not None:
        tables[INFLUENCE] = _influence(scan, measured)
    record = assemble(scan, measured, {name: _sha256(body) for name, body in tables.items()})
    texts = {name: render(record) for name, (_, render) in FORMATS.items()}
    for name, body in tables.items():
        write_atomic(out / name, body)
    if measured.influence is None:
        (out / INFLUENCE).unlink(missing_ok=True)  # left by an earlier scan
    private_directory(out / "private")
    records = (*scan.rows.records, *scan.rows.test)
    write_private_map(out / "private" / "records.jsonl", records, scan.key)
    names = json.dumps(dataclasses.asdict(scan.names), indent=1, sort_keys=True)
    write_atomic(out / "private" / "names.json", names + "\n", mode=0o600)
    paths = {name: out / FORMATS[name][0] for name in texts}
    for name, text in texts.items():
        write_atomic(paths[name], text)
    sums = dict(record.files) | {
        path.name: _sha256(path.read_bytes()) for path in sorted(paths.values())
    }
    lines = [f"{digest}  {name}\n" for name, digest in sorted(sums.items())]
    write_atomic(out / "SHA256SUMS", "".join(lines))
    paths |= {Path(name).stem: out / name for name in tables}
    return record, paths


def _sha256(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()


def _memorization(scan: DataScan, measured: Measured) -> bytes:
    """One row a record, by published id; a record with too few models has its counts alone."""
    published = np.array([scan.publish(record) for record in scan.rows.records])
    order = np.argsort(published)
    label = measured.label
    masked = {
        "memorization": label.value,
        "standard_error": label.standard_error,
        "low": label.low,
        "high": label.high,
        "confidence_memorization": measured.confidence.value,
    }
    columns: dict[str, Any] = {"record_id": published[order].tolist()}
    columns |= {
        name: pa.array(values.data[order], mask=np.ma.getmaskarray(values)[order])
        for name, values in masked.items()
    }
    columns["n_in"], columns["n_out"] = label.n_in[order], label.n_out[order]
    columns["multiplicity"] = np.array([r.multiplicity for r in scan.rows.records])[order]
    return _parquet(columns)


def _influence(scan: DataScan, measured: Measured) -> bytes:
    """One row a pair, the strongest first."""
    pairs = measured.influence
    assert pairs is not None
    return _parquet(
        {
            "train_id": [scan.publish(scan.rows.records[i]) for i in pairs.train],
            "test_id": [scan.publish(scan.rows.test[j]) for j in pairs.test],
            "influence": pairs.value,
            "standard_error": pairs.standard_error,
            "low": pairs.low,
            "high": pairs.high,
            "is_sure": pairs.is_sure,
        }
    )


def _parquet(columns: dict[str, Any]) -> bytes:
    content = io.BytesIO()
    texts = {name: pa.string() for name in ("record_id", "train_id", "test_id")}
    pq.write_table(
        pa.table(
            {n: pa.array(c, type=texts.get(n)) if n in texts else c for n, c in columns.items()}
        ),
        content,
    )
    return content.getvalue()
