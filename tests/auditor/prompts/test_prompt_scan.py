"""A scan of prompts on the bundled models, from files to verdict, and what its verdict rests on."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import stat

import jsonschema
import numpy as np
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

import auditor.prompts.scan as scan_module
from attacks.errors import DataError, TargetError, UsageError
from attacks.results import ControlResult, ControlStatus, Outcome
from auditor.cli import app
from auditor.demo.digits import N_PLANTED, demo_splits
from auditor.progress import Progress
from auditor.prompts.controls import planned_doses
from auditor.prompts.judge import judge
from auditor.prompts.outlook import look_ahead
from auditor.prompts.scan import PromptScanOptions, plan_prompt_scan, scan_prompts
from reports import prompts_json
from reports.prompts_record import PromptsRecord

runner = CliRunner()
SMALL = {"seeds": 2, "steps": 6, "device": "cpu"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Suspects: twelve memorized captions and eight others; references nobody trained on."""
    root = tmp_path_factory.mktemp("prompts")
    splits = demo_splits()
    members = list(dict.fromkeys(splits.members.captions))
    suspects = members[: N_PLANTED + 8]
    references = [c for c in dict.fromkeys(splits.nonmembers.captions) if c not in members]
    (root / "suspects.txt").write_text("\n".join(suspects) + "\n")
    (root / "references.txt").write_text("\n".join(references[:210]) + "\n")
    (root / "policy.yaml").write_text("positive_control_dose: 4\n")
    (root / "few.txt").write_text("\n".join(references[210:216]) + "\n")
    return root


@pytest.fixture(scope="module")
def options(demo, folder):
    def make(name, out, **changes):
        given = {
            "model": str(demo.models[name]),
            "prompts": folder / "suspects.txt",
            "reference": folder / "references.txt",
            "out": folder / out,
            "cache": folder / "cache",
            "policy": folder / "policy.yaml",
            **SMALL,
        }
        return PromptScanOptions(**(given | changes))

    return make


@pytest.fixture(scope="module")
def memorized(options):
    return scan_prompts(options("memorized", "memorized", reveal=True))


@pytest.fixture(scope="module")
def clean(options):
    return scan_prompts(options("clean", "clean"))


def test_memorized_captions_are_flagged_and_confirmed(memorized, folder):
    record = memorized.record
    assert record.verdict.outcome is Outcome.FAIL
    assert record.verdict.exit_code == 1
    flagged = np.flatnonzero(memorized.detected.is_flagged["text_magnitude"])
    assert len(set(flagged) & set(range(N_PLANTED))) >= 8
    assert len(set(flagged) - set(range(N_PLANTED))) <= 2
    assert record.rules[0].value >= 8
    assert record.watched.n_references_confirmed < record.watched.n_references_drawn / 2


def test_a_clean_twin_is_never_passed_or_failed_here(clean):
    """Nothing is flagged; a pass is out of reach, since few exposures do not plant a prompt."""
    assert not clean.detected.is_flagged["text_magnitude"].any()
    assert clean.record.verdict.outcome is Outcome.INCONCLUSIVE
    assert "planted" in clean.record.rules[0].needed
    statuses = {one.name: one.status for one in clean.record.controls}
    assert statuses["random weights"] is ControlStatus.PASSED
    assert statuses["captions alone"] is ControlStatus.PASSED
    assert statuses["positive"] in (ControlStatus.FAILED, ControlStatus.NOT_RUN)


def test_the_caption_check_stands_beside_every_detector(memorized):
    text = memorized.paths["md"].read_text()
    assert memorized.record.captions is not None
    assert "captions alone reach an AUC" in memorized.record.verdict.headline
    lines = [line for line in text.splitlines() if line.startswith("| ") and "\\-box" in line]
    assert len(lines) == len(memorized.record.detectors) == 5
    assert len({line.split("|")[7] for line in lines}) == 1


def test_reports_show_no_prompt(memorized, folder):
    out = folder / "memorized"
    for path in memorized.paths.values():
        body = path.read_bytes()
        assert len(body) < 2_000_000
        assert b"handwritten" not in body, path.name
    revealed = out / "private" / "revealed.html"
    assert stat.S_IMODE(revealed.stat().st_mode) == 0o600
    assert "handwritten" in revealed.read_text()
    assert "<mark" in revealed.read_text()
    assert "handwritten" in (out / "private" / "prompts.jsonl").read_text()


def test_files_are_whole(memorized, folder):
    out = folder / "memorized"
    for line in (out / "SHA256SUMS").read_text().splitlines():
        digest, name = line.split("  ")
        assert hashlib.sha256((out / name).read_bytes()).hexdigest() == digest
    tree = json.loads(memorized.paths["json"].read_text())
    jsonschema.validate(tree, json.loads(prompts_json.SCHEMA_FILE.read_text()))
    assert PromptsRecord.model_validate(tree) == memorized.record
    assert prompts_json.SCHEMA_FILE.read_text() == prompts_json.schema_text()
    table = pq.read_table(memorized.paths["scores"]).to_pandas()
    assert len(table) == 20 + 210
    assert table.is_reference.sum() == 210
    top = table[~table.is_reference].sort_values("text_magnitude").record_id.iloc[-1]
    assert top == memorized.record.top[0].prompt_id


def test_triggers_are_shares_of_own_tokens(memorized):
    drawn = [one for one in memorized.record.top if one.triggers]
    assert len(drawn) == len(memorized.detected.drawn)
    for one in drawn:
        assert len(one.triggers) == one.n_tokens
        assert sum(token.share for token in one.triggers) == pytest.approx(1)


def test_a_repeated_scan_asks_the_model_nothing_new(memorized, options):
    again = scan_prompts(options("memorized", "again"))
    assert again.record.environment.n_calls == 0
    same = [(one.scores, one.p_values) for one in again.record.top]
    assert same == [(one.scores, one.p_values) for one in memorized.record.top]
    assert not (again.paths["json"].parent / "private" / "revealed.html").exists()


def _with(result, scan, **changes):
    return judge(scan, dataclasses.replace(result.detected, **changes))


@pytest.fixture(scope="module")
def planned(options):
    return plan_prompt_scan(options("clean", "unused"), Progress())


def test_a_pass_must_be_earned(clean, planned):
    """Only with no flag, no copy, a caught control and a list that can flag one."""
    passed = tuple(
        ControlResult(name, ControlStatus.PASSED, "")
        for name in ("captions alone", "random weights", "positive")
    )
    distinct = {
        key: dataclasses.replace(one, clique=0)
        for key, one in clean.detected.confirmations.by_id.items()
    }
    quiet = dataclasses.replace(clean.detected.confirmations, by_id=distinct)
    ideal = {"controls": passed, "caught_at": 4, "confirmations": quiet}
    assert _with(clean, planned, **ideal).outcome is Outcome.PASS
    copied = {key: dataclasses.replace(one, clique=8) for key, one in distinct.items()}
    for missing in (
        {"caught_at": None},
        {"caught_at": 16},
        {"confirmations": dataclasses.replace(quiet, by_id=copied)},
        {"controls": (ControlResult("random weights", ControlStatus.NOT_RUN, ""), passed[2])},
    ):
        assert _with(clean, planned, **(ideal | missing)).outcome is Outcome.INCONCLUSIVE
    few = dataclasses.replace(planned, references=planned.references[:100])
    assert judge(few, dataclasses.replace(clean.detected, **ideal)).outcome is Outcome.INCONCLUSIVE
    built = dataclasses.replace(planned, reference_kind="built")
    assert judge(built, dataclasses.replace(clean.detected, **ideal)).outcome is not Outcome.PASS


def test_a_failed_control_invalidates_flags_but_not_copies(clean, memorized, planned):
    for name in ("captions alone", "random weights"):
        failed = (ControlResult(name, ControlStatus.FAILED, "It failed."),)
        assert _with(clean, planned, controls=failed).outcome is Outcome.INVALID
        assert _with(memorized, planned, controls=failed).outcome is Outcome.FAIL


def test_shuffled_prompts_accuse_nobody(memorized, planned):
    built = dataclasses.replace(planned, reference_kind="built")
    assert judge(planned, memorized.detected).outcome is Outcome.FAIL
    assert judge(built, memorized.detected).outcome is not Outcome.FAIL


def test_the_limit_of_the_policy_counts(memorized, planned):
    rules = planned.policy.rules
    lenient = rules.model_copy(
        update={"flagged_prompts": rules.flagged_prompts.model_copy(update={"limit": 20})}
    )
    policy = planned.policy.model_copy(update={"rules": lenient})
    scan = dataclasses.replace(planned, policy=policy)
    assert judge(scan, memorized.detected).outcome is not Outcome.FAIL


def test_built_references_are_named_for_what_they_are(options, monkeypatch):
    monkeypatch.setattr(scan_module, "BUILT_REFERENCES", 30)
    result = scan_prompts(options("memorized", "built", reference=None, limit=6))
    record = result.record
    assert record.prompts.reference_kind == "built"
    assert record.captions is None
    assert record.verdict.outcome is not Outcome.PASS
    assert "random order" in result.paths["md"].read_text()


def test_doses_climb_to_what_the_policy_accepts():
    assert planned_doses(64) == [1, 4, 16, 64]
    assert planned_doses(300) == [1, 4, 16, 64, 256, 300]
    assert planned_doses(1) == [1]


def test_the_outlook_counts_and_says_what_can_be_decided(options, folder):
    scan = plan_prompt_scan(options("clean", "unused", prompts=folder / "few.txt"), Progress())
    outlook = look_ahead(scan)
    assert outlook.calls_per_prompt == 2 * 2
    assert outlook.n_calls > (6 + 210) * 4
    assert "1 prompts must score above" in outlook.reachable[0]
    built = look_ahead(plan_prompt_scan(options("clean", "unused", reference=None), Progress()))
    assert any("never" in line for line in built.reachable)


def test_what_cannot_be_scanned_is_refused_by_name(options, pixel_pipeline, folder):
    with pytest.raises(TargetError, match=r"DDPMPipeline.*text_magnitude.*takes none"):
        scan_prompts(options("clean", "x", model=str(pixel_pipeline)))
    with pytest.raises(UsageError, match="--seeds"):
        scan_prompts(options("clean", "x", seeds=1))
    with pytest.raises(UsageError, match="guidance"):
        scan_prompts(options("clean", "x", guidance=1.0))
    with pytest.raises(DataError, match="also a suspect"):
        scan_prompts(options("clean", "x", reference=folder / "suspects.txt"))


def test_the_command_line(demo, folder, memorized):
    words = ["scan", "prompts", str(demo.models["memorized"])]
    words += ["--prompts", str(folder / "suspects.txt")]
    words += ["--reference", str(folder / "references.txt"), "--out", str(folder / "cli")]
    words += ["--cache", str(folder / "cache"), "--seeds", "2", "--steps", "6", "--device", "cpu"]
    words += ["--policy", str(folder / "policy.yaml")]
    dry = runner.invoke(app, [*words, "--dry-run"])
    assert dry.exit_code == 0
    assert "Calls" in dry.output
    assert not (folder / "cli").exists()
    found = runner.invoke(app, words)
    assert found.exit_code == 1, found.output
    assert "FAIL" in found.output
    assert "captions alone" in found.output
    assert "handwritten" not in found.output
    lenient = runner.invoke(app, [*words, "--exit-zero", "--json"])
    assert lenient.exit_code == 0
    wrong = runner.invoke(app, [*words, "--detectors", "magic"])
    assert wrong.exit_code == 2
    assert "unknown detector" in wrong.output
