"""`method.json`: canonical writing as for `audit.json`, and its JSON Schema."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from reports import json_file
from reports.files import write_atomic
from reports.method_record import SCHEMA, MethodRecord

SCHEMA_FILE = Path(__file__).parent / "schema" / "method.schema.json"


def render(record: MethodRecord) -> str:
    """The canonical text of a record, proved to be readable again."""
    return json_file.render(record)


def json_schema() -> dict[str, Any]:
    """The JSON Schema of method.json."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": f"urn:auditor:schema:{SCHEMA}",
        **MethodRecord.model_json_schema(by_alias=True),
    }


def schema_text() -> str:
    """The text of the published schema file."""
    return json.dumps(json_schema(), indent=1, sort_keys=True) + "\n"


if __name__ == "__main__":
    write_atomic(SCHEMA_FILE, schema_text())
