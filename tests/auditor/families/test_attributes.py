"""Attribute inference in scans of real models, from tables to the report."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.compose import make_column_transformer
from sklearn.ensemble import ExtraTreesClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

from attacks.errors import DataError, UsageError
from attacks.observations import AttributeCell, CellConfidence, Cells, Logits, OtherColumns
from attacks.signals import phi
from auditor.observe.attribute import with_value
from auditor.observe.cache import Cache
from auditor.observe.classifier import ClassifierObserver
from auditor.observe.usage import Usage
from auditor.progress import Progress
from auditor.records import load_row_splits
from auditor.scan import ScanOptions, plan_scan, scan_model
from reports import markdown
from reports.html import page

skops_io = pytest.importorskip("skops.io")

N = 300
"""Members, and nonmembers."""


def people(n: int, rng: np.random.Generator) -> pd.DataFrame:
    """Rows whose label is chance: whatever a model knows of it, it remembers."""
    return pd.DataFrame(
        {
            "colour": rng.choice(["red", "green", "blue"], n),
            "age": rng.integers(20, 80, n),
            "height": rng.normal(170, 10, n).round(3),
            "is_new": rng.integers(0, 2, n).astype(bool),
            "label": rng.integers(0, 3, n),
        }
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that remembers its rows, one that never saw them, and both tables."""
    root = tmp_path_factory.mktemp("people")
    rng = np.random.default_rng(0)
    frames = {name: people(N, rng) for name in ("members", "nonmembers", "others")}
    for name, frame in frames.items():
        frame.to_csv(root / f"{name}.csv", index=False)
    for model, name in (("overfitted", "members"), ("stranger", "others")):
        encoder = make_column_transformer((OneHotEncoder(), ["colour"]), remainder="passthrough")
        pipeline = make_pipeline(encoder, ExtraTreesClassifier(60, random_state=0))
        frame = frames[name]
        pipeline.fit(frame.drop(columns="label"), frame["label"])
        skops_io.dump(pipeline, root / f"{model}.skops")
    return root


def options_of(folder: Path, model: str = "overfitted", **changes: Any) -> ScanOptions:
    given: dict[str, Any] = {
        "model": str(folder / f"{model}.skops"),
        "members": folder / "members.csv",
        "nonmembers": folder / "nonmembers.csv",
        "out": folder / f"{model}-audit",
        "cache": folder / "cache",
        "attacks": ("yeom",),
        "shadows": 0,
        "sensitive": ("colour", "age"),
    }
    return ScanOptions(**given | changes)


def test_a_model_that_remembers_gives_columns_away(folder: Path) -> None:
    result = scan_model(options_of(folder))
    found = {one.column: one for one in result.record.attributes}
    assert list(found) == ["colour", "age"]
    for one in found.values():
        assert one.is_shown, one
        assert one.attacked_members.value > one.imputed_members.value + 0.2
        assert one.advantage_nonmembers.low < 0.05
        data = result.record.data
        assert (one.n_members, one.n_nonmembers) == (data.n_members, data.n_nonmembers)
        assert data.n_calibration > 0
    assert found["colour"].calls == 3
    assert {row.value for row in found["colour"].by_value} == {"red", "green", "blue"}
    assert found["age"].calls == 4
    coverage = {row.id: row for row in result.record.coverage}
    assert coverage["attribute-inference"].status == "tested"
    assert coverage["attribute-inference"].results == ("attribute",)
    assert {f.kind for f in result.record.findings} == {"membership"}
    assert "--sensitive colour --sensitive age" in result.record.command
    html = result.paths["html"].read_text(encoding="utf-8")
    assert "Attribute inference" in html
    assert 'id="attributes"' in html
    assert "Attribute inference" in markdown.render(result.record)
    again = json.loads(scan_model(options_of(folder)).paths["json"].read_text())
    assert again["attributes"] == json.loads(result.paths["json"].read_text())["attributes"]


def test_a_model_that_never_saw_them_gives_nothing_away(folder: Path) -> None:
    result = scan_model(options_of(folder, "stranger"))
    assert [one.is_shown for one in result.record.attributes] == [False, False]
    for one in result.record.attributes:
        assert one.leak.low <= 0 <= one.leak.high


def test_no_column_named_no_attribute_inference(folder: Path) -> None:
    result = scan_model(options_of(folder, sensitive=(), out=folder / "none"))
    assert result.record.attributes == ()
    assert result.record.data.n_calibration == 0
    coverage = {row.id: row.status for row in result.record.coverage}
    assert coverage["attribute-inference"] == "not tested"
    assert 'id="attributes"' not in page.render(result.record)


def test_the_plan_counts_the_calls(folder: Path) -> None:
    prepared = plan_scan(options_of(folder, out=folder / "plan"), Progress())
    assert prepared.expense().n_calls == 2 * N * (1 + 3 + 4)


@pytest.mark.parametrize(
    ("changes", "config", "words"),
    [
        ({"sensitive": ("color",)}, "", "did you mean 'colour'"),
        ({"sensitive": ()}, "attack_options: {attribute: {bins: 3}}", "--sensitive"),
        ({}, "attack_options: {attribute: {bin: 3}}", "attack 'attribute'"),
        ({"attacks": ("attribute",)}, "", "name the column to guess with --sensitive"),
    ],
)
def test_mistakes_are_explained(
    folder: Path, changes: dict[str, Any], config: str, words: str
) -> None:
    path = folder / "config.yaml"
    path.write_text(config)
    with pytest.raises(UsageError, match=words):
        plan_scan(options_of(folder, config=path, out=folder / "bad", **changes), Progress())


def test_the_configuration_names_columns_and_bins(folder: Path) -> None:
    path = folder / "config.yaml"
    path.write_text("sensitive: [height]\nattack_options: {attribute: {bins: 3}}")
    options = options_of(folder, sensitive=(), config=path, out=folder / "config")
    (hidden,) = plan_scan(options, Progress()).hidden
    assert (hidden.column, hidden.calls) == ("height", 3)


def test_a_constant_column_is_refused(folder: Path, tmp_path: Path) -> None:
    for name in ("members", "nonmembers"):
        frame = pd.read_csv(folder / f"{name}.csv").assign(is_new=True)
        frame.to_csv(tmp_path / f"{name}.csv", index=False)
    changes = {side: tmp_path / f"{side}.csv" for side in ("members", "nonmembers")}
    options = options_of(folder, sensitive=("is_new",), out=tmp_path / "audit", **changes)
    with pytest.raises(DataError, match="column 'is_new': .*nothing to infer"):
        plan_scan(options, Progress())


def test_the_observer_asks_with_each_value(folder: Path, tmp_path: Path) -> None:
    """Every answer equals that of the model on a row that was edited by hand."""
    splits = load_row_splits(folder / "members.csv", folder / "nonmembers.csv")
    target = plan_scan(options_of(folder, out=tmp_path / "audit"), Progress()).target
    classes = target.class_indices(splits.table.labels)
    cache = Cache(tmp_path / "cache", "0" * 64, 0)
    observer = ClassifierObserver(target, splits.table, classes, None, 0, cache, Usage())
    records = splits.members[:20]
    for column, cells in (
        ("colour", Cells(("blue", "green"))),
        ("age", Cells((30.0, 40.0), (35.0,))),
        ("is_new", Cells((0.0, 1.0))),
    ):
        confidence = CellConfidence(column, cells.values)
        own = AttributeCell(column, cells.values, cells.edges)
        found = observer.observe(records, [confidence, own, OtherColumns(column)])
        for i, record in enumerate(records):
            row = splits.table.features.iloc[[record.position]]
            for v, value in enumerate(cells.values):
                new = pd.Series([value], row.index).astype(row[column].dtype)
                edited = row.assign(**{column: new})
                expected = phi(target.logits(edited), classes[[record.position]])
                assert found[confidence][i, v] == pytest.approx(expected[0])
            held = row[column].iloc[0]
            if cells.edges is not None:
                assert found[own][i] == int(held >= 35)
            else:
                assert found[own][i] == ([*cells.values, held].index(held) if held != "red" else -1)
        n_own = splits.table.encoded_sources.count(list(row.columns).index(column))
        n_all = splits.table.encoded([0]).shape[1]
        assert found[OtherColumns(column)].shape == (20, n_all - n_own)
    assert Logits() in found


def test_an_array_is_edited_in_one_column(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for name in ("m", "n"):
        x = rng.integers(0, 5, (30, 3)).astype(np.float32)
        x[:, 0] += rng.random(30)
        np.savez(tmp_path / f"{name}.npz", x=x, y=rng.integers(0, 2, 30))
    table = load_row_splits(tmp_path / "m.npz", tmp_path / "n.npz").table
    rows = np.arange(7)
    changed = with_value(table, "x1", 2.0, rows)
    assert isinstance(changed, np.ndarray)
    assert changed[:, 1].tolist() == [2.0] * 7
    assert changed[:, [0, 2]].tolist() == table.inputs(rows)[:, [0, 2]].tolist()
