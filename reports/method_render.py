"""The formats of a method's audit: file names, and renderers that are imported when asked for."""

from __future__ import annotations

import importlib

from reports.method_record import MethodRecord

FILES = {"json": "method.json", "html": "method.html", "md": "method.md"}
"""Format -> name of its file in the output folder."""
RENDERERS = {
    "json": "reports.method_json",
    "html": "reports.html.method_page",
    "md": "reports.method_markdown",
}
"""Format -> module with a function `render`."""


def render_text(record: MethodRecord, name: str) -> str:
    """The text of one format."""
    return str(importlib.import_module(RENDERERS[name]).render(record))
