"""A scan of data on real digits with flipped labels, against the exact oracle of a 1-NN."""

from __future__ import annotations

import hashlib
import json
import stat
from dataclasses import replace
from typing import NamedTuple

import jsonschema
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from attacks.errors import DataError, UsageError
from attacks.memorization import nearest_neighbour_memorization
from attacks.statistics.auc import auc
from auditor.cli import app
from auditor.data_scan import DataScanOptions, DataScanResult, _trained, scan_data
from auditor.progress import Progress
from reports.data_json import SCHEMA_FILE, schema_text
from reports.data_record import DataRecord
from reports.html.data_charts import histogram_chart

runner = CliRunner()
MODELS, N_TRAIN = 120, 500
RECIPE = "neighbour_recipe:nearest"
RECIPE_SOURCE = """
from sklearn.neighbors import KNeighborsClassifier

def nearest():
    return KNeighborsClassifier(1)

def no_recipe():
    return 7
"""
WORDS = [f"zebra{i}quagga" for i in range(10)]
"""Labels that cannot occur in a report by accident."""


class Flipped(NamedTuple):
    """Digits of which a tenth has a wrong label."""

    points: np.ndarray
    labels: np.ndarray
    is_flipped: np.ndarray


@pytest.fixture(scope="module")
def flipped() -> Flipped:
    from sklearn.datasets import load_digits

    bunch = load_digits()
    rng = np.random.default_rng(0)
    chosen = rng.permutation(len(bunch.target))[:750]
    # the oracle breaks ties by position, a k-d tree does not: no two distances may be equal
    points = bunch.data[chosen] + 1e-3 * rng.standard_normal((750, 64))
    labels = bunch.target[chosen].copy()
    is_flipped = np.zeros(750, dtype=bool)
    is_flipped[rng.permutation(N_TRAIN)[: N_TRAIN // 10]] = True
    labels[is_flipped] = (labels[is_flipped] + rng.integers(1, 10, is_flipped.sum())) % 10
    return Flipped(points, labels, is_flipped)


@pytest.fixture(scope="module")
def folder(flipped, tmp_path_factory):
    """The recipe and the data as a user has them; three rows of the training set are copies."""
    root = tmp_path_factory.mktemp("digits")
    (root / "neighbour_recipe.py").write_text(RECIPE_SOURCE)
    frame = pd.DataFrame(flipped.points, columns=[f"pixel{i}" for i in range(64)])
    frame["label"] = [WORDS[i] for i in flipped.labels]
    frame["clinic"] = np.where(np.arange(750) % 3 == 0, "okapi-north", "okapi-south")
    train = pd.concat([frame[:N_TRAIN], frame[:3]])
    train.to_parquet(root / "secret-hospital.parquet")
    frame[N_TRAIN:].drop(columns="clinic").to_parquet(root / "secret-holdout.parquet")
    (root / "drop.yaml").write_text("records:\n  drop_columns: [clinic]\n")
    return root


@pytest.fixture(autouse=True)
def in_folder(folder, monkeypatch):
    monkeypatch.chdir(folder)
    monkeypatch.setenv("LOKY_MAX_CPU_COUNT", "1")


def options_for(folder, out, **changes) -> DataScanOptions:
    options = DataScanOptions(
        data=folder / "secret-hospital.parquet",
        train=RECIPE,
        out=out,
        models=MODELS,
        config=folder / "drop.yaml",
        cache=folder / "cache",
        processes=1,
    )
    return replace(options, **changes)


@pytest.fixture(scope="module")
def scanned(folder, tmp_path_factory) -> DataScanResult:
    """One scan that most tests look at."""
    monkeypatch = pytest.MonkeyPatch()
    monkeypatch.chdir(folder)
    # a test file without the column of groups: `drop_columns` would not find it there
    frame = pd.read_parquet(folder / "secret-holdout.parquet").assign(clinic="okapi-north")
    frame.to_parquet(folder / "secret-test.parquet")
    out = tmp_path_factory.mktemp("scan") / "out"
    result = scan_data(
        options_for(folder, out, test=folder / "secret-test.parquet", group="clinic")
    )
    monkeypatch.undo()
    return result


def rows_of(result) -> np.ndarray:
    """Row of the file that each record stands for."""
    return np.array([record.source.row % N_TRAIN for record in result.records])


def test_memorization_equals_the_exact_oracle_within_monte_carlo_error(scanned, flipped):
    rows = rows_of(scanned)
    assert sorted(rows) == list(range(N_TRAIN))
    exact = nearest_neighbour_memorization(
        flipped.points[:N_TRAIN], flipped.labels[:N_TRAIN], round(0.7 * N_TRAIN)
    )
    label = scanned.measured.label
    known = ~np.ma.getmaskarray(label.value)
    assert known.all()
    truth = exact.value[rows]
    error = label.value.data - truth
    expected = np.sqrt(truth * (1 - truth) / label.n_out)
    assert abs(error.mean()) < 0.01
    assert np.sqrt((error**2).mean()) == pytest.approx(np.sqrt((expected**2).mean()), rel=0.15)
    assert (np.abs(error) <= 5 * expected + 0.02).all()
    assert (label.mean_in.data == 1).all()


def test_flipped_labels_come_out_on_top(scanned, flipped):
    is_flipped = flipped.is_flipped[rows_of(scanned)]
    value = scanned.measured.label.value.data
    assert value[is_flipped].mean() > 0.9
    assert value[~is_flipped].mean() < 0.3
    assert auc(value[is_flipped], value[~is_flipped]).value > 0.95
    found = scanned.measured.memorized
    assert np.isin(np.flatnonzero(is_flipped), found.record[found.is_sure]).mean() > 0.9
    assert scanned.record.memorization.n_sure == found.is_sure.sum()


def test_checks_hold_and_halves_agree(scanned):
    checks = scanned.record.checks
    assert checks.identities_hold
    assert checks.half_correlation.value > 0.6
    training = scanned.record.training
    assert training.accuracy_in == 1
    assert training.accuracy_out < 0.95
    assert sum(one.n_records for one in scanned.record.histogram) == N_TRAIN


def test_breakdowns_count_every_record_once(scanned, flipped):
    by = {one.by: one.groups for one in scanned.record.breakdowns}
    n_memorized = scanned.record.memorization.n_memorized
    for groups in by.values():
        assert sum(group.n_records for group in groups) == N_TRAIN
        assert sum(group.n_memorized for group in groups) == n_memorized
        assert all(group.low <= group.share <= group.high for group in groups)
    assert {group.n_records for group in by["copies"]} == {3, N_TRAIN - 3}
    labels = np.array([WORDS[i] for i in flipped.labels[:N_TRAIN]])
    for group in by["class"]:
        name = scanned.names.classes[group.group]
        assert group.n_records == (labels == name).sum()
    assert sorted(scanned.names.groups.values()) == ["okapi-north", "okapi-south"]


def test_influence_pairs_are_nearest_neighbours_of_one_class(scanned, flipped):
    pairs = scanned.measured.influence
    sure = np.flatnonzero(pairs.is_sure)
    assert sure.size > 20
    assert len(labels_of_test(scanned)) == scanned.record.data.n_test == 250
    labels = flipped.labels[rows_of(scanned)[pairs.train[sure]]]
    assert [WORDS[i] for i in labels] == [labels_of_test(scanned)[j] for j in pairs.test[sure]]
    points = flipped.points[:N_TRAIN][rows_of(scanned)]
    tests = flipped.points[N_TRAIN:][rows_of_test(scanned)]
    distances = np.linalg.norm(tests[pairs.test[sure], None] - points[None], axis=2)
    own = distances[np.arange(sure.size), pairs.train[sure]]
    assert ((distances < own[:, None]).sum(axis=1) <= 8).all()


def rows_of_test(result) -> list[int]:
    """Row of the test file of each test record, in the order of their ids."""
    lines = (result.paths["json"].parent / "private" / "records.jsonl").read_text().splitlines()
    found = [json.loads(line) for line in lines]
    test = sorted((e["content_id"], e["row"]) for e in found if e["file"].endswith("test.parquet"))
    return [row for _, row in test]


def labels_of_test(result) -> list[str]:
    """Label of each test record, in the order of their ids."""
    return pd.read_parquet("secret-test.parquet")["label"].iloc[rows_of_test(result)].tolist()


def test_long_tail_says_what_it_costs_not_to_memorize(scanned):
    by_class, by_group = scanned.record.long_tail
    assert by_class.n_singletons > 0
    assert 0 < by_class.tau_1.value < 0.05
    assert by_class.total == pytest.approx(
        by_class.n_singletons * by_class.tau_1.value * (1 - by_class.guess)
    )
    assert sum(one.n_records for one in by_class.groups) == N_TRAIN + 3
    assert {one.group for one in by_group.groups} == {"group 1", "group 2"}


def test_tables_hold_every_record_under_its_published_id(scanned):
    table = pq.read_table(scanned.paths["memorization"]).to_pandas()
    assert list(table.columns) == [
        "record_id", "memorization", "standard_error", "low", "high",
        "confidence_memorization", "n_in", "n_out", "multiplicity",
    ]  # fmt: skip
    assert sorted(scanned.published_ids) == table["record_id"].tolist()
    value = dict(zip(scanned.published_ids, scanned.measured.label.value.data, strict=True))
    assert [value[i] for i in table["record_id"]] == table["memorization"].tolist()
    assert table["multiplicity"].sum() == N_TRAIN + 3
    influence = pq.read_table(scanned.paths["influence"]).to_pandas()
    assert set(influence["train_id"]) <= set(scanned.published_ids)
    assert not set(influence["test_id"]) & set(scanned.published_ids)


def test_record_conforms_to_the_published_schema(scanned):
    assert SCHEMA_FILE.read_text(encoding="utf-8") == schema_text()
    tree = json.loads(scanned.paths["json"].read_text())
    jsonschema.validate(tree, json.loads(SCHEMA_FILE.read_text(encoding="utf-8")))
    assert DataRecord.model_validate(tree) == scanned.record


def test_hashes_cover_every_public_file(scanned):
    out = scanned.paths["json"].parent
    sums = dict(
        reversed(line.split("  ")) for line in (out / "SHA256SUMS").read_text().splitlines()
    )
    public = {path.name for path in out.iterdir() if path.is_file()} - {"SHA256SUMS"}
    assert set(sums) == public
    for name, digest in sums.items():
        assert hashlib.sha256((out / name).read_bytes()).hexdigest() == digest


def test_no_label_group_file_or_content_id_leaves_the_private_folder(scanned):
    out = scanned.paths["json"].parent
    words = [*WORDS, "okapi", "secret-", "hospital", *(record.id for record in scanned.records)]
    for path in out.iterdir():
        if path.is_file():
            body = path.read_bytes()
            assert [word for word in words if word.encode() in body] == [], path.name
    assert stat.S_IMODE((out / "private").stat().st_mode) == 0o700
    for path in (out / "private").iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    names = json.loads((out / "private" / "names.json").read_text())
    assert list(names["classes"].values()) == WORDS


def test_page_is_self_contained(scanned):
    text = scanned.paths["html"].read_text(encoding="utf-8")
    assert "default-src &#39;none&#39;" in text
    assert "src=" not in text.split("<script>")[0]
    assert 'data-twin="histogram"' in text
    for one in scanned.record.top:
        assert one.record_id in text
    bars = histogram_chart(scanned.record.histogram, 0.25).spec["layer"][0]
    assert bars["mark"]["type"] == "rect"  # a bar between two values of x would be a mere line
    assert {"x", "x2", "y", "y2"} <= set(bars["encoding"])
    assert text.count("<h1") == 1


class Interrupted(Progress):
    """Presses Ctrl-C after some models."""

    def __init__(self, after: int) -> None:
        self.left = after

    def advance(self, n: int) -> None:
        self.left -= n
        if self.left <= 0:
            raise KeyboardInterrupt


def test_an_interrupted_scan_continues_and_ends_the_same(folder, tmp_path):
    small = options_for(folder, tmp_path / "a" / "out", models=28, cache=tmp_path / "cache")
    with pytest.raises(KeyboardInterrupt):
        scan_data(small, Interrupted(503 + 10))
    resumed = scan_data(small)
    assert 0 < resumed.record.training.n_reused < 28
    whole = scan_data(replace(small, out=tmp_path / "b" / "out", cache=tmp_path / "other"))
    assert whole.record.training.n_reused == 0
    assert (resumed.measured.label.value == whole.measured.label.value).all()
    assert resumed.record.headline == whole.record.headline


def test_halves_are_paired_and_balanced(folder, tmp_path):
    result = scan_data(options_for(folder, tmp_path / "out", models=16, share=0.5))
    assert set(result.measured.label.n_in.tolist()) == {8}
    assert result.measured.label.has_twins
    assert result.record.training.design == "paired halves"
    assert result.record.checks.half_correlation.value is None
    assert result.record.influence is None
    assert not (tmp_path / "out" / "influence.parquet").exists()


def test_records_with_too_few_models_are_refused_and_counted(folder, tmp_path):
    result = scan_data(options_for(folder, tmp_path / "out", models=28))
    summary = result.record.memorization
    assert 0 < summary.n_refused < N_TRAIN
    assert sum(one.n_records for one in summary.refusals) == summary.n_refused
    assert all("OUT models are too few" in one.reason for one in summary.refusals)
    table = pq.read_table(result.paths["memorization"]).to_pandas()
    assert table["memorization"].isna().sum() == summary.n_refused
    assert (table["n_out"][table["memorization"].isna()] < 8).all()


def run(*words):
    return runner.invoke(app, ["scan", "data", *(str(word) for word in words)])


def test_command_line_end_to_end(folder, tmp_path):
    common = ["secret-hospital.parquet", "--train", RECIPE, "--models", 28]
    common += ["--cache", tmp_path / "cache", "--config", "drop.yaml", "--group", "clinic"]
    shown = run(*common, "--out", tmp_path / "out")
    assert shown.exit_code == 0, shown.output
    assert "Training memorizes" in shown.output
    assert "secret-hospital.parquet row" in shown.output
    assert WORDS[3] in shown.output
    quiet = run(*common, "--out", tmp_path / "out", "--quiet")
    assert quiet.output.count("\n") == 1
    tree = json.loads(run(*common, "--out", tmp_path / "out", "--json").stdout)
    assert tree["schema"] == "auditor-data/1"
    assert tree["training"]["n_reused"] == 28


def test_bad_inputs_exit_2_with_one_sentence(folder, tmp_path):
    tiny = pd.read_parquet("secret-hospital.parquet")
    tiny[:9].to_csv(tmp_path / "tiny.csv", index=False)
    tiny.assign(label="x").to_csv(tmp_path / "one.csv", index=False)
    good = {"data": "secret-hospital.parquet", "--train": RECIPE, "--out": tmp_path / "out"}
    cases = [
        ({"data": "nowhere.csv"}, "does not exist"),
        ({"data": tmp_path / "tiny.csv"}, "distinct records are too few"),
        ({"data": tmp_path / "one.csv"}, "same label"),
        ({"--models": 20}, "train"),
        ({"--models": 41}, "must be even"),
        ({"--share": 1.5}, "between 0 and 1"),
        ({"--train": "neighbour_recipe"}, "module:function"),
        ({"--train": "neighbour_recipe:no_recipe"}, "returned a int"),
        ({"--train": "neighbour_recipe:farthest"}, "no function"),
        ({"--group": "clinics"}, "did you mean 'clinic'"),
        ({"--group": "pixel1"}, "bin them"),
        ({"--test": "secret-hospital.parquet"}, "also among the records"),
        ({"--out": tmp_path / "tiny.csv"}, "is a file"),
    ]
    for changes, message in cases:
        words = good | changes
        data = words.pop("data")
        result = run(data, *(word for pair in words.items() for word in pair))
        assert result.exit_code == 2, (changes, result.output)
        flat = " ".join(result.output.split())
        assert message in flat, (changes, result.output)
        assert "Traceback" not in result.output
        assert not [word for word in (*WORDS, "okapi") if word in result.output], changes


def test_labels_of_the_test_set_must_be_known(folder, tmp_path):
    frame = pd.read_parquet("secret-holdout.parquet").assign(clinic="okapi-north")
    frame["label"] = ["unheard-of"] * 5 + frame["label"].tolist()[5:]
    frame.to_parquet(tmp_path / "test.parquet")
    with pytest.raises(DataError, match="labels that no record has") as caught:
        scan_data(options_for(folder, tmp_path / "out", test=tmp_path / "test.parquet"))
    assert "unheard-of" not in str(caught.value)


def test_too_few_models_names_a_number_that_is_enough():
    with pytest.raises(UsageError, match="train 5[0-9] or more"):
        DataScanOptions(data=None, train="a:b", out=None, models=20)  # type: ignore[arg-type]


def test_labelled_pictures(tmp_path, folder, flipped):
    from PIL import Image

    (tmp_path / "flat_recipe.py").write_text(
        "from sklearn.neighbors import KNeighborsClassifier\n"
        "from sklearn.pipeline import make_pipeline\n"
        "from sklearn.preprocessing import FunctionTransformer\n\n"
        "def flat(x):\n    return x.reshape(len(x), -1)\n\n"
        "def nearest():\n"
        "    return make_pipeline(FunctionTransformer(flat), KNeighborsClassifier(1))\n"
    )
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    lines = []
    for i in range(80):
        pixels = (flipped.points[i].reshape(8, 8).clip(0, 16) / 16 * 255).astype(np.uint8)
        Image.fromarray(pixels).save(pictures / f"{i:03d}.png")
        lines.append(json.dumps({"file_name": f"{i:03d}.png", "label": WORDS[flipped.labels[i]]}))
    (pictures / "metadata.jsonl").write_text("\n".join(lines) + "\n")
    monkeypatch = pytest.MonkeyPatch()
    monkeypatch.chdir(tmp_path)
    result = scan_data(
        DataScanOptions(
            data=pictures,
            train="flat_recipe:nearest",
            out=tmp_path / "out",
            models=16,
            share=0.5,
            cache=tmp_path / "cache",
            processes=1,
        )
    )
    monkeypatch.undo()
    assert result.record.data.n_records == 80
    assert (result.measured.label.mean_in.data == 1).all()


def test_torch_recipe_on_arrays_and_test_records_are_never_trained_on(tmp_path, flipped):
    (tmp_path / "linear_recipe.py").write_text(
        "def linear():\n"
        "    from torch import nn\n"
        "    from auditor.shadows import TorchRecipe\n\n"
        "    return TorchRecipe(model=lambda: nn.Linear(64, 10), epochs=2)\n"
    )
    halves = {"train": slice(0, 60), "test": slice(N_TRAIN, N_TRAIN + 40)}
    for name, rows in halves.items():
        x = flipped.points[rows].astype(np.float32)
        np.savez(tmp_path / f"{name}.npz", x=x, y=flipped.labels[rows])
    monkeypatch = pytest.MonkeyPatch()
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    options = DataScanOptions(
        data=tmp_path / "train.npz",
        test=tmp_path / "test.npz",
        train="linear_recipe:linear",
        out=tmp_path / "out",
        models=16,
        share=0.5,
        cache=tmp_path / "cache",
        device="cpu",
    )
    scan = _trained(options, Progress())
    monkeypatch.undo()
    assert scan.shadows.keep.shape == (16, 100)
    assert not scan.shadows.keep[:, 60:].any()
    assert (scan.shadows.keep.sum(axis=1) == 30).all()
    assert np.isfinite(scan.shadows.logits).all()
    assert scan.pool.key != replace(scan.pool, n_asked=0).key
