"""`auditor scan method` and its Python twin, on a stub of a method and on the real ones."""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import sys

import jsonschema
import pytest
from typer.testing import CliRunner

from attacks.errors import UsageError
from attacks.results import ControlResult, ControlStatus
from auditor.cli import app
from auditor.method_scan import MethodScanOptions, scan_method
from auditor.methods import registry
from auditor.progress import Progress
from reports import method_json
from reports.method_record import MethodRecord
from reports.method_render import render_text
from tests.auditor.comparison.kernel_method import kernel_method
from tests.reports.test_html import Outline

runner = CliRunner()
NARROW, WIDE = 0.15, 1.0


@pytest.fixture
def offer(monkeypatch):
    """A function that puts a stub into the catalogue."""

    def put(*widths, **options):
        stub = kernel_method(*widths, **options)
        monkeypatch.setattr("auditor.method_scan.method", lambda name: stub)

    return put


def run(*words):
    return runner.invoke(app, ["scan", "method", *(str(word) for word in words)])


def primary(record):
    return next(one for one in record.leak.comparisons if one.is_primary)


def test_a_method_equal_to_its_baseline_differs_by_nothing(offer):
    offer(NARROW, NARROW)
    record = scan_method(MethodScanOptions("kernel")).record
    for one in record.leak.comparisons:
        assert one.difference.low <= 0 <= one.difference.high
        assert one.answer == "undecided"
    assert record.leak.utility.difference.value == 0
    assert record.leak.canaries_found["method"] == record.leak.canaries_found["baseline"]


@pytest.mark.parametrize(
    ("ours", "theirs", "answer"), [(NARROW, WIDE, "leaks more"), (WIDE, NARROW, "leaks less")]
)
def test_a_method_that_remembers_more_or_less_is_told(offer, ours, theirs, answer):
    offer(ours, theirs)
    record = scan_method(MethodScanOptions("kernel")).record
    assert primary(record).answer == answer
    assert answer in record.answer.sentence
    assert record.answer.exit_code == 0
    assert {one.name: one.status.value for one in record.controls}["negative"] == "passed"


def test_canaries_are_found_where_the_baseline_remembers(offer):
    offer(NARROW, NARROW)
    (positive,) = [c for c in scan_method(MethodScanOptions("kernel")).record.controls if c.name == "positive"]  # fmt: skip
    assert positive.status.value == "passed"


def test_the_answer_says_when_canaries_were_not_found(offer, monkeypatch):
    offer(NARROW, WIDE)
    found = ControlResult("positive", ControlStatus.NOT_RUN, "none")
    monkeypatch.setattr("auditor.comparison.controls.canaries_found", lambda *_: found)
    record = scan_method(MethodScanOptions("kernel", quick=True)).record
    assert "not established" in record.answer.sentence
    assert record.answer.exit_code == 0


def test_a_failed_control_makes_the_comparison_invalid(offer, monkeypatch):
    offer(NARROW, WIDE)
    found = ControlResult("negative", ControlStatus.FAILED, "separated")
    monkeypatch.setattr("auditor.comparison.controls.permuted_labels", lambda *_: found)
    record = scan_method(MethodScanOptions("kernel", quick=True)).record
    assert "invalid" in record.answer.sentence
    assert "leaks more" not in record.answer.sentence
    assert record.answer.exit_code == 3
    assert 'class="is-invalid"' in render_text(record, "html")


def test_a_claim_that_does_not_hold_exits_3(offer):
    offer(NARROW, WIDE, holds=False)
    record = scan_method(MethodScanOptions("kernel", quick=True)).record
    assert not record.answer.reproduced
    assert record.answer.exit_code == 3
    assert "not reproduced" in record.answer.sentence
    assert run("kernel", "--quick", "--quiet").exit_code == 3


def test_another_family_keeps_its_claim_and_question(offer):
    offer(NARROW, WIDE, family="textual")
    record = scan_method(MethodScanOptions("kernel", quick=True)).record
    assert record.leak is None
    assert "textual" in record.leak_missing
    assert record.claim.holds
    assert len(record.own_question) == 2
    for name in ("json", "md", "html"):
        assert "textual" in render_text(record, name)


def test_the_own_question_is_asked_in_every_trial_of_both(offer):
    offer(NARROW, WIDE)
    voters, votes = scan_method(MethodScanOptions("kernel", trials=4)).record.own_question
    assert len(voters.method) == len(votes.baseline) == 4
    assert voters.is_certain
    assert len(votes.method_control) == 4
    assert votes.method != votes.baseline


def test_the_same_options_give_the_same_record_but_for_time(offer):
    offer(NARROW, WIDE)
    trees = []
    for _ in range(2):
        record = scan_method(MethodScanOptions("kernel", quick=True)).record
        tree = json.loads(method_json.render(record))
        del tree["environment"]
        trees.append(tree)
    assert trees[0] == trees[1]


def test_everything_is_written_valid_and_hashed(offer, tmp_path):
    offer(NARROW, WIDE)
    out = tmp_path / "audit"
    result = run("kernel", "--quick", "--out", out, "--seed", 2)
    assert result.exit_code == 0, result.output
    assert {p.name for p in out.iterdir()} == {"method.json", "method.md", "method.html", "SHA256SUMS"}  # fmt: skip
    for line in (out / "SHA256SUMS").read_text().splitlines():
        digest, name = line.split("  ")
        assert hashlib.sha256((out / name).read_bytes()).hexdigest() == digest
    tree = json.loads((out / "method.json").read_text())
    jsonschema.validate(tree, json.loads(method_json.SCHEMA_FILE.read_text()))
    record = MethodRecord.model_validate(tree)
    assert record.command == "auditor scan method kernel --trials 3 --quick --out audit --seed 2"
    assert (
        str(tmp_path) not in (out / "method.html").read_text() + (out / "method.json").read_text()
    )
    for word in ("Claim", "decides", "canaries", "Controls", "Not tested", "method.html"):
        assert word in result.output


def test_the_published_schema_is_current():
    assert method_json.SCHEMA_FILE.read_text(encoding="utf-8") == method_json.schema_text()


def test_the_page_is_whole_offline_and_has_table_twins(offer):
    offer(NARROW, WIDE)
    record = scan_method(MethodScanOptions("kernel", quick=True)).record
    page = render_text(record, "html")
    outline = Outline(page)
    assert outline.open == []
    assert record.answer.sentence in outline.text
    charts = [one["data-chart"] for one in outline.all("script") if "data-chart" in one]
    assert len(charts) == 4
    twins = {one.get("data-twin") for one in outline.all("table")}
    assert set(charts) <= twins
    assert set(charts) <= {one.get("id") for one in outline.all("figure")}
    assert not [one for tag in ("link", "img", "iframe") for one in outline.all(tag)]
    assert not re.search(r'(?:src|href)="(?!#)', page.split("<script>")[0])
    assert len(page.encode()) < 2_000_000
    markdown = render_text(record, "md")
    assert primary(record).answer in markdown


def test_json_alone_goes_to_standard_output(offer):
    offer(NARROW, WIDE)
    result = run("kernel", "--quick", "--json")
    assert MethodRecord.model_validate(json.loads(result.stdout)).quick
    assert run("kernel", "--quick", "--quiet").output.count("\n") <= 2


def test_progress_counts_trials(offer):
    offer(NARROW, WIDE)
    seen = []

    class Counting(Progress):
        def stage(self, title, total, unit="records"):
            seen.append([title, total, unit, 0])

        def advance(self, n):
            seen[-1][-1] += n

    scan_method(MethodScanOptions("kernel", quick=True, trials=4), Counting())
    assert all(total == done for _, total, _, done in seen)
    assert [unit for _, _, unit, _ in seen] == ["trials", "trials", "step"]
    assert seen[1][1] == 4


def test_what_the_user_can_get_wrong(tmp_path):
    result = run("memmo")
    assert result.exit_code == 2
    assert "did you mean 'memo'" in result.output
    with pytest.raises(UsageError, match="at least 3"):
        scan_method(MethodScanOptions("memo", trials=2))
    (tmp_path / "file").write_text("")
    result = run("memo", "--out", tmp_path / "file")
    assert result.exit_code == 2
    assert "is a file" in result.output


def test_list_names_the_methods_without_torch():
    result = runner.invoke(app, ["list", "--methods", "--json"])
    assert [row["name"] for row in json.loads(result.output)] == list(registry.BUILT_IN)
    code = (
        "import sys\n"
        "from typer.testing import CliRunner\n"
        "from auditor.cli import app\n"
        "for words in (['list', '--methods'], ['scan', 'method', '--help']):\n"
        "    assert CliRunner().invoke(app, words).exit_code == 0, words\n"
        "heavy = {'torch', 'sklearn', 'scipy', 'pandas'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.slow
@pytest.mark.parametrize("name", list(registry.BUILT_IN))
def test_the_real_methods_are_audited(name, tmp_path):
    result = run(name, "--quick", "--out", tmp_path / name)
    record = MethodRecord.model_validate_json((tmp_path / name / "method.json").read_bytes())
    assert result.exit_code == 0, record.answer
    assert record.claim.holds
    assert {one.name: one.status.value for one in record.controls}["negative"] == "passed"
    assert len(record.leak.models) == 12
    assert record.own_question
