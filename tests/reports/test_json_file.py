from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest

from attacks.errors import InternalError, UsageError
from attacks.results import Estimate, Outcome
from reports import json_file
from reports.record import AuditRecord
from tests.reports.samples import hostile, sample


@pytest.mark.parametrize("outcome", list(Outcome))
def test_round_trip_is_exact_and_canonical(outcome: Outcome, tmp_path: Path) -> None:
    record = sample(outcome)
    json_file.write(record, tmp_path / "audit.json")
    again = json_file.read(tmp_path / "audit.json")
    assert again == record
    assert json_file.render(again) == json_file.render(record)
    tree = json.loads(json_file.render(record))
    assert list(tree) == sorted(tree)
    assert tree["schema"] == "auditor/1"


def test_hostile_text_is_kept_but_harmless_to_a_terminal() -> None:
    text = json_file.render(hostile())
    assert text.isascii()
    assert all(char.isprintable() or char == "\n" for char in text)
    # Not compared with the record: a lone surrogate in a key is replaced on the way out.
    assert json_file.render(json_file.parse(text)) == text


def test_record_conforms_to_the_published_schema() -> None:
    schema = json.loads(json_file.SCHEMA_FILE.read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator.check_schema(schema)
    for outcome in Outcome:
        tree = json.loads(json_file.render(sample(outcome)))
        jsonschema.Draft202012Validator(schema).validate(tree)


def test_published_schema_is_current() -> None:
    """If this fails: python -m reports.json_file."""
    assert json_file.SCHEMA_FILE.read_text(encoding="utf-8") == json_file.schema_text()


def test_a_number_that_is_not_finite_is_never_written(tmp_path: Path) -> None:
    record = sample()
    object.__setattr__(record.findings[0], "auc", Estimate(float("nan"), 0.1, 0.2))
    with pytest.raises(InternalError, match="not finite"):
        json_file.write(record, tmp_path / "audit.json")
    assert list(tmp_path.iterdir()) == []


def broken() -> dict[str, str]:
    tree = json.loads(json_file.render(sample()))
    wrong = json.loads(json.dumps(tree))
    wrong["findings"][0]["auc"]["low"] = "a private caption"
    wrong["zebra"] = 1
    huge = json.dumps(tree).replace('"seed": 7', '"seed": 1e999')
    return {
        "empty": "",
        "half": json.dumps(tree)[:1000],
        "list": "[]",
        "schema": json.dumps(tree | {"schema": "auditor/99"}),
        "no schema": "{}",
        "field": json.dumps(wrong),
        "nan": json.dumps(tree).replace('"seed": 7', '"seed": NaN'),
        "infinite": huge,
        "twice": '{"schema": "auditor/1", "schema": "auditor/1"}',
        "deep": "[" * 100_000 + "]" * 100_000,
    }


@pytest.mark.parametrize("case", list(broken()))
def test_anything_wrong_is_one_usage_error(case: str, tmp_path: Path) -> None:
    path = tmp_path / "audit.json"
    path.write_text(broken()[case], encoding="utf-8")
    with pytest.raises(UsageError) as caught:
        json_file.read(path)
    message = str(caught.value)
    assert "audit.json" in message
    assert "\n" not in message
    assert len(message) < 900
    assert "private caption" not in message


def test_the_message_names_the_place() -> None:
    with pytest.raises(UsageError, match=r"findings\[0\]\.auc\.low.*zebra") as caught:
        json_file.parse(broken()["field"])
    assert "scan again" in str(caught.value)


def test_missing_and_binary_files(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no file"):
        json_file.read(tmp_path / "none.json")
    (tmp_path / "bytes.json").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UsageError, match="UTF-8"):
        json_file.read(tmp_path / "bytes.json")
    with pytest.raises(UsageError, match="cannot read"):
        json_file.read(tmp_path)


def test_every_record_field_is_typed() -> None:
    assert AuditRecord.model_config["extra"] == "forbid"
