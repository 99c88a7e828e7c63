"""The command line as its users meet it: help, errors, exit codes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import jsonschema
import pytest
import yaml
from typer.testing import CliRunner

from attacks.results import Outcome
from auditor.cli import app
from tests.conftest import write_images

runner = CliRunner()


def run(*words, **environment):
    return runner.invoke(app, [str(word) for word in words], env=environment)


def test_help_names_every_verb_and_exit_code():
    text = run("--help").output
    for verb in (
        "scan",
        "list",
        "explain",
        "report",
        "compare",
        "split",
        "init",
        "doctor",
        "cache",
        "demo",
    ):
        assert verb in text
    assert "130" in text


def test_help_and_list_do_not_import_torch():
    code = (
        "import sys\n"
        "from typer.testing import CliRunner\n"
        "from auditor.cli import app\n"
        "for words in (['--help'], ['list'], ['scan', 'model', '--help']):\n"
        "    assert CliRunner().invoke(app, words).exit_code == 0, words\n"
        "heavy = {'torch', 'diffusers', 'transformers', 'sklearn', 'scipy', 'pandas'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_list_shows_all_attacks_and_json():
    assert "secmi" in run("list").output
    found = json.loads(run("list", "--json").output)
    assert {row["name"] for row in found} >= {"loss", "pia", "pian", "sima", "secmi"}


@pytest.mark.parametrize("name", ["pia", "MIA005", "lira", "MIA012"])
def test_explain(name):
    result = run("explain", name)
    assert result.exit_code == 0
    assert "arXiv" in result.output


def test_init_writes_files_that_load(tmp_path):
    from auditor.config import ScanConfig, load_config
    from auditor.policy import load_policy, preset_policy

    assert run("init", tmp_path).exit_code == 0
    assert load_config(tmp_path / "auditor.yaml") == ScanConfig()
    assert load_policy(tmp_path / "policy.yaml") == preset_policy("default")
    schema = json.loads((tmp_path / "policy.schema.json").read_text())
    jsonschema.validate(yaml.safe_load((tmp_path / "policy.yaml").read_text()), schema)
    again = run("init", tmp_path)
    assert again.exit_code == 2
    assert "--force" in again.output


def test_the_template_holds_every_key_commented_out_and_loads_when_it_is_not():
    import dataclasses

    from auditor.config import TEMPLATE, ScanConfig
    from auditor.records import ReadOptions

    assert all(line.startswith("#") for line in TEMPLATE.splitlines() if line)
    body = TEMPLATE.partition("\n\n")[2]  # without the two lines of prose
    text = "\n".join(line.removeprefix("# ") for line in body.splitlines())
    found = yaml.safe_load(text)
    assert set(found) == set(ScanConfig.model_fields)
    fields = {field.name: field.default for field in dataclasses.fields(ReadOptions)}
    assert set(found["records"]) == set(fields)
    shown = {k: v for k, v in found["records"].items() if fields[k] not in (None, ())}
    assert shown == {k: fields[k] for k in shown}  # else it would not be the default
    one_of = {k: v for k, v in found["records"].items() if k != "drop_columns"}
    assert ScanConfig(**(found | {"records": one_of})).attacks == tuple(found["attacks"])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("attack_options: {pia: {tt: 3}}", "attack_options: attack 'pia': unknown option 'tt'"),
        ("attack_options: {pai: {t: 3}}", "attack_options: "),
        ("records: {near_duplicate_rms: 0.9}", "records: near_duplicate_rms must lie"),
        ("records: {text_column: t, captions: false}", "captions is false"),
    ],
)
def test_errors_about_the_configuration_name_its_file(good, tmp_path, text, expected):
    path = tmp_path / "own.yaml"
    path.write_text(text)
    good["extra"] = ("--config", path, "--dry-run")
    result = scan(good)
    assert result.exit_code == 2
    shown = " ".join(result.output.split())
    assert "own.yaml: " in shown
    assert expected in shown
    assert "=False" not in shown


@pytest.fixture
def good(demo, tmp_path):
    return {
        "model": demo.models["memorized"],
        "members": demo.records.members,
        "nonmembers": demo.records.nonmembers,
        "out": tmp_path / "out",
        "extra": (),
    }


def scan(given):
    return run(
        "scan", "model", given["model"], "--members", given["members"],
        "--nonmembers", given["nonmembers"], "--out", given["out"], *given["extra"],
    )  # fmt: skip


def corrupt_policy(tmp_path):
    path = tmp_path / "policy.yaml"
    path.write_text("alpha_fial: 0.01\n")
    return path


def unknown_config_key(tmp_path):
    path = tmp_path / "auditor.yaml"
    path.write_text("records:\n  text_colum: caption\n")
    return path


def unreadable_images(tmp_path):
    folder = tmp_path / "unreadable"
    folder.mkdir()
    for i in range(5):
        (folder / f"{i}.png").write_bytes(b"not a picture")
    return folder


def escaping_metadata(tmp_path):
    folder = write_images(tmp_path / "escaping", [], None)
    (folder / "metadata.jsonl").write_text('{"file_name": "../../secret.png", "text": "x"}\n')
    return folder


def empty_folder(tmp_path):
    (tmp_path / "empty").mkdir()
    return tmp_path / "empty"


BAD_INPUTS = {
    "no such members": (lambda g, t: g.update(members=t / "nowhere"), "nowhere"),
    "empty members": (lambda g, t: g.update(members=empty_folder(t)), "no "),
    "identical splits": (lambda g, t: g.update(nonmembers=g["members"]), "same"),
    "unreadable images": (lambda g, t: g.update(members=unreadable_images(t)), "read"),
    "path leaves folder": (lambda g, t: g.update(members=escaping_metadata(t)), "outside"),
    "no such model": (lambda g, t: g.update(model=t / "no-model"), "no model"),
    "model is data": (lambda g, t: g.update(model=g["members"]), "model_index.json"),
    "policy typo": (lambda g, t: g.update(extra=("--policy", corrupt_policy(t))), "alpha_fail"),
    "config typo": (
        lambda g, t: g.update(extra=("--config", unknown_config_key(t))),
        "text_column",
    ),
    "unknown attack": (lambda g, t: g.update(extra=("--attacks", "pai")), "did you mean 'pia'"),
    "bad device": (lambda g, t: g.update(extra=("--device", "warp")), "device"),
    "bad precision": (lambda g, t: g.update(extra=("--precision", "fp7")), "precision"),
    "bad batch size": (lambda g, t: g.update(extra=("--batch-size", "0")), "batch"),
    "out is a file": (lambda g, t: ((t / "f").write_text(""), g.update(out=t / "f")), "is a file"),
}


@pytest.mark.parametrize("case", BAD_INPUTS)
def test_bad_input_is_one_sentence_and_exit_code_2(good, tmp_path, case):
    change, expected = BAD_INPUTS[case]
    change(good, tmp_path)
    result = scan(good)
    assert result.exit_code == 2, result.output
    assert expected.lower() in " ".join(result.output.lower().split())
    assert "Traceback" not in result.output
    assert not (tmp_path / "out").exists()


def test_debug_shows_the_traceback(good, tmp_path):
    good.update(members=tmp_path / "nowhere", extra=("--debug",))
    result = scan(good)
    assert result.exit_code == 2
    assert "Traceback" in result.stderr


def test_internal_errors_exit_4_without_their_text(good, monkeypatch):
    import auditor.scan

    def broken(*args, **kwargs):
        raise ValueError("a private caption")

    monkeypatch.setattr(auditor.scan, "plan_scan", broken)
    result = scan(good)
    assert result.exit_code == 4
    assert "private caption" not in result.output


def test_dry_run_tells_cost_and_what_can_be_decided(good):
    good["extra"] = ("--dry-run",)
    result = scan(good)
    assert result.exit_code == 0
    for word in ("24 a record", "Time", "Memory", "identified", "auc"):
        assert word in result.output
    assert not good["out"].exists()
    good["extra"] = ("--dry-run", "--json", "--attacks", "pia,clid")
    found = json.loads(scan(good).stdout)
    assert found["n_calibration"] > 0
    assert found["calls_per_record"] == 2 + 15


def test_a_preset_tells_its_choice_and_what_it_can_decide(good):
    good["extra"] = ("--preset", "standard", "--limit", "60", "--dry-run", "--json")
    found = json.loads(scan(good).stdout)
    assert found["attacks"][-2:] == ["clid", "extraction"]
    assert "extraction.prompts=128" in found["options"]
    assert any("PASS takes 99 tried members" in line for line in found["reachable"])
    good["extra"] = ("--preset", "quick", "--attacks", "loss")
    both = scan(good)
    assert both.exit_code == 2
    assert "both say which attacks run" in " ".join(both.output.split())
    good["extra"] = ("--budget", "soon")
    assert "90s, 10m or 2h" in " ".join(scan(good).output.split())


def test_a_small_scan_ends_in_json_with_its_exit_code(good, tmp_path):
    policy = tmp_path / "policy.yaml"
    policy.write_text("positive_control_dose: 1\n")  # spares the training
    common = ("--attacks", "sima", "--limit", "40", "--policy", policy)
    good["extra"] = (*common, "--json")
    result = scan(good)
    record = json.loads(result.stdout)
    assert result.exit_code == record["verdict"]["exit_code"]
    good["extra"] = (*common, "--quiet", "--exit-zero")
    quiet = scan(good)
    assert quiet.exit_code == 0
    assert len(quiet.stdout.strip().splitlines()) == 1
    shown = run("report", good["out"] / "audit.json", "--format", "html,md,junit,sarif,json")
    assert shown.exit_code == 0
    bad = run("report", good["out"] / "audit.json", "--format", "htm")
    assert bad.exit_code == 2
    assert "html" in bad.output


def test_report_of_a_broken_record_is_one_error(tmp_path):
    path = tmp_path / "audit.json"
    path.write_text('{"schema": "auditor/1"}')
    result = run("report", path)
    assert result.exit_code == 2
    assert run("report", tmp_path / "none.json").exit_code == 2


def test_report_of_an_edited_record_is_refused_before_anything_is_written(tmp_path):
    from reports import json_file
    from tests.reports.samples import sample

    path = tmp_path / "audit.json"
    json_file.write(sample(Outcome.FAIL), path)
    assert run("report", path, "--format", "md").exit_code == 0
    path.write_text(path.read_text().replace('"exit_code": 1', '"exit_code": 0'))
    result = run("report", path, "--out", tmp_path / "new")
    assert result.exit_code == 2
    assert "contradicts itself: the exit code is 0" in " ".join(result.output.split())
    assert not (tmp_path / "new").exists()


def test_split_makes_two_sides_that_a_scan_reads(tmp_path, digits):
    folder = write_images(tmp_path / "all", digits[:60], [f"digit {i % 7}" for i in range(60)])
    result = run("split", folder, "--out", tmp_path / "halves")
    assert result.exit_code == 0, result.output
    assert "train on the members alone" in result.output
    again = run("split", folder, "--out", tmp_path / "halves")
    assert again.exit_code == 2


def test_cache_purge_deletes_only_what_the_cache_made(tmp_path):
    root = tmp_path / "cache"
    (root / ("a" * 32)).mkdir(parents=True)
    (root / ("a" * 32) / "x.obs").write_bytes(b"1" * 100)
    (root / "mine.txt").write_text("keep")
    assert run("cache", "purge", "--cache", root).exit_code == 0
    assert [p.name for p in root.iterdir()] == ["mine.txt"]


def test_doctor_says_what_a_target_supports(demo):
    result = run("doctor", demo.models["clean"])
    assert result.exit_code == 0
    for word in ("Device", "torch", "can run", "secmi", "text-conditional"):
        assert word in result.output


def test_ctrl_c_exits_130_and_the_same_command_continues(good, tmp_path):
    command = [
        sys.executable, "-m", "auditor.cli", "scan", "model", str(good["model"]),
        "--members", str(good["members"]), "--nonmembers", str(good["nonmembers"]),
        "--out", str(good["out"]), "--cache", str(tmp_path / "cache"), "--device", "cpu",
    ]  # fmt: skip
    running = subprocess.Popen(
        command,
        stderr=subprocess.PIPE,
        text=True,
        env=dict(os.environ),
        # Background jobs of a shell ignore SIGINT, and children inherit that.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and not list((tmp_path / "cache").rglob("*.obs")):
        time.sleep(0.2)
    running.send_signal(signal.SIGINT)
    _, errors = running.communicate(timeout=60)
    assert running.returncode == 130
    assert "run the same command to continue" in errors
    assert list((tmp_path / "cache").rglob("*.obs"))
    assert not good["out"].exists()
