"""The files of a scan of prompts: scores, record, reports, hashes, and what is private."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from attacks.detection.registry import PRIMARY
from auditor.files import private_directory
from auditor.prompts.assemble import assemble
from auditor.prompts.reading import write_map
from auditor.prompts.reveal import write_revealed
from reports import prompts_json, prompts_markdown
from reports.files import write_atomic
from reports.html import prompts_page
from reports.prompts_record import PromptsRecord

if TYPE_CHECKING:
    from auditor.prompts.judge import Judgement
    from auditor.prompts.scan import Detected, PromptScan

FORMATS: dict[str, tuple[str, Callable[[PromptsRecord], str]]] = {
    "json": ("prompts.json", prompts_json.render),
    "html": ("prompts.html", prompts_page.render),
    "md": ("prompts.md", prompts_markdown.render),
}
TABLE = "prompts.parquet"


def write_outputs(
    scan: PromptScan, detected: Detected, judgement: Judgement
) -> tuple[PromptsRecord, dict[str, Path]]:
    """Write scores, record, reports, the private map and SHA256SUMS; all in `out`."""
    out = scan.options.out
    table = _table(scan, detected)
    record = assemble(scan, detected, judgement, {TABLE: _sha256(table)})
    texts = {name: render(record) for name, (_, render) in FORMATS.items()}
    write_atomic(out / TABLE, table)
    private_directory(out / "private")
    write_map(out / "private" / "prompts.jsonl", (*scan.suspects, *scan.references), scan.key)
    revealed = out / "private" / "revealed.html"
    if scan.options.reveal:
        write_revealed(revealed, scan, detected, record)
    else:
        revealed.unlink(missing_ok=True)  # left by an earlier scan
    paths = {name: out / FORMATS[name][0] for name in texts}
    for name, text in texts.items():
        write_atomic(paths[name], text)
    sums = dict(record.files) | {
        path.name: _sha256(path.read_bytes()) for path in sorted(paths.values())
    }
    lines = [f"{digest}  {name}\n" for name, digest in sorted(sums.items())]
    write_atomic(out / "SHA256SUMS", "".join(lines))
    return record, paths | {"scores": out / TABLE}


def _sha256(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()


def _table(scan: PromptScan, detected: Detected) -> bytes:
    """One row a prompt by published id, references included; p-values of suspects alone."""
    n, m = len(scan.suspects), len(scan.references)
    published = [scan.publish(prompt) for prompt in (*scan.suspects, *scan.references)]
    order = sorted(range(n + m), key=lambda i: published[i])
    flags = [bool(one) for one in detected.is_flagged[PRIMARY]]
    columns: dict[str, Any] = {
        "record_id": published,
        "is_reference": [False] * n + [True] * m,
        "is_flagged": [*flags, *[None] * m],
    }
    for name in detected.scores:
        columns[name] = [
            *detected.scores[name].tolist(),
            *detected.reference_scores[name].tolist(),
        ]
        columns[f"p_{name}"] = [*detected.p_values[name].tolist(), *[None] * m]
    content = io.BytesIO()
    types = {"record_id": pa.string(), "is_reference": pa.bool_(), "is_flagged": pa.bool_()}
    arrays = {
        name: pa.array([values[i] for i in order], type=types.get(name, pa.float64()))
        for name, values in columns.items()
    }
    pq.write_table(pa.table(arrays), content)
    return content.getvalue()
