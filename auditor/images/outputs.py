"""The files of a scan of images: matches, record, reports, hashes, and what is private."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from auditor.files import private_directory
from auditor.images.assemble import assemble
from auditor.matching.verify import CONVENTION
from auditor.records import write_private_map
from reports import images_json, images_junit, images_markdown
from reports.files import write_atomic
from reports.html import images_page
from reports.images_record import ImagesRecord

if TYPE_CHECKING:
    from auditor.images.scan import Concluded, ImageScan

FORMATS: dict[str, tuple[str, Callable[[ImagesRecord], str]]] = {
    "json": ("images.json", images_json.render),
    "html": ("images.html", images_page.render),
    "md": ("images.md", images_markdown.render),
    "junit": ("junit.xml", images_junit.render),
}
MATCHES = "matches.parquet"


def write_outputs(scan: ImageScan, concluded: Concluded) -> tuple[ImagesRecord, dict[str, Path]]:
    """Write matches, record, reports, the private maps and SHA256SUMS; all in `out`."""
    out = scan.options.out
    table = _matches(scan, concluded)
    record = assemble(scan, concluded, {MATCHES: _sha256(table)})
    texts = {name: render(record) for name, (_, render) in FORMATS.items()}
    write_atomic(out / MATCHES, table)
    private_directory(out / "private")
    # A verbatim copy has the id of its original: each set has a map of its own.
    for name, records in (
        ("training", scan.sets.training),
        ("generated", scan.sets.generated),
        ("heldout", scan.sets.background),
    ):
        write_private_map(out / "private" / f"{name}.jsonl", records, scan.key)
    revealed = out / "private" / "revealed.html"
    if scan.options.reveal:
        from auditor.images.reveal import write_pairs

        write_pairs(revealed, scan, concluded)
    else:
        revealed.unlink(missing_ok=True)  # left by an earlier scan
    paths = {name: out / FORMATS[name][0] for name in texts}
    for name, text in texts.items():
        write_atomic(paths[name], text)
    sums = record.files | {path.name: _sha256(path.read_bytes()) for path in sorted(paths.values())}
    lines = [f"{digest}  {name}\n" for name, digest in sorted(sums.items())]
    write_atomic(out / "SHA256SUMS", "".join(lines))
    return record, paths | {"matches": out / MATCHES}


def _sha256(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()


def _matches(scan: ImageScan, concluded: Concluded) -> bytes:
    """One row for each generated picture and its nearest training record, by published id."""
    matches, sets = concluded.figures.matches, scan.sets
    published = np.array([scan.publish(record) for record in sets.generated])
    order = np.argsort(published)
    has_match = matches.record >= 0
    training = [scan.publish(sets.training[j]) if j >= 0 else None for j in matches.record]
    copies = np.where(has_match, sets.copies[sets.groups[matches.record]], 0)
    columns = {
        "generated_id": pa.array(published[order].tolist(), pa.string()),
        "training_id": pa.array([training[i] for i in order], pa.string()),
        "similarity": pa.array(matches.similarity[order]),
        "distance": pa.array(matches.distance[order], mask=~has_match[order]),
        "convention": pa.array([CONVENTION] * len(order), pa.string()),
        "registration": pa.array(matches.registration[order].tolist(), pa.string()),
        "multiplicity": pa.array(copies[order]),
        "is_copy": pa.array(concluded.figures.is_copy[order]),
    }
    content = io.BytesIO()
    pq.write_table(pa.table(columns), content)
    return content.getvalue()
