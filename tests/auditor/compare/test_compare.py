"""Two audits compared: the bundled models, made-up scores, and what is refused."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
import shutil
from pathlib import Path

import jsonschema
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from attacks.errors import DataError, UsageError
from attacks.extraction.generation import ExtractedRecord, GenerationFinding
from attacks.results import ControlResult, ControlStatus, Estimate, Outcome
from auditor.cli import app
from auditor.compare import compare_audits
from auditor.compare.answer import conclude, notes, warnings
from auditor.compare.measure import Changes, measure
from auditor.compare.read import Audit, Paired, pair
from reports import compare_json
from reports.record import ClassifierDetails
from tests.attacks.statistics.draws import at_most
from tests.reports.samples import sample

N1, N0 = 150, 300
FORBIDDEN = re.compile(r"\b(removed|erased)\b", re.IGNORECASE)


def run(*words):
    return CliRunner().invoke(app, [str(word) for word in words])


@pytest.fixture(scope="module")
def audits(memorized_scan, clean_scan, tmp_path_factory) -> dict[str, Path]:
    """Copies of the two audits of the demo."""
    root = tmp_path_factory.mktemp("audits")
    for name, scan in (("memorized", memorized_scan), ("clean", clean_scan)):
        shutil.copytree(scan.out, root / name)
    return {name: root / name for name in ("memorized", "clean")}


# --- real audits ----------------------------------------------------------------------------


def test_the_same_audit_twice_is_no_worse(audits):
    result = run("compare", audits["memorized"], audits["memorized"] / "audit.json")
    assert result.exit_code == 0, result.output
    assert "NO WORSE" in result.output
    assert "same audit" in result.output


def test_forgetting_is_shown_better_with_every_file(audits, tmp_path):
    out = tmp_path / "change"
    result = run("compare", audits["memorized"], audits["clean"], "--out", out)
    assert result.exit_code == 0, result.output
    tree = json.loads((out / "compare.json").read_text())
    jsonschema.validate(tree, json.loads(compare_json.schema_text()))
    assert tree["schema"] == "auditor-compare/1"
    assert (tree["before"]["outcome"], tree["after"]["outcome"]) == ("fail", "pass")
    better = [one["attack"] for one in tree["attacks"] if one["auc"]["change"] == "better"]
    assert {"loss", "pia"} <= set(better)
    assert any(one["top"]["change"] == "better" for one in tree["attacks"])
    for line in (out / "SHA256SUMS").read_text().splitlines():
        digest, name = line.split("  ")
        assert hashlib.sha256((out / name).read_bytes()).hexdigest() == digest
    files = {path.name: path.read_text() for path in out.iterdir()}
    assert set(files) == {"compare.json", "compare.md", "compare.html", "SHA256SUMS"}
    page = files["compare.html"]
    words = re.sub(r"<(script|style)\b.*?</\1>", "", page, flags=re.DOTALL)  # ours, not a library's
    for text in (files["compare.json"], files["compare.md"], words, result.output):
        assert not FORBIDDEN.search(text)
    assert len(page) < 2_000_000
    assert not re.search(r"""(?:src|href)=["']https?:""", page)
    for figure in ("NO WORSE", "loss", "AUC after minus before"):
        assert figure in page


def test_figures_equal_those_of_the_audits_and_of_a_loop(audits):
    record = compare_audits(audits["memorized"], audits["clean"], swaps=99).record
    stated = {
        side: {f["attack"]: f for f in json.loads((audits[side] / "audit.json").read_text())["findings"]}
        for side in audits
    }  # fmt: skip
    for one in record.attacks:
        sides = [stated[side][one.attack] for side in ("memorized", "clean")]
        assert one.auc.before == pytest.approx(sides[0]["auc"]["value"], abs=1e-12)
        assert one.auc.after == pytest.approx(sides[1]["auc"]["value"], abs=1e-12)
        assert one.auc.difference.value == pytest.approx(one.auc.after - one.auc.before)
        above = [side["identified"]["members_above"]["1"] for side in sides]
        assert [one.top.before, one.top.after] == above
        assert one.top.both + one.top.before_alone == one.top.before


def test_reversed_it_is_worse(audits, tmp_path):
    words = ("compare", audits["clean"], audits["memorized"])
    result = run(*words)
    assert result.exit_code == 1, result.output
    assert result.output.startswith("WORSE: ")
    assert run(*words, "--exit-zero").exit_code == 0
    printed = run(*words, "--json")
    assert printed.exit_code == 1
    assert json.loads(printed.output)["conclusion"]["answer"] == "worse"


def test_the_same_seed_gives_the_same_bytes(audits, tmp_path):
    for name in ("a", "b"):
        compare_audits(audits["clean"], audits["memorized"], out=tmp_path / name, swaps=99)
    for file in ("compare.json", "compare.md", "compare.html", "SHA256SUMS"):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()


def test_an_attack_that_the_second_audit_lacks_leaves_it_undecided(audits):
    both = [_read(audits["clean"], side) for side in ("BEFORE", "AFTER")]
    fewer = dataclasses.replace(both[1], scores={"loss": both[1].scores["loss"]})
    paired = pair(both[0], fewer)
    changes = measure(paired, margin=0.02, seed=0, swaps=99)
    answer = conclude(paired, changes, margin=0.02)
    assert answer.exit_code == 3
    assert "only BEFORE ran pia" in answer.sentence
    assert any("Only BEFORE ran" in note for note in notes(paired, changes))
    paired = pair(fewer, both[0])
    assert (
        conclude(paired, measure(paired, margin=0.02, seed=0, swaps=99), margin=0.02).exit_code == 0
    )


# --- what is refused ------------------------------------------------------------------------


def _read(folder: Path, side: str) -> Audit:
    from auditor.compare.read import read_audit

    return read_audit(folder, side)


def _rewrite(folder: Path, tree: dict) -> None:
    (folder / "audit.json").write_text(json.dumps(tree))


def _rewrite_scores(folder: Path, change) -> None:
    """Change every score table and keep the hashes true."""
    tree = json.loads((folder / "audit.json").read_text())
    for name in tree["manifest"]["files"]:
        table = pq.read_table(folder / name).to_pydict()
        pq.write_table(pa.table(change(table)), folder / name)
        digest = hashlib.sha256((folder / name).read_bytes()).hexdigest()
        tree["manifest"]["files"][name] = digest
    _rewrite(folder, tree)


@pytest.fixture
def copy(audits, tmp_path) -> Path:
    shutil.copytree(audits["clean"], tmp_path / "copy")
    return tmp_path / "copy"


def test_another_project_is_refused_with_what_to_do(audits, copy):
    def rekey(table):
        ids = [hashlib.sha256(one.encode()).hexdigest()[:20] for one in table["record_id"]]
        return table | {"record_id": ids}

    _rewrite_scores(copy, rekey)
    result = run("compare", audits["clean"], copy)
    assert result.exit_code == 2
    assert "different project keys" in result.output
    assert "project.key" in result.output


def test_a_record_that_contradicts_itself_is_refused(audits, copy):
    tree = json.loads((copy / "audit.json").read_text())
    tree["verdict"] |= {"outcome": "fail", "exit_code": 1}
    _rewrite(copy, tree)
    result = run("compare", audits["clean"], copy)
    assert result.exit_code == 2
    assert "contradicts itself" in result.output


def test_scores_that_are_not_those_of_the_record_are_refused(audits, copy):
    _rewrite_scores(copy, lambda t: t | {"score": [-one for one in t["score"]]})
    with pytest.raises(UsageError, match="does not give the figures"):
        compare_audits(audits["clean"], copy)


def test_score_files_that_changed_or_are_missing_are_refused(audits, copy):
    path = copy / "scores" / "loss.parquet"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(UsageError, match="not the file that the scan wrote"):
        compare_audits(audits["clean"], copy)
    path.unlink()
    with pytest.raises(UsageError, match="keep the scores/ folder"):
        compare_audits(audits["clean"], copy)


def test_a_score_file_outside_the_folder_is_refused(audits, copy):
    tree = json.loads((copy / "audit.json").read_text())
    tree["findings"][0]["scores"] = "../elsewhere.parquet"
    _rewrite(copy, tree)
    with pytest.raises(UsageError, match="outside its folder"):
        compare_audits(audits["clean"], copy)


@pytest.mark.parametrize("margin", [0, 0.5, -1, float("nan")])
def test_margins_that_mean_nothing_are_refused(audits, margin):
    with pytest.raises(UsageError, match="--margin"):
        compare_audits(audits["clean"], audits["clean"], margin=margin)


def test_an_audit_is_not_overwritten(audits, copy):
    with pytest.raises(UsageError, match="holds an audit"):
        compare_audits(audits["clean"], audits["clean"], out=copy, swaps=9)


# --- made-up scores -------------------------------------------------------------------------


def audit(side: str, shifts: dict[str, float], *, seed: int = 0, outcome=Outcome.PASS, **changes):
    """An audit with normal scores that share the records' difficulty; members are shifted."""
    common = np.random.default_rng(1).normal(size=N1 + N0)
    rng = np.random.default_rng(100 + seed)
    labels = np.arange(N1 + N0) < N1
    scores = {
        name: common + 0.3 * rng.normal(size=labels.size) + shift * labels
        for name, shift in shifts.items()
    }
    ids = np.array([f"{i:06d}" for i in range(labels.size)])
    record = sample(outcome).model_copy(update=changes)
    return Audit(side, record, f"{side}{seed}", ids, labels, scores)


def compared(before: Audit, after: Audit, margin: float = 0.02) -> tuple[Paired, Changes, str]:
    paired = pair(before, after)
    changes = measure(paired, margin=margin, seed=0, swaps=999)
    return paired, changes, conclude(paired, changes, margin=margin).answer


def test_a_wide_interval_is_undecided_and_a_wide_margin_decides():
    before, after = audit("BEFORE", {"loss": 0.0}), audit("AFTER", {"loss": 0.1}, seed=1)
    paired, changes, answer = compared(before, after)
    assert changes.attacks[0].auc.difference.high > 0.02
    assert answer == "undecided"
    assert compared(before, after, margin=0.2)[2] == "no worse"


def test_less_than_chance_is_not_better():
    before, after = audit("BEFORE", {"loss": 0.0}), audit("AFTER", {"loss": -0.25}, seed=1)
    one = compared(before, after)[1].attacks[0].auc
    assert one.difference.high < 0
    assert one.p_holm < 0.05
    assert one.change == "undecided"


def test_scores_far_below_chance_are_a_leak_with_a_warning():
    declared = ControlResult("direction", ControlStatus.WARNING, "declared", {})
    controls = tuple(c for c in sample(Outcome.PASS).controls if c.name != "direction")
    before = audit("BEFORE", {"loss": 0.0})
    after = audit("AFTER", {"loss": -2.0}, seed=1, controls=(*controls, declared))
    paired, changes, answer = compared(before, after)
    one = changes.attacks[0]
    assert one.is_reversed_after
    assert not one.is_reversed_before
    assert one.auc.after < 0.2
    assert one.auc.difference.value == pytest.approx(1 - one.auc.after - one.auc.before)
    assert one.auc.change == "worse"
    assert answer == "worse"
    (warning,) = warnings(paired, changes)
    assert "counts as a leak" in warning
    # The same reversal on both sides is no change of the leak.
    same = dataclasses.replace(after, side="BEFORE")
    assert compared(same, after)[1].attacks[0].auc.difference == Estimate(0.0, 0.0, 0.0)


def test_an_invalid_audit_decides_nothing():
    before = audit("BEFORE", {"loss": 0.0}, outcome=Outcome.INVALID)
    after = audit("AFTER", {"loss": 2.0}, seed=1)
    paired, changes, answer = compared(before, after)
    assert answer == "undecided"
    assert changes.attacks[0].auc.change == "undecided"
    assert changes.attacks[0].auc.p_holm < 1e-6
    assert any("control of BEFORE failed" in one for one in warnings(paired, changes))


def test_a_few_members_that_stand_out_keep_no_worse_away():
    before, after = audit("BEFORE", {"loss": 0.0}), audit("AFTER", {"loss": 0.0})
    after.scores["loss"][:7] += 9
    _, changes, answer = compared(before, after)
    one = changes.attacks[0]
    assert one.top.after_alone >= 6
    assert one.auc.difference.high < 0.06
    assert compared(before, after, margin=0.2)[2] in ("worse", "undecided")


def test_a_rule_that_fails_only_after_keeps_no_worse_away():
    before = audit("BEFORE", {"loss": 0.0})
    after = dataclasses.replace(before, side="AFTER", record=sample(Outcome.FAIL))
    paired = pair(before, after)
    changes = measure(paired, margin=0.02, seed=0, swaps=99)
    answer = conclude(paired, changes, margin=0.02)
    assert answer.answer == "undecided"
    assert "identified fails after" in answer.sentence


def test_settings_that_differ_are_noted():
    before = audit("BEFORE", {"loss": 0.0})
    other = before.record.model_copy(
        update={
            "seed": 8,
            "policy": before.record.policy.model_copy(update={"sha256": "f" * 64}),
        }
    )
    after = dataclasses.replace(before, side="AFTER", record=other)
    paired = pair(before, after)
    found = notes(paired, measure(paired, margin=0.02, seed=0, swaps=99))
    assert any(note.startswith("The policy differs") for note in found)
    assert "The seed differs: 7 before, 8 after." in found


def test_records_of_one_audit_alone_are_left_out_and_counted():
    before = audit("BEFORE", {"loss": 0.3})
    keep = np.arange(N1 + N0) % 3 > 0
    after = dataclasses.replace(
        before,
        side="AFTER",
        ids=before.ids[keep],
        is_member=before.is_member[keep],
        scores={"loss": before.scores["loss"][keep]},
    )
    paired, changes, answer = compared(before, after)
    assert paired.is_member.size == keep.sum()
    assert answer == "no worse"
    assert any("150 records of BEFORE alone" in note for note in notes(paired, changes))


def test_records_that_changed_sides_are_refused():
    before = audit("BEFORE", {"loss": 0.3})
    with pytest.raises(DataError, match="changed sides"):
        pair(before, dataclasses.replace(before, is_member=~before.is_member))
    with pytest.raises(DataError, match="no attack in common"):
        pair(before, dataclasses.replace(before, scores={"pia": before.scores["loss"]}))


def test_holm_over_attacks_needs_more_of_each():
    """One attack alone may be shown, beside many silent ones it may not."""
    before, after = audit("BEFORE", {"loss": 0.2}), audit("AFTER", {"loss": 0.42}, seed=1)
    alone = compared(before, after)[1].attacks[0].auc
    quiet = {f"quiet{i}": 0.0 for i in range(12)}
    before.scores.update(audit("BEFORE", quiet, seed=2).scores)
    after.scores.update(audit("AFTER", quiet, seed=3).scores)
    found = {f.attack: f for f in before.record.findings}
    more = tuple(dataclasses.replace(found["loss"], attack=name) for name in quiet)
    after = dataclasses.replace(
        after,
        record=after.record.model_copy(update={"findings": (*after.record.findings, *more)}),
    )
    among = compared(before, after)[1].attacks[0].auc
    assert among.p_value == alone.p_value
    assert among.p_holm > alone.p_holm > alone.p_value


def test_two_equal_models_are_seldom_called_better_or_worse():
    runs, called = 80, 0
    for i in range(runs):
        before = audit("BEFORE", {"loss": 0.0, "pia": 0.3}, seed=2 * i)
        after = audit("AFTER", {"loss": 0.0, "pia": 0.3}, seed=2 * i + 1)
        changes = measure(pair(before, after), margin=0.02, seed=i, swaps=199)
        answers = {x for one in changes.attacks for x in (one.auc.change, one.top.change)}
        called += answers != {"undecided"}
    assert called / runs <= at_most(0.05, runs)


def test_accuracy_of_classifiers_is_compared_without_pairing():
    def details(members: float, nonmembers: float) -> ClassifierDetails:
        return ClassifierDetails(
            n_classes=2,
            gives="logits",
            n_features=4,
            accuracy_members=Estimate(members, members - 0.02, members + 0.01),
            accuracy_nonmembers=Estimate(nonmembers, nonmembers - 0.05, nonmembers + 0.05),
            n_shadows=0,
            clipped=None,
        )

    base = audit("BEFORE", {"loss": 0.3})
    sides = []
    for side, shares in (("BEFORE", (0.98, 0.9)), ("AFTER", (0.9, 0.7))):
        target = base.record.target.model_copy(update={"classifier": details(*shares)})
        record = base.record.model_copy(update={"target": target})
        sides.append(dataclasses.replace(base, side=side, record=record))
    _, changes, answer = compared(*sides)
    members, nonmembers = changes.accuracy
    assert nonmembers.group == "nonmembers"
    assert nonmembers.change == "worse"
    assert nonmembers.difference.low < -0.2 < nonmembers.difference.high < 0
    assert members.difference.value == pytest.approx(-0.08)
    assert answer == "no worse"  # accuracy is what a change costs, not what it leaks


def test_extracted_records_are_paired_where_every_one_is_listed():
    found = [f"id{i}" for i in range(12)]
    _, changes, answer = compared(
        _drawing("BEFORE", found), _drawing("AFTER", found[:1]), margin=0.02
    )
    one = changes.extraction
    assert (one.before, one.after, one.before_alone, one.after_alone) == (12, 1, 11, 0)
    assert one.change == "better"
    assert answer == "no worse"
    paired, changes, answer = compared(_drawing("BEFORE", found[:3]), _drawing("AFTER", found[3:7]))
    assert changes.extraction.change == "undecided"
    assert answer == "undecided"
    assert any("4 training records came back" in one for one in warnings(paired, changes))
    assert compared(_drawing("BEFORE", []), _drawing("AFTER", found))[2] == "worse"


def test_extracted_records_that_are_not_all_listed_are_not_paired():
    found = [f"id{i}" for i in range(12)]
    paired, changes, _ = compared(_drawing("BEFORE", found, unlisted=5), _drawing("AFTER", []))
    one = changes.extraction
    assert one.before_alone is None
    assert (one.before, one.after) == (17, 0)
    assert one.change == "better"
    assert any("could not be paired" in note for note in notes(paired, changes))


def _drawing(side: str, ids: list[str], unlisted: int = 0) -> Audit:
    """An audit that also drew images."""
    records = tuple(
        ExtractedRecord(one, "", 0, 0.01, 0.01, 1, 1, True, "#808080", "8x8") for one in ids
    )
    n = len(ids) + unlisted
    finding = GenerationFinding(
        attack="extraction", rule_id="EXT001", title="", access="black-box", n_members=N1,
        n_nonmembers=N0, n_prompts=0, n_images=100, n_tried=N1, steps=10, guidance=1.0,
        convention="", threshold=0.1, background=0.2, n_extracted=n,
        rate=Estimate(n / N1, 0.0, 1.0), rate_upper=1.0, by_copies=(), records=records,
        p_value=0.1, n_planted=1, n_planted_found=1, n_calls=1, distribution=(),
    )  # fmt: skip
    return audit(side, {"loss": 0.3}, extraction=finding)
