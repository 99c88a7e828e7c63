"""The private twin of a report: the records behind the published ids. Written only on `--reveal`."""

from __future__ import annotations

import base64
import io
from pathlib import Path

from jinja2 import Environment
from PIL import Image

from auditor.records import Record
from reports.files import write_atomic
from reports.record import AuditRecord

SIDE = 256
"""Longest side of a picture, in pixels."""
MOST_RECORDS = 200

_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<title>PRIVATE: records behind an audit</title>
<style>body{font:16px system-ui;margin:2rem}li{display:flex;gap:1rem;margin:1rem 0}
img{image-rendering:pixelated;min-width:64px}</style></head><body>
<h1>Private: records behind an audit</h1>
<p>This page shows training records. Keep it as you keep the data; do not attach it to a report.</p>
<ul>{% for row in rows %}<li><img alt="record {{ row.id }}" src="data:image/png;base64,{{ row.png }}">
<div><code>{{ row.id }}</code><br>{{ row.caption }}<br>{{ row.why }}</div></li>{% endfor %}</ul>
</body></html>
"""


def write_revealed(
    path: Path, audit: AuditRecord, records: tuple[Record, ...], published: tuple[str, ...]
) -> None:
    """Write pictures and captions of the records that the findings list (mode 600)."""
    by_id = dict(zip(published, records, strict=True))
    listed: dict[str, str] = {}
    for finding in audit.findings:
        for found in (*finding.top_members, *finding.top_nonmembers):
            kind = "member" if found.is_member else "nonmember"
            note = f"{kind}, rank {found.rank} in {finding.attack}"
            listed.setdefault(found.record_id, note + (", named" if found.is_named else ""))
    rows = [
        {"id": name, "png": png(by_id[name]), "caption": by_id[name].caption or "", "why": why}
        for name, why in list(listed.items())[:MOST_RECORDS]
    ]
    page = Environment(autoescape=True).from_string(_PAGE).render(rows=rows)
    write_atomic(path, page, mode=0o600)


def png(record: Record) -> str:
    """A record's picture as base64 of a PNG of at most SIDE pixels a side."""
    return png_of(record.open())


def png_of(picture: Image.Image) -> str:
    """A picture as base64 of a PNG of at most SIDE pixels a side."""
    picture.thumbnail((SIDE, SIDE))
    content = io.BytesIO()
    picture.save(content, format="PNG")
    return base64.b64encode(content.getvalue()).decode()
