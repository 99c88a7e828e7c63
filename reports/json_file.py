"""`audit.json`: canonical writing, reading with one clear error, and its JSON Schema.

Canonical: keys sorted, ASCII only, no NaN, a newline at the end. Two equal records give equal
bytes. ASCII, so that a hostile string in it cannot reorder or recolour a terminal.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NoReturn

from pydantic import BaseModel, ValidationError

from attacks.errors import InternalError, UsageError
from reports.consistency import contradictions
from reports.files import write_atomic
from reports.record import SCHEMA, AuditRecord
from reports.text import clean

SCHEMA_FILE = Path(__file__).parent / "schema" / "audit.schema.json"
MAX_BYTES = 200_000_000
_SHOWN_ERRORS = 3


def render(record: BaseModel) -> str:
    """The canonical text of a record of any schema, proved to be readable again."""
    tree = record.model_dump(mode="json", by_alias=True)
    try:
        text = json.dumps(tree, sort_keys=True, indent=1, allow_nan=False) + "\n"
    except ValueError as error:
        raise InternalError(f"the record holds a number that is not finite: {error}") from error
    try:
        type(record).model_validate(tree)
    except ValidationError as error:
        raise InternalError(f"the record would not be readable: {_complaints(error)}") from error
    return text


def write(record: AuditRecord, path: Path) -> None:
    """Write audit.json atomically."""
    write_atomic(path, render(record))


def read(path: Path) -> AuditRecord:
    """Read audit.json; whatever is wrong with it, or contradicts itself, is one UsageError."""
    try:
        if path.stat().st_size > MAX_BYTES:
            raise UsageError(f"{path.name} is over {MAX_BYTES:,} bytes: not an audit record")
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise UsageError(f"no file {path}; give the audit.json that a scan wrote") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{path.name} is not UTF-8 text; give an audit.json") from error
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}") from error
    record = parse(text, name=path.name)
    found = next(contradictions(record), None)
    if found is not None:
        raise UsageError(
            f"{path.name} contradicts itself: {found}; it was edited or damaged, restore it or "
            "scan again"
        )
    return record


def parse(text: str, *, name: str = "audit.json") -> AuditRecord:
    """A record of the right form from its text; whatever is wrong with it is one UsageError."""
    try:
        tree = json.loads(text, parse_constant=_refuse_constant, object_pairs_hook=_unique_keys)
    except (ValueError, RecursionError) as error:
        raise UsageError(
            f"{name} is not valid JSON: {clean(error, 200)}; it may be cut short, scan again"
        ) from error
    if not isinstance(tree, dict):
        raise UsageError(f"{name} holds no JSON object; give the audit.json that a scan wrote")
    if tree.get("schema") != SCHEMA:
        raise UsageError(
            f"{name} has schema '{clean(tree.get('schema'), 60)}', this version reads '{SCHEMA}'; "
            "use the version of auditor that wrote it, or scan again"
        )
    try:
        return AuditRecord.model_validate(tree)
    except (ValidationError, RecursionError) as error:
        detail = _complaints(error) if isinstance(error, ValidationError) else "nested too deeply"
        raise UsageError(
            f"{name} is not a valid audit record: {detail}; "
            "it was edited or written by another version, scan again or restore it"
        ) from error


def json_schema() -> dict[str, Any]:
    """The JSON Schema of audit.json."""
    return schema_of(AuditRecord, SCHEMA)


def schema_of(model: type[BaseModel], name: str) -> dict[str, Any]:
    """The JSON Schema of a record, under the name of its schema."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": f"urn:auditor:schema:{name}",
        **model.model_json_schema(by_alias=True),
    }


def schema_text() -> str:
    """The text of the published schema file."""
    return json.dumps(json_schema(), indent=1, sort_keys=True) + "\n"


def _complaints(error: ValidationError) -> str:
    """The first few complaints with their places; never the values, which may be private."""
    found = error.errors(include_url=False, include_context=False, include_input=False)
    shown = [f"{_place(one['loc'])}: {clean(one['msg'], 160)}" for one in found[:_SHOWN_ERRORS]]
    more = len(found) - len(shown)
    return "; ".join(shown) + (f"; and {more} more" if more else "")


def _place(loc: tuple[int | str, ...]) -> str:
    parts = [f"[{part}]" if isinstance(part, int) else f".{clean(part, 60)}" for part in loc]
    return "".join(parts).lstrip(".") or "the record"


def _refuse_constant(word: str) -> NoReturn:
    raise ValueError(f"{word} is not allowed")


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    tree = dict(pairs)
    if len(tree) < len(pairs):
        raise ValueError("a key occurs twice in one object")
    return tree


if __name__ == "__main__":
    write_atomic(SCHEMA_FILE, schema_text())
