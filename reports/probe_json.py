"""`probe.json`, written as canonically as `audit.json`, and its JSON Schema."""

from __future__ import annotations

import json
from pathlib import Path

from reports.files import write_atomic
from reports.json_file import render as canonical_text
from reports.json_file import schema_of
from reports.probe_record import SCHEMA, ProbeRecord

SCHEMA_FILE = Path(__file__).parent / "schema" / "probe.schema.json"


def render(record: ProbeRecord) -> str:
    """The canonical text of a record, proved to be readable again."""
    return canonical_text(record)


def schema_text() -> str:
    """The text of the published schema file."""
    return json.dumps(schema_of(ProbeRecord, SCHEMA), indent=1, sort_keys=True) + "\n"


if __name__ == "__main__":
    write_atomic(SCHEMA_FILE, schema_text())
