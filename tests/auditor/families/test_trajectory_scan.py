"""The loss trajectory from tables to findings: students of a real network, and what they learn."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_digits

from attacks.errors import DataError
from attacks.observations import ShadowKeep, ShadowTrajectory, Trajectory
from attacks.signals import loss, phi
from attacks.statistics import auc
from auditor.families.classifier_scan import ClassifierScan
from auditor.outlook import look_ahead
from auditor.progress import Progress
from auditor.scan import ScanOptions, plan_scan, run_scan
from auditor.scoring import score_all

N_MEMBERS, N_NONMEMBERS = 400, 700
EPOCHS = 8
CODE = """
import torch
from auditor.shadows import TorchRecipe
from sklearn.tree import DecisionTreeClassifier


def network():
    return torch.nn.Sequential(torch.nn.Linear(64, 128), torch.nn.ReLU(), torch.nn.Linear(128, 10))


def recipe():
    return TorchRecipe(network, "adam", {"lr": 2e-3}, steps=400, batch_size=64)


def tree():
    return DecisionTreeClassifier()
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tables of digits with a fifth of wrong labels, two networks, and how they are trained."""
    import torch
    from safetensors.torch import save_file

    root = tmp_path_factory.mktemp("trajectory")
    images, labels = load_digits(return_X_y=True)
    rng = np.random.default_rng(0)
    order = rng.permutation(len(images))
    images, labels = images[order] / 16, labels[order]
    flipped = rng.random(len(labels)) < 0.2
    labels[flipped] = (labels[flipped] + rng.integers(1, 10, flipped.sum())) % 10
    table = pd.DataFrame(images, columns=[f"p{i}" for i in range(64)]).assign(label=labels)
    table[:N_MEMBERS].to_csv(root / "members.csv", index=False)
    table[N_MEMBERS : N_MEMBERS + N_NONMEMBERS].to_csv(root / "nonmembers.csv", index=False)
    (root / "training_of_students.py").write_text(CODE)
    (root / "config.yaml").write_text(f"attack_options: {{trajectory: {{epochs: {EPOCHS}}}}}")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        patch.syspath_prepend(str(root))
        import training_of_students as training

        from auditor.shadows import RecipeTrainer

        torch.manual_seed(0)
        save_file(training.network().state_dict(), root / "untrained.safetensors")
        trainer = RecipeTrainer(training.recipe(), 10, "cpu")
        everything = np.ones((1, N_MEMBERS), dtype=bool)
        (model,) = trainer.train(images[:N_MEMBERS], labels[:N_MEMBERS], everything, [1])
        save_file(model.module.state_dict(), root / "trained.safetensors")  # type: ignore[attr-defined]
    return root


@pytest.fixture
def options(folder: Path, monkeypatch: pytest.MonkeyPatch) -> ScanOptions:
    monkeypatch.chdir(folder)
    monkeypatch.syspath_prepend(str(folder))
    return ScanOptions(
        model=str(folder / "trained.safetensors"),
        members=folder / "members.csv",
        nonmembers=folder / "nonmembers.csv",
        out=folder / "audit",
        cache=folder / "cache",
        config=folder / "config.yaml",
        attacks=("yeom", "trajectory"),
        factory="training_of_students:network",
        train="training_of_students:recipe",
        shadows=2,
        device="cpu",
    )


def finding(result: Any, name: str) -> Any:
    return next(f for f in result.record.findings if f.attack == name)


def test_it_runs_to_a_report_and_beats_the_final_loss(options: ScanOptions) -> None:
    scan: Any = plan_scan(options, Progress())
    n_apart = len(scan.auxiliary)
    result = run_scan(scan, Progress())
    own, final = finding(result, "trajectory"), finding(result, "yeom")
    assert own.auc.low > 0.6
    assert own.auc.value > final.auc.value + 0.04
    assert f"{n_apart} unlabelled records that neither was trained on" in own.knowledge
    data = result.record.data
    assert (data.n_members, data.n_calibration) == (N_MEMBERS, n_apart)
    assert data.n_nonmembers == N_NONMEMBERS - n_apart
    assert 0.1 < n_apart / N_NONMEMBERS < 0.3


def test_a_network_that_learnt_nothing_gives_nothing_away(options: ScanOptions) -> None:
    path = str(Path(options.model).with_name("untrained.safetensors"))
    scan: Any = plan_scan(dataclasses.replace(options, model=path), Progress())
    found = score_all(scan.plan, scan.observe(scan.evaluated), None)[0]["trajectory"]
    is_in = np.isin([r.id for r in scan.evaluated], [r.id for r in scan.splits.members])
    own = auc(found[is_in], found[~is_in]).interval()
    assert own.low is not None
    assert own.high is not None
    assert own.low <= 0.5 <= own.high


def test_students_learn_from_nobody_who_is_evaluated_or_trained_on(options: ScanOptions) -> None:
    scan: Any = plan_scan(options, Progress())
    assert isinstance(scan, ClassifierScan)
    apart = {record.id for record in scan.auxiliary}
    assert not apart & {record.id for record in scan.evaluated}
    assert scan.students is not None
    assert {scan.students.pool.record_ids[i] for i in scan.students.rows} == apart
    assert scan.shadows is not None
    rows = [scan.shadows.record_ids.index(name) for name in apart]
    assert not scan.shadows.keep[:, rows].any()


def test_what_it_observes_are_the_losses_of_students_and_teachers(options: ScanOptions) -> None:
    scan: Any = plan_scan(options, Progress())
    records = scan.evaluated[::7]
    found = scan.observe(records)
    assert found[Trajectory(epochs=EPOCHS)].shape == (len(records), EPOCHS + 1)
    classes = scan.classes[[record.position for record in records]]
    students, inputs = scan.students, scan.splits.table.inputs
    taught = scan.target.logits(inputs([r.position for r in scan.auxiliary]))
    rows = [students.pool.record_ids.index(record.id) for record in records]
    for epoch, logits in enumerate(students.along(taught, EPOCHS)):
        expected = loss(phi(logits[rows], classes))
        np.testing.assert_allclose(found[Trajectory(epochs=EPOCHS)][:, epoch], expected)
    own = loss(phi(scan.target.logits(inputs([r.position for r in records])), classes))
    np.testing.assert_allclose(found[Trajectory(epochs=EPOCHS)][:, -1], own, atol=1e-6)
    shadow = scan.shadows
    rows = [shadow.record_ids.index(record.id) for record in records]
    of_shadow = found[ShadowTrajectory(epochs=EPOCHS)]
    np.testing.assert_allclose(of_shadow[:, -1], loss(phi(shadow.logits[0, rows], classes)))
    is_in = found[ShadowKeep()][:, 0]
    assert of_shadow[is_in, -1].mean() < of_shadow[~is_in, -1].mean() * 0.7


def test_students_beside_attacks_that_are_fitted(options: ScanOptions) -> None:
    changed = dataclasses.replace(options, attacks=("attack_p", "trajectory"))
    scan: Any = plan_scan(changed, Progress())
    fitted_on = {record.id for record in scan.calibration}
    assert fitted_on > {record.id for record in scan.auxiliary}
    n_asked = len(scan.auxiliary)
    assert scan.pool.n_asked == n_asked
    assert set(scan.pool.record_ids) == fitted_on | {record.id for record in scan.evaluated}
    assert scan.observe(scan.calibration)[Trajectory(epochs=EPOCHS)].shape[0] == len(fitted_on)


def test_a_dry_run_counts_the_students(options: ScanOptions) -> None:
    with_students = look_ahead(plan_scan(options, Progress()))
    n_apart = with_students.n_calibration
    assert n_apart > 0
    n_evaluated = with_students.n_members + with_students.n_nonmembers
    assert with_students.n_calls == n_evaluated * with_students.calls_per_record + n_apart


def test_models_fitted_in_one_go_have_no_trajectory(options: ScanOptions) -> None:
    changed = dataclasses.replace(options, train="training_of_students:tree")
    scan: Any = plan_scan(changed, Progress())
    (left_out,) = scan.plan.inapplicable
    assert left_out.attack == "trajectory"
    assert "torch recipe" in left_out.reason
    assert scan.splits.calibration_nonmembers == ()
    assert len(scan.splits.nonmembers) == N_NONMEMBERS


def test_too_few_records_to_learn_from_are_refused_early(options: ScanOptions) -> None:
    with pytest.raises(DataError, match="at least 10 nonmembers"):
        plan_scan(dataclasses.replace(options, limit=40), Progress())
