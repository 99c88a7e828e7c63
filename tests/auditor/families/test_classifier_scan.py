"""Scans of real scikit-learn and torch classifiers, from tables to a verdict."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_digits
from sklearn.ensemble import RandomForestClassifier, VotingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeClassifier

from attacks.errors import DataError, UsageError
from attacks.observations import Logits
from attacks.results import ControlStatus, Outcome
from auditor.families.classifier_scan import ClassifierScan
from auditor.progress import Progress
from auditor.scan import ScanOptions, ScanResult, plan_scan, run_scan, scan_model

skops_io = pytest.importorskip("skops.io")

N_MEMBERS, N_NONMEMBERS = 300, 600
COLUMNS = [f"pixel_{i}" for i in range(64)]


@dataclass(frozen=True)
class Digits:
    """Tables of digits with some wrong labels, and a folder for models."""

    root: Path
    features: pd.DataFrame
    labels: np.ndarray

    def rows(self, start: int, stop: int) -> pd.DataFrame:
        return self.features.iloc[start:stop]

    def forest(self, name: str, start: int, stop: int, labels: np.ndarray | None = None) -> Path:
        """A forest trained on some rows; every fit that a test needs anew."""
        path = self.root / f"{name}.skops"
        known = self.labels if labels is None else labels
        model = RandomForestClassifier(25, random_state=0)
        skops_io.dump(model.fit(self.rows(start, stop), known[start:stop]), path)
        return path

    def table(self, name: str, start: int, stop: int, **columns: Any) -> Path:
        path = self.root / f"{name}.csv"
        self.rows(start, stop).assign(label=self.labels[start:stop], **columns).to_csv(
            path, index=False
        )
        return path


@pytest.fixture(scope="module")
def digits_tables(tmp_path_factory: pytest.TempPathFactory) -> Digits:
    images, labels = load_digits(return_X_y=True)
    rng = np.random.default_rng(0)
    order = rng.permutation(len(images))
    images, labels = images[order], labels[order]
    flipped = rng.random(len(labels)) < 0.1
    labels[flipped] = (labels[flipped] + rng.integers(1, 10, flipped.sum())) % 10
    found = Digits(tmp_path_factory.mktemp("tables"), pd.DataFrame(images, columns=COLUMNS), labels)
    found.table("members", 0, N_MEMBERS)
    found.table("nonmembers", N_MEMBERS, N_MEMBERS + N_NONMEMBERS)
    return found


def options_of(digits: Digits, model: str | Path, out: str, **changes: Any) -> ScanOptions:
    given: dict[str, Any] = {
        "model": str(model),
        "members": digits.root / "members.csv",
        "nonmembers": digits.root / "nonmembers.csv",
        "out": digits.root / out,
        "cache": digits.root / "cache",
        "shadows": 8,
    }
    return ScanOptions(**given | changes)


@pytest.fixture(scope="module")
def forest_scan(digits_tables: Digits) -> ScanResult:
    path = digits_tables.forest("forest", 0, N_MEMBERS)
    return scan_model(options_of(digits_tables, path, "forest-audit"))


def control(result: ScanResult, name: str) -> Any:
    return next(c for c in result.record.controls if c.name == name)


def test_an_overfitted_forest_fails_and_names_members(forest_scan: ScanResult) -> None:
    assert forest_scan.record.verdict.outcome is Outcome.FAIL
    by_name = {finding.attack: finding for finding in forest_scan.record.findings}
    assert set(by_name) == {"yeom", "mentr", "lira", "lira_offline", "rmia"}
    assert by_name["rmia"].auc.value > by_name["yeom"].auc.value > 0.7
    named = {r.record_id for f in by_name.values() for r in f.top_members if r.is_named}
    assert len(named) >= 10


def test_the_controls_of_a_sound_comparison(forest_scan: ScanResult) -> None:
    for name in ("competence", "negative", "blind"):
        assert control(forest_scan, name).status is ControlStatus.PASSED, name
    positive = control(forest_scan, "positive")
    assert positive.status in (ControlStatus.PASSED, ControlStatus.WARNING)
    assert positive.figures["dose_lira_offline"] is not None
    assert positive.figures["above_lira_offline"] >= 14
    assert positive.figures["above_rmia"] >= 14
    # members are in the training set once: what is caught only at more copies supports no PASS
    for finding in forest_scan.record.findings:
        dose = positive.figures[f"dose_{finding.attack}"]
        assert finding.supports_pass == (dose == 1)


def test_the_record_describes_the_classifier(forest_scan: ScanResult) -> None:
    details = forest_scan.record.target.classifier
    assert details is not None
    assert forest_scan.record.target.diffusion is None
    assert (details.n_classes, details.n_features, details.n_shadows) == (10, 64, 8)
    assert details.accuracy_members.value > 0.95
    assert 0.5 < details.accuracy_nonmembers.value < 0.95
    knowledge = {f.attack: f.knowledge for f in forest_scan.record.findings}
    assert details.clipped is not None
    assert 0 < details.clipped < 0.2
    assert "8 models trained like it" in knowledge["rmia"]
    assert "trained like it" not in knowledge["yeom"]


def test_exposure_by_class_covers_every_member(forest_scan: ScanResult) -> None:
    groups = forest_scan.record.by_class["rmia"]
    assert sum(group.n_members for group in groups) == forest_scan.evaluation.n_members
    assert len(groups) == 10


def test_the_curve_over_shadow_models_ends_at_the_finding(forest_scan: ScanResult) -> None:
    curve = {(p.attack, p.n_shadows): p.auc.value for p in forest_scan.record.shadow_curve}
    assert {n for _, n in curve} == {2, 4, 8}
    for finding in forest_scan.record.findings:
        if (finding.attack, 8) in curve:
            assert curve[finding.attack, 8] == pytest.approx(finding.auc.value)


def test_no_value_or_file_name_of_the_data_reaches_the_outputs(forest_scan: ScanResult) -> None:
    for path in forest_scan.paths.values():
        text = path.read_text(encoding="utf-8")
        assert "pixel_7" not in text
        assert str(path.parent.parent) not in text
        assert all(record.id not in text for record in forest_scan.records[:50])


def test_the_same_scan_again_trains_nothing_and_gives_the_same_scores(
    digits_tables: Digits, forest_scan: ScanResult, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*args: Any, **kwargs: Any) -> None:
        raise AssertionError("trained again")

    monkeypatch.setattr(RandomForestClassifier, "fit", refuse)
    again = scan_model(
        options_of(digits_tables, digits_tables.root / "forest.skops", "forest-again")
    )
    for name in ("rmia", "lira", "yeom"):
        first = (forest_scan.paths["json"].parent / f"scores/{name}.parquet").read_bytes()
        assert (again.paths["json"].parent / f"scores/{name}.parquet").read_bytes() == first


def test_a_model_trained_on_neither_side_never_fails(digits_tables: Digits) -> None:
    path = digits_tables.forest("other", N_MEMBERS + N_NONMEMBERS, 1797)
    result = scan_model(options_of(digits_tables, path, "other-audit"))
    assert result.record.verdict.outcome in (Outcome.PASS, Outcome.INCONCLUSIVE)
    assert not any(r.is_named for f in result.record.findings for r in f.top_members)


def test_a_model_that_learnt_nothing_is_invalid(digits_tables: Digits) -> None:
    noise = np.random.default_rng(1).integers(0, 10, len(digits_tables.labels))
    path = digits_tables.forest("noise", N_MEMBERS + N_NONMEMBERS, 1797, noise)
    result = scan_model(options_of(digits_tables, path, "noise-audit", shadows=2))
    assert control(result, "competence").status is ControlStatus.FAILED
    assert result.record.verdict.outcome is Outcome.INVALID


def test_a_shift_between_the_sides_is_invalid(digits_tables: Digits) -> None:
    shifted = digits_tables.rows(0, N_MEMBERS).copy()
    shifted["pixel_20"] += 6
    path = digits_tables.root / "shifted.csv"
    shifted.assign(label=digits_tables.labels[:N_MEMBERS]).to_csv(path, index=False)
    model = digits_tables.forest("forest2", 0, N_MEMBERS)
    result = scan_model(options_of(digits_tables, model, "shifted-audit", members=path, shadows=2))
    assert control(result, "blind").status is ControlStatus.FAILED
    assert result.record.verdict.exit_code == 3


def test_saved_predictions_alone_can_fail_but_never_pass(digits_tables: Digits) -> None:
    known = digits_tables.rows(0, N_MEMBERS), digits_tables.labels[:N_MEMBERS]
    model = RandomForestClassifier(25, random_state=0).fit(*known)
    paths = []
    for name, start, stop in (("m", 0, N_MEMBERS), ("n", N_MEMBERS, N_MEMBERS + N_NONMEMBERS)):
        answers = model.predict_proba(digits_tables.rows(start, stop))
        columns = {f"p_{i}": answers[:, i] for i in range(10)}
        paths.append(digits_tables.table(f"saved-{name}", start, stop, **columns))
    options = options_of(
        digits_tables, "predictions", "saved", members=paths[0], nonmembers=paths[1], shadows=None
    )
    result = scan_model(options)
    assert result.record.verdict.outcome is Outcome.FAIL
    assert control(result, "positive").status is ControlStatus.NOT_RUN
    skipped = {s.attack: s.reason for s in result.record.inapplicable}
    assert "--train" in skipped["rmia"]


def test_models_of_a_recipe_never_see_saved_predictions(
    digits_tables: Digits, monkeypatch: pytest.MonkeyPatch
) -> None:
    (digits_tables.root / "trees_of_test.py").write_text(
        "from sklearn.tree import DecisionTreeClassifier as recipe\n"
    )
    monkeypatch.chdir(digits_tables.root)
    monkeypatch.syspath_prepend(str(digits_tables.root))
    paths = []
    for name, start, stop in (("m2", 0, N_MEMBERS), ("n2", N_MEMBERS, N_MEMBERS + N_NONMEMBERS)):
        columns = {f"p_{i}": 0.1 for i in range(10)}
        paths.append(digits_tables.table(f"saved-{name}", start, stop, **columns))
    options = options_of(
        digits_tables,
        "predictions",
        "saved2",
        members=paths[0],
        nonmembers=paths[1],
        train="trees_of_test:recipe",
    )
    scan = plan_scan(options, Progress())
    assert isinstance(scan, ClassifierScan)
    assert list(scan.pool.features.columns) == COLUMNS
    (copy,) = scan.copies(scan.splits.nonmembers[:18], {}, [1])
    asked = scan.splits.nonmembers[:18]
    logits = scan.observer_of(copy.classifier, copy.cache).observe(asked, [])[Logits()][:, 0]
    assert (logits.argmax(axis=1) == scan.classes[[r.position for r in asked]]).all()
    own = scan.observe(asked)[Logits()]
    assert own == pytest.approx(np.log(0.1))


def test_a_copy_that_memorizes_nothing_establishes_no_control(
    digits_tables: Digits, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A sure target gives wrong labels a higher loss than a doubtful recipe, planted or not."""
    path = onnx_tree(digits_tables)
    (digits_tables.root / "doubt_of_test.py").write_text(
        "from sklearn.linear_model import LogisticRegression\n"
        "def recipe():\n"
        "    return LogisticRegression(C=1e-6)\n"
    )
    monkeypatch.chdir(digits_tables.root)
    monkeypatch.syspath_prepend(str(digits_tables.root))
    monkeypatch.setattr("auditor.controls.classifier.DOSES", (1,))
    changes = {"train": "doubt_of_test:recipe", "shadows": 2}
    result = scan_model(options_of(digits_tables, path, "doubt", **changes))
    positive = control(result, "positive")
    assert positive.status is ControlStatus.NOT_RUN
    assert positive.figures["established_at"] is None
    assert positive.figures["loss_after"] == pytest.approx(positive.figures["loss_before"], rel=0.1)


def test_a_copy_of_an_onnx_model_is_measured_against_the_recipe_without_the_records(
    digits_tables: Digits, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = onnx_tree(digits_tables)
    (digits_tables.root / "forest_of_test.py").write_text(
        "from sklearn.ensemble import RandomForestClassifier\n"
        "def recipe():\n"
        "    return RandomForestClassifier(25)\n"
    )
    monkeypatch.chdir(digits_tables.root)
    monkeypatch.syspath_prepend(str(digits_tables.root))
    monkeypatch.setattr("auditor.controls.classifier.DOSES", (1,))
    changes = {"train": "forest_of_test:recipe", "shadows": 2, "attacks": ("rmia", "yeom")}
    scan = plan_scan(options_of(digits_tables, path, "onnx", **changes), Progress())
    assert isinstance(scan, ClassifierScan)
    assert (scan.target.eps, scan.shadows.eps, scan.eps) == (1e-6, 1 / 50, 1 / 50)
    positive = control(run_scan(scan, Progress()), "positive")
    assert positive.figures["established_at"] == 1
    assert 2 < positive.figures["loss_before"] < -np.log(1 / 50)
    assert positive.figures["loss_after"] < 0.5 * positive.figures["loss_before"]


def test_class_weights_keyed_by_name(digits_tables: Digits) -> None:
    """Labels are words, and only they say which class is the heavy one."""
    paths, words = [], np.array(["even", "odd"])[digits_tables.labels % 2]
    for name, start, stop in (("wm", 0, N_MEMBERS), ("wn", N_MEMBERS, N_MEMBERS + N_NONMEMBERS)):
        paths.append(digits_tables.root / f"{name}.csv")
        table = digits_tables.rows(start, stop).assign(label=words[start:stop])
        table.to_csv(paths[-1], index=False)
    model = make_pipeline(
        StandardScaler(), LogisticRegression(class_weight={"even": 1, "odd": 30}, max_iter=500)
    )
    path = digits_tables.root / "weighted.skops"
    skops_io.dump(model.fit(digits_tables.rows(0, N_MEMBERS), words[:N_MEMBERS]), path)
    changes = {"members": paths[0], "nonmembers": paths[1], "shadows": 2, "attacks": ("rmia",)}
    scan = plan_scan(options_of(digits_tables, path, "weighted", **changes), Progress())
    result = run_scan(scan, Progress())
    assert control(result, "positive").figures["largest_dose"] >= 1
    assert isinstance(scan, ClassifierScan)
    assert scan.usage.n_calls_cached == 0  # the curve over shadow models asks nothing again
    answers = scan.shadows.logits.argmax(axis=2)[:, : N_MEMBERS + N_NONMEMBERS]
    own = np.array([scan.target.classes[c] for c in answers.ravel()])
    assert np.mean(own == "odd") > 0.52  # the heavy class is preferred


def onnx_tree(digits: Digits) -> Path:
    """A file of a sure model that does not tell how it was trained."""
    skl2onnx = pytest.importorskip("skl2onnx")
    features = digits.rows(0, N_MEMBERS).to_numpy(np.float32)
    model = DecisionTreeClassifier(random_state=0).fit(features, digits.labels[:N_MEMBERS])
    converted = skl2onnx.to_onnx(model, features[:1], options={"zipmap": False})
    path = digits.root / "tree.onnx"
    path.write_bytes(converted.SerializeToString())
    return path


def test_a_recipe_without_features_is_refused(
    digits_tables: Digits, monkeypatch: pytest.MonkeyPatch
) -> None:
    (digits_tables.root / "trees_of_test.py").write_text(
        "from sklearn.tree import DecisionTreeClassifier as recipe\n"
    )
    monkeypatch.chdir(digits_tables.root)
    paths = []
    for name, start, stop in (("m3", 0, 40), ("n3", 40, 80)):
        paths.append(digits_tables.root / f"alone-{name}.csv")
        answers = pd.DataFrame({f"p_{i}": [0.1] * 40 for i in range(10)})
        answers.assign(label=digits_tables.labels[start:stop]).to_csv(paths[-1], index=False)
    changes = {"members": paths[0], "nonmembers": paths[1], "train": "trees_of_test:recipe"}
    with pytest.raises(UsageError, match="predictions alone"):
        plan_scan(options_of(digits_tables, "predictions", "alone", **changes), Progress())


def test_a_model_that_gives_labels_alone_can_be_scanned(digits_tables: Digits) -> None:
    known = digits_tables.rows(0, N_MEMBERS), digits_tables.labels[:N_MEMBERS]
    trees = [("one", DecisionTreeClassifier(random_state=0))]
    path = digits_tables.root / "votes.skops"
    skops_io.dump(VotingClassifier(trees, voting="hard").fit(*known), path)
    options = options_of(digits_tables, path, "votes", attacks=("gap", "yeom"), shadows=None)
    result = scan_model(options)
    assert [f.attack for f in result.record.findings] == ["gap"]
    assert result.record.target.classifier is not None
    assert result.record.target.classifier.gives == "labels"
    assert control(result, "positive").status is ControlStatus.NOT_RUN
    assert result.record.verdict.outcome is not Outcome.PASS


def test_a_torch_module_with_a_recipe(
    digits_tables: Digits, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch
    from safetensors.torch import save_file

    (digits_tables.root / "training_of_test.py").write_text(
        "import torch\n"
        "from auditor.shadows import TorchRecipe\n"
        "def network():\n"
        "    return torch.nn.Sequential(torch.nn.Linear(64, 64), torch.nn.ReLU(), "
        "torch.nn.Linear(64, 10))\n"
        "def recipe():\n"
        "    return TorchRecipe(network, 'adam', {'lr': 3e-3}, steps=150, batch_size=64)\n"
    )
    monkeypatch.chdir(digits_tables.root)
    monkeypatch.syspath_prepend(str(digits_tables.root))
    import training_of_test

    from auditor.shadows import RecipeTrainer

    features = digits_tables.rows(0, N_MEMBERS).to_numpy()
    everything = np.ones((1, N_MEMBERS), dtype=bool)
    trainer = RecipeTrainer(training_of_test.recipe(), 10, "cpu")
    (trained,) = trainer.train(features, digits_tables.labels[:N_MEMBERS], everything, [5])
    path = digits_tables.root / "network.safetensors"
    save_file({k: v.contiguous() for k, v in trained.module.state_dict().items()}, path)
    assert isinstance(trained.module, torch.nn.Module)
    result = scan_model(
        options_of(
            digits_tables,
            path,
            "torch-audit",
            factory="training_of_test:network",
            train="training_of_test:recipe",
            shadows=4,
            device="cpu",
        )
    )
    aucs = {f.attack: f.auc.value for f in result.record.findings}
    assert aucs["rmia"] > 0.6
    assert "--train training_of_test:recipe" in result.record.command


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"shadows": 3}, "pairs"),
        ({"train": "nothing"}, "module:function"),
        ({"resolution": 64}, "--resolution does not apply"),
        ({"family": "clasifier"}, "did you mean 'classifier'"),
        ({"attacks": ("pia",)}, "needs a diffusion model"),
    ],
)
def test_wrong_options_are_one_clear_error(
    digits_tables: Digits, changes: dict[str, Any], words: str
) -> None:
    path = digits_tables.forest("forest4", 0, N_MEMBERS)
    with pytest.raises(UsageError, match=words):
        scan_model(options_of(digits_tables, path, "wrong", **changes))


def test_labels_that_the_model_does_not_know_are_found_before_any_work(
    digits_tables: Digits,
) -> None:
    path = digits_tables.forest("forest5", 0, N_MEMBERS)
    table = pd.read_csv(digits_tables.root / "members.csv")
    table.loc[:5, "label"] = 77
    table.to_csv(digits_tables.root / "unknown.csv", index=False)
    options = options_of(digits_tables, path, "unknown", members=digits_tables.root / "unknown.csv")
    with pytest.raises(DataError, match="6 of 900 records") as error:
        plan_scan(options, Progress())
    assert "77" not in str(error.value).replace("900", "")


def test_a_dry_run_knows_the_time_of_training(digits_tables: Digits) -> None:
    from auditor.outlook import look_ahead

    path = digits_tables.forest("forest", 0, N_MEMBERS)
    outlook = look_ahead(plan_scan(options_of(digits_tables, path, "dry"), Progress()))
    assert outlook.seconds > 0
    assert outlook.attacks == ("yeom", "mentr", "lira", "lira_offline", "rmia")


def test_the_record_can_be_read_and_rendered_again(forest_scan: ScanResult) -> None:
    from reports import json_file
    from reports.render import render_text

    record = json_file.read(forest_scan.paths["json"])
    page = render_text(record, "html")
    assert "Exposure by class" in page
    assert 'id="shadows"' in page
    assert json.loads(render_text(record, "sarif"))["version"] == "2.1.0"


def test_the_boundary_distance_runs_on_labels_alone(digits_tables: Digits) -> None:
    path = digits_tables.forest("boundary", 0, N_MEMBERS)
    config = digits_tables.root / "boundary.yaml"
    config.write_text(
        "attack_options: {boundary: {iterations: 1, directions: 8, searches: 6, starts: 4}}"
    )
    changes = {"attacks": ("gap", "boundary"), "shadows": 0, "limit": 60, "config": config}
    result = scan_model(options_of(digits_tables, path, "boundary-audit", **changes))
    by_name = {finding.attack: finding for finding in result.record.findings}
    assert by_name["boundary"].access == "black-box"
    assert by_name["boundary"].cost.calls_alone == 1 + 4 + 6 + 1 * (8 + 6 + 6)
    assert by_name["boundary"].auc.value > 0.5
