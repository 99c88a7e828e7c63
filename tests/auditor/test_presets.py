"""Presets and budgets: what they choose, what they say, and what the record repeats."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.ensemble import RandomForestClassifier

import auditor.families.diffusion as diffusion
from attacks.errors import UsageError
from attacks.extraction.generate_and_filter import ExtractionConfig
from attacks.registry import attack
from auditor.assemble import command_line
from auditor.config import ScanConfig
from auditor.families.classifier_scan import ClassifierScan
from auditor.options import parsed, with_options
from auditor.power import drawing_power
from auditor.prepare import EXTRACTION, chosen_attacks
from auditor.presets import (
    EXTRACTION_SIZES,
    LEAST_RECORDS,
    PRESETS,
    fitting,
    rungs,
    seconds_of,
    with_preset,
)
from auditor.progress import Progress
from auditor.scan import ScanOptions, plan_scan

DEFAULT = ("loss", "pia", "pian", "sima", "secmi")


def _options(**changes) -> ScanOptions:
    given = {"members": Path("m"), "nonmembers": Path("n"), "out": Path("o")}
    return ScanOptions(model="none/here", family="diffusion", **(given | changes))


@pytest.mark.parametrize(
    ("text", "seconds"), [("90s", 90), ("10m", 600), ("2h", 7200), ("1.5m", 90), (" 3s ", 3)]
)
def test_a_budget_is_a_number_with_a_unit(text, seconds):
    assert seconds_of(text) == seconds


@pytest.mark.parametrize("text", ["", "10", "m", "-5m", "10 minutes", "1e3s", "0s", "0.0h"])
def test_other_budgets_are_refused_with_an_example(text):
    with pytest.raises(UsageError, match="10m"):
        seconds_of(text)


@pytest.mark.parametrize("family", PRESETS)
def test_every_preset_names_attacks_and_settings_that_exist(family):
    assert list(PRESETS[family]) == ["quick", "standard", "thorough"]
    counts = []
    for choice in PRESETS[family].values():
        names = chosen_attacks(choice.attacks, ScanConfig(), family)
        assert all(attack(n).MANIFEST.family == family for n in names if n != EXTRACTION)
        ExtractionConfig(**choice.extraction)
        counts.append(len(names))
    assert counts == sorted(counts)
    assert EXTRACTION not in PRESETS[family]["quick"].attacks


def test_a_preset_is_written_out():
    chosen = with_preset(_options(preset="standard", option=("extraction.steps=9",)))
    assert chosen.attacks == ("default", "clid", "extraction")
    settings = parsed(chosen.option)["extraction"]
    assert settings == {"prompts": 128, "seeds": 2, "steps": 9}
    assert (chosen.preset, chosen.budget) == (None, None)
    assert with_preset(chosen) is chosen


def test_the_configuration_file_is_kept_over_a_preset(tmp_path):
    config = tmp_path / "own.yaml"
    config.write_text("attack_options: {extraction: {prompts: 99}}")
    settings = parsed(with_preset(_options(preset="standard", config=config)).option)
    assert "prompts" not in settings["extraction"]


def test_what_contradicts_itself_is_refused():
    with pytest.raises(UsageError, match="both say which attacks"):
        with_preset(_options(preset="quick", attacks=("loss",)))
    with pytest.raises(UsageError, match="did you mean 'thorough'"):
        with_preset(_options(preset="through"))
    with pytest.raises(UsageError, match="both say which attacks"):
        plan_scan(_options(preset="quick", attacks=("loss",), budget=60.0), Progress())


def test_settings_on_the_command_line_win():
    config = ScanConfig(attack_options={"pia": {"t": 3, "p": 4.0}})
    merged = with_options(config, ("pia.t=200", "extraction.alpha=0.02"))
    assert merged.attack_options == {"pia": {"t": 200, "p": 4.0}, "extraction": {"alpha": 0.02}}
    assert config.attack_options["pia"]["t"] == 3
    for text in ("pia", "pia.t", "t=3", ".t=3", "pia.=3", "pia.t=", "pia.t=[1"):
        with pytest.raises(UsageError, match="--option"):
            parsed((text,))


def test_rungs_go_down():
    found = list(rungs(_options()))
    assert [r.attacks for r in found][:4] == [("all",)] * 4
    assert found[-1].attacks == ("default",)
    assert [r.attacks for r in rungs(_options(preset="quick"))] == [("default",)]
    kept = list(rungs(_options(attacks=("loss", "extraction"))))
    assert {r.attacks for r in kept} == {("loss", "extraction")}
    costs = [ExtractionConfig(**s) for s in EXTRACTION_SIZES]
    images = [c.images * c.calls_per_image for c in costs]
    assert images == sorted(set(images), reverse=True)
    assert all(c.prompts >= 99 for c in costs)  # so that PASS stays in reach


def _cost(options: ScanOptions, fixed: float, each: float, n: int) -> float:
    rank = {"c": 4.0, "b": 2.0, "a": 1.0}[(options.attacks or ("a",))[0]]
    return fixed + rank * each * min(n, options.limit or n)


@given(
    fixed=st.floats(0, 50), each=st.floats(0.01, 5), budget=st.floats(1, 2000),
    n=st.integers(1, 400),
)  # fmt: skip
def test_the_largest_that_fits_is_chosen(fixed, each, budget, n):
    ladder = tuple(_options(attacks=(name,)) for name in "cba")

    def seconds(options: ScanOptions) -> float:
        return _cost(options, fixed, each, n)

    least = dataclasses.replace(ladder[-1], limit=min(LEAST_RECORDS, n))
    if seconds(least) > budget:
        with pytest.raises(UsageError, match="--budget is too short"):
            fitting(ladder, budget, seconds, n)
        return
    chosen = fitting(ladder, budget, seconds, n)
    assert seconds(chosen) <= budget
    fitting_ones = [rung for rung in ladder if seconds(rung) <= budget]
    if fitting_ones:
        assert chosen == fitting_ones[0]
    else:
        assert chosen.limit is not None
        assert chosen.limit < n
        assert seconds(dataclasses.replace(chosen, limit=chosen.limit + 1)) > budget


@pytest.fixture
def timed(demo, tmp_path, monkeypatch):
    """Options of the bundled model, a millisecond a call."""
    monkeypatch.setattr(diffusion, "seconds_per_call", lambda target, batch_size: 1e-3)
    return ScanOptions(
        model=str(demo.models["memorized"]), members=demo.records.members,
        nonmembers=demo.records.nonmembers, out=tmp_path / "out", device="cpu",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("budget", "attacks", "seeds"),
    [(3600.0, None, 8), (150.0, (*DEFAULT, "clid", EXTRACTION), 2), (60.0, DEFAULT, None)],
)
def test_a_budget_buys_attacks_first_and_images_next(timed, budget, attacks, seeds):
    scan = plan_scan(dataclasses.replace(timed, budget=budget), Progress())
    assert scan.expense().seconds <= budget
    if attacks is None:
        assert {"wu_recon_pixel", "gsa1", EXTRACTION} <= set(scan.attack_names)
    else:
        assert scan.attack_names == attacks
    assert (scan.extraction.seeds if scan.extraction else None) == seeds
    assert scan.options.limit is None
    command = command_line(scan)
    assert "--budget" not in command
    assert "--preset" not in command
    assert f"--attacks {','.join(scan.attack_names)}" in command
    if seeds:
        assert f"--option extraction.seeds={seeds}" in command


def test_a_small_budget_takes_fewer_records_and_says_so(timed):
    scan = plan_scan(dataclasses.replace(timed, budget=35.0), Progress())
    assert scan.attack_names == DEFAULT
    assert LEAST_RECORDS <= scan.options.limit < 900
    assert scan.expense().seconds <= 35
    assert f"--limit {scan.options.limit}" in command_line(scan)
    more = dataclasses.replace(scan.options, limit=scan.options.limit + 50)
    assert scan.seconds_with(more) >= scan.seconds_with(scan.options)
    with pytest.raises(UsageError, match="--budget is too short"):
        plan_scan(dataclasses.replace(timed, budget=1.0), Progress())


def test_the_promised_time_is_that_of_the_scan(timed):
    first = plan_scan(timed, Progress())
    for rung in rungs(timed):
        if "all" not in rung.attacks:
            own = plan_scan(rung, Progress()).expense().seconds
            assert first.seconds_with(rung) == pytest.approx(own, rel=0.02)


@pytest.fixture
def forest(tmp_path, digits):
    """Options of a small forest that can be fitted again."""
    skops_io = pytest.importorskip("skops.io")
    rows, labels = pd.DataFrame(digits[:300].reshape(300, -1)), np.arange(300) % 2
    rows.columns = [f"pixel_{i}" for i in range(64)]
    skops_io.dump(
        RandomForestClassifier(5, random_state=0).fit(rows[:100], labels[:100]),
        tmp_path / "forest.skops",
    )
    table = rows.assign(label=labels)
    table[:100].to_csv(tmp_path / "in.csv", index=False)
    table[100:].to_csv(tmp_path / "out.csv", index=False)
    return ScanOptions(
        model=str(tmp_path / "forest.skops"), members=tmp_path / "in.csv",
        nonmembers=tmp_path / "out.csv", out=tmp_path / "audit", device="cpu",
    )  # fmt: skip


@pytest.mark.parametrize(("preset", "n_shadows"), [("quick", 8), ("standard", 32)])
def test_a_preset_sets_the_shadow_models_unless_they_are_named(forest, preset, n_shadows):
    chosen = dataclasses.replace(forest, preset=preset)
    scan = plan_scan(chosen, Progress())
    assert scan.n_shadows == n_shadows
    assert f"--shadows {n_shadows}" in command_line(scan)
    assert plan_scan(dataclasses.replace(chosen, shadows=4), Progress()).n_shadows == 4


def test_a_budget_trains_as_many_shadow_models_as_fit(forest, monkeypatch):
    monkeypatch.setattr(ClassifierScan, "_seconds_per_call", 1e-6)
    monkeypatch.setattr(ClassifierScan, "_seconds_per_model", 1.0)
    standard = dataclasses.replace(forest, preset="standard")
    for budget, n_shadows, limit in ((50.0, 32, None), (40.0, 16, None), (20.0, 8, None)):
        scan = plan_scan(dataclasses.replace(standard, budget=budget), Progress())
        assert (scan.n_shadows, scan.options.limit) == (n_shadows, limit)
        assert scan.expense().seconds <= budget
    scan = plan_scan(dataclasses.replace(standard, budget=9.0), Progress())
    assert scan.n_shadows == 8
    assert LEAST_RECORDS <= scan.options.limit < 200


def test_without_a_recipe_a_preset_trains_nothing(forest):
    for path in (forest.members, forest.nonmembers):
        table = pd.read_csv(path)[["label"]]
        table.assign(p_0=0.4 - table.index / 1e4, p_1=0.6 + table.index / 1e4).to_csv(
            path, index=False
        )
    shown = dataclasses.replace(forest, model="predictions", preset="quick")
    scan = plan_scan(shown, Progress())
    assert scan.n_shadows == 0
    assert "lira" not in scan.attack_names


def test_power_says_whether_a_pass_is_in_reach():
    assert "2.98 %" in drawing_power(99, 400, 0.03, is_prompted=True)
    assert "could PASS" in drawing_power(99, 400, 0.03, is_prompted=True)
    few = drawing_power(64, 896, 0.03, is_prompted=False)
    assert "PASS takes 99 tried members" in few
    assert f"{100 * (1 - math.exp(math.log(0.05) / 64)):.3g} %" in few
    assert "nothing could PASS" in drawing_power(0, 1, 0.03, is_prompted=True)
