from __future__ import annotations

import ast
import stat
import subprocess
import sys
from pathlib import Path

import pytest

import reports
from attacks.errors import UsageError
from attacks.results import Outcome
from reports import files, junit
from reports.json_file import parse
from reports.render import FORMATS, render, render_text
from tests.reports.samples import hostile, sample


def test_all_formats_are_written(tmp_path: Path) -> None:
    paths = render(sample(), FORMATS, tmp_path / "new" / "folder")
    assert {path.name for path in paths.values()} == {
        "audit.json",
        "report.html",
        "junit.xml",
        "auditor.sarif",
        "report.md",
    }
    assert sorted(p.name for p in (tmp_path / "new" / "folder").iterdir()) == sorted(
        path.name for path in paths.values()
    )
    assert all(stat.S_IMODE(path.stat().st_mode) & 0o400 for path in paths.values())


@pytest.mark.parametrize("name", FORMATS)
def test_a_record_that_was_read_again_renders_to_the_same_bytes(name: str) -> None:
    record = sample()
    assert render_text(parse(render_text(record, "json")), name) == render_text(record, name)


def test_an_unknown_format_is_a_usage_error_and_writes_nothing(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="did you mean 'html'"):
        render(sample(), ["json", "htm"], tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_failing_renderer_writes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def explode(_: object) -> str:
        raise RuntimeError("boom")

    monkeypatch.setattr(junit, "render", explode)
    with pytest.raises(RuntimeError, match="boom"):
        render(sample(), ["json", "junit"], tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_an_interrupted_write_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "audit.json"
    files.write_atomic(path, "old")

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files.os, "fsync", full)
    with pytest.raises(UsageError, match="No space left"):
        files.write_atomic(path, "new")
    assert path.read_text() == "old"
    assert [one.name for one in tmp_path.iterdir()] == ["audit.json"]


@pytest.mark.parametrize("name", list(FORMATS))
@pytest.mark.parametrize("outcome", [Outcome.FAIL, Outcome.INVALID])
def test_renderers_are_pure_and_leave_the_verdict(name: str, outcome: Outcome) -> None:
    record = sample(outcome)
    before = record.model_dump_json()
    first = render_text(record, name)
    assert render_text(record, name) == first
    assert record.model_dump_json() == before


@pytest.mark.parametrize("name", list(FORMATS))
@pytest.mark.parametrize("outcome", list(Outcome))
def test_every_format_says_the_outcome_of_the_record(name: str, outcome: Outcome) -> None:
    """Rules that all pass cannot soften a verdict that does not."""
    record = sample(Outcome.PASS)
    verdict = record.verdict.model_copy(update={"outcome": outcome})
    text = render_text(record.model_copy(update={"verdict": verdict}), name)
    assert outcome.value in text.lower()
    if name == "junit" and outcome is not Outcome.PASS:
        assert "<failure" in text or "<error" in text
    if name == "sarif":
        assert (
            ('"level": "warning"' in text) or ('"results": []' in text) or outcome is Outcome.FAIL
        )


@pytest.mark.parametrize("name", [name for name in FORMATS if name != "json"])
def test_hostile_text_leaves_no_invisible_character(name: str) -> None:
    text = render_text(hostile(), name)
    text.encode("utf-8")
    for char in "\x1b\x07\x00\u202e\u202c\u2066":
        assert char not in text.partition("<script>")[0], repr(char)


def test_reports_import_only_downwards() -> None:
    roots = {"attacks", "reports"}
    ours = {"attacks", "auditor", "mitigations", "reports"}
    for path in Path(reports.__path__[0]).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom):
                names = [node.module or ""]
            found = {name.partition(".")[0] for name in names} & ours
            assert found <= roots, f"{path} imports {found - roots}"


def test_listing_formats_imports_no_chart_library() -> None:
    code = "import sys, reports.render; print('altair' in sys.modules, 'vl_convert' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]
