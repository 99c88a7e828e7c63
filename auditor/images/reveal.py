"""The private twin of a report: the pairs side by side. Written only on `--reveal`, mode 600."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from jinja2 import Environment

from auditor.images.assemble import pair, shown_pairs
from auditor.reveal import png
from reports.files import write_atomic

if TYPE_CHECKING:
    from auditor.images.scan import Concluded, ImageScan

_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<title>PRIVATE: pairs behind a scan of images</title>
<style>body{font:16px system-ui;margin:2rem}li{display:flex;gap:1rem;margin:1rem 0}
img{image-rendering:pixelated;min-width:64px}</style></head><body>
<h1>Private: pairs behind a scan of images</h1>
<p>This page shows training records. Keep it as you keep the data; do not attach it to a report.</p>
<ol>{% for p, left, right in rows %}<li>
<figure><img alt="generated {{ p.generated_id }}" src="data:image/png;base64,{{ left }}"><figcaption>generated</figcaption></figure>
<figure><img alt="training {{ p.training_id }}" src="data:image/png;base64,{{ right }}"><figcaption>training</figcaption></figure>
<div>{{ "copy" if p.is_copy else "no copy" }}, distance {{ "%.4f" | format(p.distance) }}, {{ p.registration }}<br>
<code>{{ p.generated_id }}</code> <code>{{ p.training_id }}</code></div></li>{% endfor %}</ol>
</body></html>
"""


def write_pairs(path: Path, scan: ImageScan, concluded: Concluded) -> None:
    """Write generated and training picture of every pair that the report lists."""
    sets, matches = scan.sets, concluded.figures.matches
    rows = [
        (
            pair(scan, concluded, i),
            png(sets.generated[i]),
            png(sets.training[matches.record[i]]),
        )
        for i in shown_pairs(concluded)
    ]
    page = Environment(autoescape=True).from_string(_PAGE).render(rows=rows)
    write_atomic(path, page, mode=0o600)
