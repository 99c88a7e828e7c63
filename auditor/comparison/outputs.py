"""The files of a method's audit: record, reports, hashes."""

from __future__ import annotations

import hashlib
from pathlib import Path

from attacks.errors import UsageError
from reports.files import write_atomic
from reports.method_record import MethodRecord
from reports.method_render import FILES, render_text

SUMS = "SHA256SUMS"


def check_out(out: Path) -> None:
    """Refuse a place where no directory can be."""
    if out.exists() and not out.is_dir():
        raise UsageError(f"--out {out.name} is a file; pass a directory")


def write_outputs(record: MethodRecord, out: Path) -> dict[str, Path]:
    """Write every format and SHA256SUMS; each is rendered before the first is written."""
    texts = {name: render_text(record, name) for name in FILES}
    paths = {name: out / file_name for name, file_name in FILES.items()}
    for name, text in texts.items():
        write_atomic(paths[name], text)
    sums = {
        paths[name].name: hashlib.sha256(text.encode()).hexdigest() for name, text in texts.items()
    }
    lines = [f"{digest}  {file_name}\n" for file_name, digest in sorted(sums.items())]
    write_atomic(out / SUMS, "".join(lines))
    return paths
