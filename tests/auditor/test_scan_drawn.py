"""A scan with attacks on drawn images: cost told beforehand, blind twins, reasons."""

from __future__ import annotations

import pytest
import yaml

from auditor.outlook import look_ahead
from auditor.progress import Progress
from auditor.scan import ScanOptions, plan_scan, run_scan

SETTINGS = {"r": 1, "steps": 2, "guidance": 1.0}


@pytest.fixture(scope="module")
def options(demo, tmp_path_factory):
    root = tmp_path_factory.mktemp("drawn")
    settings = {name: SETTINGS for name in ("wu_recon_pixel", "wu_combined")}
    (root / "config.yaml").write_text(yaml.safe_dump({"attack_options": settings}))
    return ScanOptions(
        model=str(demo.models["memorized"]),
        members=demo.records.members,
        nonmembers=demo.records.nonmembers,
        out=root / "audit",
        attacks=("sima", "wu_recon_pixel", "wu_faithful", "wu_combined"),
        config=root / "config.yaml",
        limit=60,
        cache=root / "cache",
        device="cpu",
    )


def test_the_plan_tells_what_drawing_costs(options):
    outlook = look_ahead(plan_scan(options, Progress()))
    assert outlook.calls_per_record == 1 + 2
    assert outlook.drawing_calls_per_record == 2
    assert outlook.n_calls - outlook.n_control_calls == 3 * 120
    assert "`encoder` in the configuration file" in outlook.inapplicable["wu_faithful"]


def test_each_attack_stands_beside_its_blind_twin(options):
    record = run_scan(plan_scan(options, Progress()), Progress()).record
    found = {finding.attack: finding for finding in record.findings}
    assert list(found) == ["sima", "wu_recon_pixel", "wu_combined"]
    for name, finding in found.items():
        twins = [warning for warning in finding.warnings if "blind twin" in warning]
        assert len(twins) == (name != "sima")
        assert all("without the model, has AUC 0." in twin for twin in twins)
    assert found["wu_combined"].access == "black-box"
    assert "images from the model" in found["wu_combined"].knowledge
    names = ("sima", "wu_recon_pixel", "wu_combined")
    (positive,) = [c for c in record.controls if c.name == "positive"]
    assert {f"dose_{name}" for name in names} <= set(positive.figures)


def test_an_unconditional_model_has_no_captions_to_draw(pixel_pipeline, options):
    from auditor.observe.plan import make_plan
    from auditor.targets.loading import open_target

    target = open_target(str(pixel_pipeline), device="cpu")
    plan = make_plan(options.attacks, target.capabilities)
    assert {skipped.attack for skipped in plan.inapplicable} == set(options.attacks) - {"sima"}
    assert all("text-conditional" in skipped.reason for skipped in plan.inapplicable)
