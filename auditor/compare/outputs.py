"""The files of a comparison: record, reports, hashes."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

from attacks.errors import UsageError
from reports import compare_json, compare_markdown
from reports.compare_record import CompareRecord
from reports.files import write_atomic
from reports.html import compare_page

FORMATS: dict[str, tuple[str, Callable[[CompareRecord], str]]] = {
    "json": ("compare.json", compare_json.render),
    "html": ("compare.html", compare_page.render),
    "md": ("compare.md", compare_markdown.render),
}


def write_outputs(record: CompareRecord, out: Path) -> dict[str, Path]:
    """Write every format and SHA256SUMS; each is rendered before the first is written.

    Raises UsageError where `out` holds an audit: its SHA256SUMS would be lost.
    """
    if out.exists() and not out.is_dir():
        raise UsageError(f"--out {out.name} is a file; pass a directory")
    if (out / "audit.json").exists():
        raise UsageError(f"--out {out.name} holds an audit; pass a directory of its own")
    texts = {name: render(record) for name, (_, render) in FORMATS.items()}
    paths = {name: out / file_name for name, (file_name, _) in FORMATS.items()}
    for name, text in texts.items():
        write_atomic(paths[name], text)
    sums = {
        paths[name].name: hashlib.sha256(text.encode()).hexdigest() for name, text in texts.items()
    }
    lines = [f"{digest}  {file_name}\n" for file_name, digest in sorted(sums.items())]
    write_atomic(out / "SHA256SUMS", "".join(lines))
    return paths
