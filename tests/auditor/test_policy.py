"""Policies: defaults, presets, and errors that say what to change."""

from __future__ import annotations

from pathlib import Path

import jsonschema
import pytest
import yaml
from pydantic import ValidationError

from attacks.errors import PolicyError
from auditor.policy import (
    DEFAULT_POLICY_YAML,
    Policy,
    load_policy,
    parse_policy,
    policy_json_schema,
    preset_policy,
)


def test_defaults() -> None:
    policy = Policy()
    assert policy.rules_as_plain == {
        "identified": {"fpr": 0.001, "limit": 0.03},
        "auc": {"upper": 0.6, "lower": 0.4},
        "tpr@1%": {"limit": None},
        "extracted": {"limit": 0, "share": 0.01, "max_distance": 0.15, "control_share": 0.8},
        "replication": {"fpr": 0.01, "limit": 0.03},
        "flagged_prompts": {"limit": 0},
    }
    assert (policy.alpha_fail, policy.alpha_pass, policy.accepted_dose) == (0.01, 0.05, 64)
    assert policy.release_context == "unspecified"
    assert not policy.target_declares_mitigation


def test_the_commented_default_policy_names_every_key_and_loads_to_the_defaults() -> None:
    assert parse_policy(DEFAULT_POLICY_YAML, source="template") == Policy()
    content = yaml.safe_load(DEFAULT_POLICY_YAML)
    assert set(content) == set(Policy.model_fields)
    assert content["rules"] == Policy().rules_as_plain
    assert content.pop("access") is None
    assert content["positive_control_dose"] == 64


def test_empty_file_is_the_default_and_presets_can_be_changed(tmp_path: Path) -> None:
    assert parse_policy("", source="x") == Policy()
    strict = preset_policy("strict")
    assert strict.rules.identified.limit == 0.01
    assert strict.name == strict.extends == "strict"
    assert preset_policy("default") == Policy()
    file = tmp_path / "p.yaml"
    file.write_text(
        "extends: strict\nname: mine\nrules:\n  identified: {fpr: 0.005}\n  auc: {upper: 0.7}\n"
    )
    mine = load_policy(file)
    assert (mine.rules.identified.limit, mine.rules.identified.fpr) == (0.01, 0.005)
    assert (mine.rules.auc.upper, mine.rules.auc.lower, mine.name) == (0.7, 0.4, "mine")


def test_dose_is_capped_by_the_exposures_in_training() -> None:
    assert Policy(training_exposures=10).accepted_dose == 10
    assert Policy(training_exposures=500).accepted_dose == 64


def test_access_is_a_list_in_the_file() -> None:
    assert parse_policy("access: [grey-box]", source="x").access == ("grey-box",)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("alpha_fial: 0.01", ["unknown key 'alpha_fial'", "did you mean 'alpha_fail'?"]),
        ("rules: {identifed: {}}", ["unknown key 'rules.identifed'", "did you mean 'identified'?"]),
        ("rules: {auc: {uper: 0.7}}", ["'rules.auc.uper'", "did you mean 'upper'?"]),
        ("rules: {tpr@1%: {limt: 0.1}}", ["'rules.tpr@1%.limt'", "did you mean 'limit'?"]),
        ("rules: {tpr: {}}", ["'rules.tpr'", "did you mean 'tpr@1%'?"]),
        ("zzz: 1", ["unknown key 'zzz'", "known: access, "]),
        ("1: 2", ["unknown key '1'"]),
        ("extends: strct", ["extends: unknown preset 'strct'", "did you mean 'strict'?"]),
        ("extends: [strict]", ["extends: unknown preset"]),
        ("rules: {identified: {limit: 3}}", ["rules.identified.limit", "less than 1", "got 3"]),
        ("rules: {identified: {limit: 3 %}}", ["rules.identified.limit", "number", "got '3 %'"]),
        ("rules: {identified: {limit: 0.0005}}", ["limit 0.0005 must be above fpr 0.001"]),
        ("rules: {identified: {limit: .nan}}", ["rules.identified.limit"]),
        ("rules: {auc: {upper: 0.4}}", ["rules.auc.upper", "greater than 0.5"]),
        ("rules: {tpr@1%: {limit: 0.005}}", ["rules.tpr@1%.limit", "greater than 0.01"]),
        ("rules: 3", ["rules", "got 3"]),
        ("alpha_fail: true", ["alpha_fail", "number"]),
        ("alpha_pass: 0.5", ["alpha_pass", "0.2"]),
        ("positive_control_dose: 0", ["positive_control_dose", "greater than or equal to 1"]),
        ("release_context: everyone", ["release_context", "'public_api'"]),
        ("access: [pink-box]", ["access.0", "'grey-box'"]),
        ("target_declares_mitigation: 'yes'", ["target_declares_mitigation"]),
        ("name: ''", ["name"]),
        ("- a", ["expected keys and values, got a list"]),
        ("just words", ["expected keys and values, got a text"]),
        ("rules: [", ["line 1", "not valid YAML"]),
        ("alpha_fail: 0.01\nalpha_fail: 0.2", ["line 2", "'alpha_fail' is given twice"]),
        ("3", ["expected keys and values, got a single value"]),
    ],
)
def test_errors_are_one_line_that_names_file_and_key(
    tmp_path: Path, text: str, words: list[str]
) -> None:
    file = tmp_path / "policy.yaml"
    file.write_text(text)
    with pytest.raises(PolicyError) as caught:
        load_policy(file)
    message = str(caught.value)
    assert "\n" not in message
    for word in [str(file), *words]:
        assert word in message


def test_unreadable_files(tmp_path: Path) -> None:
    with pytest.raises(PolicyError, match=r"cannot read policy .*no\.yaml: No such file"):
        load_policy(tmp_path / "no.yaml")
    binary = tmp_path / "b.yaml"
    binary.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(PolicyError, match="not UTF-8"):
        load_policy(binary)


def test_yaml_cannot_build_objects() -> None:
    with pytest.raises(PolicyError, match="not valid YAML"):
        parse_policy("name: !!python/object/apply:os.system ['true']", source="x")


def test_policy_is_frozen_and_hashed_by_content() -> None:
    policy = Policy()
    with pytest.raises(ValidationError):
        policy.alpha_fail = 0.5  # type: ignore[misc]
    commented = parse_policy("# hello\nalpha_pass:   0.05\n", source="x")
    assert commented.sha256 == policy.sha256
    assert parse_policy("alpha_pass: 0.04", source="x").sha256 != policy.sha256


def test_json_schema_accepts_the_template_and_refuses_typos() -> None:
    schema = policy_json_schema()
    jsonschema.validate(yaml.safe_load(DEFAULT_POLICY_YAML), schema)
    for wrong in ({"alpha_fial": 1}, {"rules": {"auc": {"upper": 0.3}}}, {"extends": "lax"}):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(wrong, schema)
