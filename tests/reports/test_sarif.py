from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from attacks.results import Outcome
from reports import sarif
from tests.reports.sample_extraction import extracted_sample
from tests.reports.samples import hostile, sample

SCHEMA = json.loads((Path(__file__).parents[1] / "data" / "sarif-2.1.0.json").read_text())


def log(record: Any) -> dict[str, Any]:
    return dict(json.loads(sarif.render(record)))


@pytest.mark.parametrize("outcome", list(Outcome))
def test_conforms(outcome: Outcome) -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    jsonschema.Draft202012Validator(SCHEMA).validate(log(sample(outcome)))


def test_hostile_text_conforms_and_stays_small() -> None:
    text = sarif.render(hostile())
    jsonschema.Draft202012Validator(SCHEMA).validate(json.loads(text))
    assert len(text) < 100_000


def test_the_schema_notices_an_unknown_property() -> None:
    tree = log(sample())
    tree["runs"][0]["results"][0]["colour"] = "red"
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.Draft202012Validator(SCHEMA).validate(tree)


@pytest.mark.parametrize(
    ("outcome", "levels"),
    [
        (Outcome.PASS, []),
        (Outcome.FAIL, ["error"]),
        (Outcome.INCONCLUSIVE, ["warning"]),
        (Outcome.INVALID, ["warning", "warning"]),
    ],
)
def test_one_result_for_each_rule_that_did_not_pass(outcome: Outcome, levels: list[str]) -> None:
    run = log(sample(outcome))["runs"][0]
    assert [result["level"] for result in run["results"]] == levels
    assert run["properties"]["rules"]["auc"] in ("pass", "invalid")


def test_references_resolve() -> None:
    run = log(sample())["runs"][0]
    rules = run["tool"]["driver"]["rules"]
    taxa = {
        (taxonomy["name"], taxon["id"])
        for taxonomy in run["taxonomies"]
        for taxon in taxonomy["taxa"]
    }
    assert taxa == {("MITRE ATLAS", "AML.T0024.000"), ("CWE", "359")}
    for result in run["results"]:
        assert rules[result["ruleIndex"]]["id"] == result["ruleId"]
        assert {(t["toolComponent"]["name"], t["id"]) for t in result["taxa"]} == taxa
    for rule in rules:
        assert rule["help"]["text"]
        assert 0 < float(rule["properties"]["security-severity"]) <= 10


def test_records_that_came_back_are_one_result_of_a_rule_of_their_own() -> None:
    tree = log(extracted_sample(5))
    jsonschema.Draft202012Validator(SCHEMA).validate(tree)
    run = tree["runs"][0]
    (result,) = [one for one in run["results"] if one["ruleId"] == "EXT001"]
    assert result["level"] == "error"
    assert "5 training records" in result["message"]["text"]
    assert "Observed 5," in result["message"]["text"]
    rule = run["tool"]["driver"]["rules"][result["ruleIndex"]]
    assert rule["id"] == "EXT001"
    assert rule["name"] == "Extracted"
    assert "second time" in rule["help"]["text"]
    assert "Membership" not in rule["fullDescription"]["text"] + rule["shortDescription"]["text"]
    assert [taxon["toolComponent"]["name"] for taxon in result["taxa"]] == ["CWE"]
    assert run["properties"]["rules"]["extracted"] == "fail"
    text = json.dumps(tree)
    assert not any(one.record_id in text for one in extracted_sample(5).extraction.records)


def test_no_record_that_came_back_is_no_result() -> None:
    run = log(extracted_sample(0))["runs"][0]
    assert run["results"] == []
    assert "EXT001" in [rule["id"] for rule in run["tool"]["driver"]["rules"]]


def test_fingerprints_follow_the_rule_and_the_target() -> None:
    def prints(record: Any) -> dict[str, str]:
        return dict(log(record)["runs"][0]["results"][0]["partialFingerprints"])

    one = sample()
    retrained = one.model_copy(
        update={"target": one.target.model_copy(update={"weights_sha256": {"unet": "0" * 64}})}
    )
    assert prints(one) == prints(one.model_copy(update={"seed": 8}))
    same, other = prints(one), prints(retrained)
    assert same["primaryLocationLineHash"] == other["primaryLocationLineHash"]
    assert same["ruleAndTarget/v1"] != other["ruleAndTarget/v1"]


def test_no_record_is_named() -> None:
    record = sample()
    text = sarif.render(record)
    assert not any(one.record_id in text for f in record.findings for one in f.top_members)
