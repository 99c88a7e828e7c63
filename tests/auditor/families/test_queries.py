"""Several queries of a picture: target and shadow models are asked about the same versions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

from attacks.errors import UsageError
from attacks.observations import Logits, ShadowConfidence
from attacks.signals import phi
from auditor.families.classifier import ClassifierScan
from auditor.observe.augment import augmented
from auditor.progress import Progress
from auditor.scan import ScanOptions, plan_scan, run_scan

N = 70
"""Members, and nonmembers."""


@pytest.fixture
def options(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ScanOptions:
    """A small network trained on pictures of digits, in folders by class."""
    import torch
    from safetensors.torch import save_file

    images, labels = load_digits(return_X_y=True)
    for side, start in (("members", 0), ("nonmembers", N)):
        for i in range(start, start + N):
            folder = tmp_path / side / f"d{labels[i]}"
            folder.mkdir(parents=True, exist_ok=True)
            pixels = (images[i].reshape(8, 8) * 15).astype(np.uint8)
            Image.fromarray(pixels).save(folder / f"{i}.png")
    (tmp_path / "training_of_queries.py").write_text(
        "import torch\n"
        "from auditor.shadows import TorchRecipe\n"
        "def network():\n"
        "    return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 10))\n"
        "def recipe():\n"
        "    return TorchRecipe(network, 'adam', {'lr': 1e-2}, steps=20, batch_size=32)\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.chdir(tmp_path)
    module = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 10))
    save_file(module.state_dict(), tmp_path / "network.safetensors")
    config = tmp_path / "config.yaml"
    config.write_text(
        "classes: [d0, d1, d2, d3, d4, d5, d6, d7, d8, d9]\n"
        "attack_options: {lira: {queries: 4}, rmia: {queries: 2}}"
    )
    return ScanOptions(
        model=str(tmp_path / "network.safetensors"),
        members=tmp_path / "members",
        nonmembers=tmp_path / "nonmembers",
        out=tmp_path / "audit",
        cache=tmp_path / "cache",
        config=config,
        attacks=("lira", "rmia"),
        factory="training_of_queries:network",
        train="training_of_queries:recipe",
        shadows=4,
        device="cpu",
    )


def test_every_version_is_asked_of_target_and_shadow_models(options: ScanOptions) -> None:
    from auditor.shadows import RecipeTrainer

    scan: Any = plan_scan(options, Progress())
    assert isinstance(scan, ClassifierScan)
    assert scan.plan.calls_per_record == 4 + 2
    found = scan.observe(scan.evaluated)
    positions = [record.position for record in scan.evaluated]
    inputs, classes = scan.splits.table.inputs(positions), scan.classes[positions]
    logits = found[Logits(queries=4)]
    confidence = found[ShadowConfidence(queries=4)]
    assert confidence.shape == (len(positions), 4, 4)
    assert found[ShadowConfidence(queries=2)] == pytest.approx(confidence[:, :, :2])
    shadows = scan.shadows
    assert shadows.keep[:, len(positions) :].sum() == 0
    trainer = RecipeTrainer(scan.recipe, 10, "cpu")
    keep = shadows.keep[:, : len(positions)]
    models = trainer.train(inputs, classes, keep, shadows.seeds)
    for query in range(4):
        version = augmented(inputs, query)
        np.testing.assert_allclose(logits[:, query], scan.target.logits(version), atol=1e-5)
        for m, model in enumerate(models):
            expected = phi(model.logits(version), classes)
            np.testing.assert_allclose(confidence[:, m, query], expected, atol=1e-3)


def test_a_scan_with_several_queries_comes_to_an_end(options: ScanOptions) -> None:
    result = run_scan(plan_scan(options, Progress()), Progress())
    assert {finding.attack for finding in result.record.findings} == {"lira", "rmia"}
    assert result.record.shadow_curve


def test_more_versions_than_there_are_is_refused(options: ScanOptions) -> None:
    assert options.config is not None
    text = options.config.read_text().replace("queries: 4", "queries: 19")
    options.config.write_text(text)
    with pytest.raises(UsageError, match="these records have 18"):
        plan_scan(options, Progress())
