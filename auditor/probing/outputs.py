"""The files of a probe: masks, record, reports, hashes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from attacks.errors import UsageError
from attacks.probing.masks import Masks
from auditor.probing.assemble import assemble, masks_of
from auditor.probing.measure import LayerResult
from reports import probe_json, probe_markdown
from reports.files import write_atomic
from reports.html import probe_page
from reports.probe_record import ProbeRecord

if TYPE_CHECKING:
    from auditor.probing.probe import Probe

FORMATS: dict[str, tuple[str, Callable[[ProbeRecord], str]]] = {
    "json": ("probe.json", probe_json.render),
    "html": ("report.html", probe_page.render),
    "md": ("report.md", probe_markdown.render),
}
MASKS, FACTS = "masks.safetensors", "masks.json"


def write_outputs(
    probe: Probe, found: Mapping[str, LayerResult]
) -> tuple[ProbeRecord, dict[str, Path]]:
    """Write masks, record, reports and SHA256SUMS; all in `out`, nothing before all is ready."""
    out = probe.options.out
    masks = masks_of(probe, found)
    body = masks.to_bytes()
    facts = (json.dumps(masks.facts(), indent=1, sort_keys=True) + "\n").encode()
    tables = {MASKS: body, FACTS: facts}
    record = assemble(probe, found, masks, {name: _sha256(one) for name, one in tables.items()})
    texts = {name: (file, render(record)) for name, (file, render) in FORMATS.items()}
    sums = dict(record.files)
    for name, content in tables.items():
        write_atomic(out / name, content)
    for file, text in texts.values():
        write_atomic(out / file, text)
        sums[file] = _sha256(text.encode())
    lines = [f"{digest}  {name}\n" for name, digest in sorted(sums.items())]
    write_atomic(out / "SHA256SUMS", "".join(lines))
    paths = {name: out / file for name, (file, _) in texts.items()}
    return record, paths | {"masks": out / MASKS, "facts": out / FACTS}


def load_masks(path: Path) -> Masks:
    """Read a masks.safetensors file. Raises UsageError if there is none or it is damaged."""
    try:
        return Masks.from_bytes(path.read_bytes())
    except OSError as error:
        raise UsageError(
            f"cannot read {path.name}: {error.strerror}; give a masks.safetensors file"
        ) from error


def _sha256(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()
