"""Formats and their renderers, and the one function that writes them.

A renderer is `module:function`, takes the record and returns the text of one file. It is imported
when it is asked for, so that listing the formats imports nothing.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from attacks.errors import UsageError, did_you_mean
from reports.files import write_atomic
from reports.record import AuditRecord


@dataclass(frozen=True, slots=True)
class Format:
    """One output format."""

    file_name: str
    """Name of the file in the output folder."""
    renderer: str
    """`module:function`."""
    purpose: str
    """For whom, in a few words."""


FORMATS: dict[str, Format] = {
    "json": Format("audit.json", "reports.json_file:render", "the record: every figure"),
    "html": Format("report.html", "reports.html.page:render", "the report for people, offline"),
    "junit": Format("junit.xml", "reports.junit:render", "test reports in CI"),
    "sarif": Format("auditor.sarif", "reports.sarif:render", "code-scanning dashboards"),
    "md": Format("report.md", "reports.markdown:render", "a pull-request comment"),
}


def render_text(record: AuditRecord, name: str) -> str:
    """The text of one format; the same whether the record was just made or read from its file."""
    module, function = _format(name).renderer.split(":")
    return str(getattr(importlib.import_module(module), function)(_as_read(record)))


def render(record: AuditRecord, formats: Iterable[str], out_dir: Path) -> dict[str, Path]:
    """Write the record in each format; returns format -> file.

    Every format is rendered before the first file is written, so that a failing renderer leaves
    the folder as it was; each file is then written atomically.
    """
    wanted = list(dict.fromkeys(formats))
    texts = {name: render_text(record, name) for name in wanted}
    paths = {name: out_dir / _format(name).file_name for name in wanted}
    for name, text in texts.items():
        write_atomic(paths[name], text)
    return paths


def _as_read(record: AuditRecord) -> AuditRecord:
    """The record as its file gives it back: mappings in the order of their keys."""
    from reports import json_file

    return json_file.parse(json_file.render(record))


def _format(name: str) -> Format:
    if name not in FORMATS:
        raise UsageError(f"unknown report format '{name}'; {did_you_mean(name, FORMATS)}")
    return FORMATS[name]
