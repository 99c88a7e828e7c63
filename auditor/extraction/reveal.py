"""The private page of extracted records: what was drawn beside what it copies (mode 600)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jinja2 import Environment
from numpy.typing import NDArray
from PIL import Image

from auditor.files import private_directory
from auditor.records import Record
from auditor.reveal import MOST_RECORDS, png, png_of
from auditor.targets.sampling import Draw
from reports.files import write_atomic

NAME = "extracted.html"

_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<title>PRIVATE: records that the model draws again</title>
<style>body{font:16px system-ui;margin:2rem}li{display:flex;gap:1rem;margin:1rem 0}
img{image-rendering:pixelated;min-width:96px}</style></head><body>
<h1>Private: records that the model draws again</h1>
<p>This page shows training records. Keep it as you keep the data; do not attach it to a report.</p>
<ol>{% for p, left, right in rows %}<li>
<figure><img alt="drawn for {{ p.id }}" src="data:image/png;base64,{{ left }}"><figcaption>drawn, seed {{ p.draw.seed }}</figcaption></figure>
<figure><img alt="record {{ p.id }}" src="data:image/png;base64,{{ right }}"><figcaption>training record</figcaption></figure>
<div><code>{{ p.id }}</code><br>prompt: {{ p.draw.prompt }}</div></li>{% endfor %}</ol>
</body></html>
"""


class Pair(NamedTuple):
    """A record and the image that is its copy."""

    id: str
    """Published id of the record."""
    record: Record
    draw: Draw
    image: NDArray[np.uint8]
    """(height, width, channels)."""


def write_pairs(folder: Path, pairs: Sequence[Pair]) -> None:
    """Write the pairs side by side; without any, delete the page of an earlier audit."""
    if not pairs:
        (folder / NAME).unlink(missing_ok=True)
        return
    private_directory(folder)
    rows = [
        (
            p,
            png_of(Image.fromarray(p.image.squeeze(-1) if p.image.shape[2] == 1 else p.image)),
            png(p.record),
        )
        for p in pairs[:MOST_RECORDS]
    ]
    page = Environment(autoescape=True).from_string(_PAGE).render(rows=rows)
    write_atomic(folder / NAME, page, mode=0o600)
