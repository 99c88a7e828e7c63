"""`auditor scan concealment` on edits of the bundled model: what it answers, writes and refuses."""

from __future__ import annotations

import hashlib
import json

import numpy as np
import pytest
from typer.testing import CliRunner

from attacks.concealment.verdict import Answer
from attacks.errors import DataError, UsageError
from auditor.cli.app import app
from auditor.concealment.outlook import reachable
from auditor.concealment.scan import plan_concealment, scan_concealment
from auditor.progress import Progress
from reports import concealment_json
from reports.concealment_record import ConcealmentRecord
from tests.conftest import write_images


@pytest.fixture(scope="module")
def blocked(edits):
    return scan_concealment(edits.of("blocked"))


@pytest.fixture(scope="module")
def clean(edits, blocked):  # the original's figures come from the cache
    return scan_concealment(edits.of("clean"))


def test_a_model_whose_prompts_alone_are_blocked_is_concealed(blocked):
    found = blocked.found
    assert found.conclusion.answer is Answer.CONCEALED
    assert blocked.record.verdict.exit_code == 1
    assert found.evidence.original[0].n_recovered >= 10  # by prompt, before the edit
    assert found.evidence.edited[0].n_recovered <= 2  # the edit works on prompts
    assert found.evidence.edited[-1].n_recovered >= 10
    assert found.evidence.edited[-1].n_nonmembers_recovered <= 1
    assert "still in the weights" in " ".join(found.conclusion.reasons)
    assert not blocked.record.zeros.mask_disclosed


def test_a_model_trained_without_the_records_is_erased_within_what_twelve_can_show(clean):
    found = clean.found
    assert found.conclusion.answer is Answer.ERASED
    assert clean.record.verdict.exit_code == 0
    assert found.conclusion.n_proven >= 11
    assert found.conclusion.n_back == 0
    assert found.conclusion.bound < 0.25
    assert clean.record.environment.n_calls_cached > 0


def test_twelve_records_cannot_show_the_usual_margin(edits, clean):
    again = scan_concealment(edits.of("clean", margin=0.1))
    assert again.record.environment.n_calls == 0
    assert again.found.conclusion.answer is Answer.INCONCLUSIVE
    assert again.record.verdict.exit_code == 3
    assert "takes 29" in " ".join(again.found.conclusion.needed)
    assert np.array_equal(
        again.found.measured["edited"].attacked, clean.found.measured["edited"].attacked
    )


def test_an_attack_that_changes_nothing_is_invalid_and_never_erased(edits, tmp_path):
    quick = {"steps": 2, "restarts": 2, "images": 1, "sampling_steps": 8}
    idle = edits.of("blocked", rate=0.0, out=tmp_path / "out", **quick)
    found = scan_concealment(idle).found
    assert found.evidence.original[0].p_value < 0.01  # the prompts draw the records ...
    assert found.evidence.original[-1].n_recovered >= 8  # ... and so do starts from them
    assert found.conclusion.answer is Answer.INVALID
    assert found.conclusion.sufficient_steps is None


def test_pruning_discloses_its_mask(edits):
    quick = edits.of("pruned", rate=0.0, steps=1, images=1, sampling_steps=8)
    result = scan_concealment(quick)
    zeros = result.record.zeros
    assert zeros.mask_disclosed
    disclosed = [layer.layer for layer in zeros.layers if layer.is_disclosed]
    assert disclosed
    assert all(layer.endswith("ff.net.2.weight") for layer in disclosed)
    assert zeros.revived is not None
    assert "mask_disclosed" in result.paths["md"].read_text().replace("\\", "")


def test_the_files_are_whole_and_redacted(edits, blocked):
    out = edits.of("blocked").out
    text = blocked.paths["json"].read_text()
    assert ConcealmentRecord.model_validate(json.loads(text)) == blocked.record
    for line in (out / "SHA256SUMS").read_text().splitlines():
        digest, name = line.split("  ")
        assert hashlib.sha256((out / name).read_bytes()).hexdigest() == digest
    page = blocked.paths["html"].read_text()
    assert blocked.record.verdict.sentence in page
    assert "http://" not in page.replace("http://www.w3.org", "")
    assert len(blocked.record.members) == 12
    private = [
        json.loads(line) for line in (out / "private" / "records.jsonl").read_text().splitlines()
    ]
    assert len(private) == 62
    for name in ("json", "html", "md", "junit"):
        content = blocked.paths[name].read_text()
        assert "handwritten" not in content
        assert str(out.parent) not in content
    assert "<failure" in blocked.paths["junit"].read_text()


def test_the_published_schema_is_current():
    assert (
        concealment_json.SCHEMA_FILE.read_text(encoding="utf-8") == concealment_json.schema_text()
    )


def test_what_cannot_be_tested_is_refused(edits, tmp_path, digits):
    own = edits.options
    with pytest.raises(UsageError, match="are the same"):
        plan_concealment(own, Progress())
    bare = write_images(tmp_path / "bare", list(digits[:60]))
    other = write_images(tmp_path / "other", list(digits[60:80]))
    with pytest.raises(DataError, match="have no caption"):
        plan_concealment(edits.of("clean", members=other, nonmembers=bare), Progress())
    with pytest.raises(DataError, match="too few"):
        plan_concealment(edits.of("clean", limit=20), Progress())


def test_the_command_line_plans_and_answers(edits, clean):
    o = edits.of("clean")
    words = ["scan", "concealment", o.model, "--original", o.original]
    for flag in ("members", "nonmembers", "out", "cache"):
        words += [f"--{flag}", str(getattr(o, flag))]
    words += ["--device", "cpu", "--guidance", "1", "--sampling-steps", "15", "--images", "2"]
    words += ["--steps", "40", "--draws", "1", "--restarts", "1"]
    plan = CliRunner().invoke(app, [*words, "--dry-run", "--json"])
    assert plan.exit_code == 0, plan.output
    assert "never with 12 records" in " ".join(json.loads(plan.stdout)["reachable"])
    done = CliRunner().invoke(app, [*words, "--margin", "0.25", "--quiet"])
    assert done.exit_code == 0, done.output
    assert done.stdout.startswith("ERASED")
    usual = CliRunner().invoke(app, words)
    assert usual.exit_code == 3
    assert "needed:" in usual.stdout


def test_the_outlook_names_every_obstacle(edits):
    few = plan_concealment(edits.of("clean", steps=20, limit=45, margin=0.1), Progress())
    lines = " ".join(reachable(few))
    assert "40 steps" in lines
    assert "50 never-seen records instead of 45" in lines
