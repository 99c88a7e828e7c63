"""`auditor mitigate` from a model to a changed model, and the audit that knows of it."""

from __future__ import annotations

import hashlib
import json

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionPipeline
from safetensors.torch import load_file
from typer.testing import CliRunner

from attacks.probing.masks import Masks, PackedMask
from auditor.cli import app
from auditor.observe.feed_forward import feed_forward_layers
from auditor.progress import Progress
from auditor.scan import ScanOptions, plan_scan
from auditor.targets.loading import open_target
from mitigations.record import MitigationRecord


def run(*words):
    return CliRunner().invoke(app, [str(word) for word in words])


def flat(result) -> str:
    return " ".join(result.output.split())


@pytest.fixture(scope="module")
def model(demo):
    return demo.models["memorized"]


@pytest.fixture(scope="module")
def masks(model, tmp_path_factory):
    target = open_target(str(model), device="cpu")
    rng = np.random.default_rng(0)
    layers = {
        name: PackedMask.pack(rng.random(tuple(layer.weight.shape)) < 0.05)
        for name, layer in feed_forward_layers(target.unet).items()
    }
    folder = tmp_path_factory.mktemp("masks")
    (folder / "masks.safetensors").write_bytes(Masks((layers,), layers).to_bytes())
    return folder


@pytest.fixture(scope="module")
def pruned(model, masks, tmp_path_factory):
    out = tmp_path_factory.mktemp("mitigated") / "pruned"
    result = run("mitigate", "prune", model, "--masks", masks, "--out", out, "--device", "cpu")
    assert result.exit_code == 0, result.output
    return out


@pytest.fixture(scope="module")
def filtered(pruned):
    """A filter on top of the pruned model."""
    out = pruned.parent / "filtered"
    result = run(
        "mitigate", "delayed_guidance", pruned, "--out", out, "--option", "t=400", "--json"
    )
    assert result.exit_code == 0, result.output
    return out


def test_every_weight_outside_the_change_keeps_its_bits(model, pruned, masks):
    record = MitigationRecord.model_validate_json((pruned / "mitigation.json").read_bytes())
    marked = Masks.from_bytes((masks / "masks.safetensors").read_bytes()).whole()
    for path in sorted(model.rglob("*.safetensors")):
        before, after = load_file(path), load_file(pruned / path.relative_to(model))
        assert set(before) == set(after)
        for name, value in before.items():
            assert after[name].dtype == value.dtype
            mask = marked.get(name.removesuffix(".weight"))
            if mask is None or path.parent.name != "unet":
                assert torch.equal(after[name], value)
                continue
            kept = ~torch.from_numpy(mask)
            assert torch.equal(after[name][kept], value[kept])
            assert (after[name][~kept] == 0).all()
            changed = int((after[name] != value).sum())
            assert record.changed[name] == (changed, value.numel())
    total = sum(n for n, _ in record.changed.values())
    assert record.facts["weights_zeroed"] >= total > 0


def test_the_pipeline_loads_in_plain_diffusers_and_draws(pruned):
    pipeline = StableDiffusionPipeline.from_pretrained(pruned, safety_checker=None)
    pipeline.set_progress_bar_config(disable=True)
    image = pipeline("a digit", num_inference_steps=2, output_type="np").images[0]
    assert np.isfinite(image).all()
    assert image.std() > 0


def test_every_file_has_its_hash(filtered):
    lines = (filtered / "SHA256SUMS").read_text().splitlines()
    listed = dict(reversed(line.split("  ")) for line in lines)
    files = {str(p.relative_to(filtered)) for p in filtered.rglob("*") if p.is_file()}
    assert files - {"SHA256SUMS"} == set(listed)
    for name, digest in listed.items():
        assert hashlib.sha256((filtered / name).read_bytes()).hexdigest() == digest


def test_the_record_names_what_the_model_already_had(filtered):
    record = MitigationRecord.model_validate_json((filtered / "mitigation.json").read_bytes())
    assert [one.name for one in record.chain] == ["prune", "delayed_guidance"]
    assert (record.config["t"], record.changed) == (400, {})
    summary = (filtered / "mitigation.md").read_text()
    assert "Subspace pruning (MIT009)" in summary
    for word in ("removed", "erased"):
        assert word not in summary.lower()


def test_the_next_audit_knows_and_counts_low_scores_as_leaks(filtered, demo, tmp_path):
    options = ScanOptions(
        model=str(filtered),
        members=demo.records.members,
        nonmembers=demo.records.nonmembers,
        out=tmp_path / "out",
        cache=tmp_path / "cache",
        device="cpu",
        attacks=("sima",),
        limit=40,
    )
    planned = plan_scan(options, Progress())
    assert planned.policy.target_declares_mitigation
    declared = planned.describe_target(None).mitigations
    assert [one.id for one in declared] == ["MIT009", "MIT007"]
    assert not plan_scan(
        ScanOptions(**{**vars_of(options), "model": str(demo.models["clean"])}), Progress()
    ).policy.target_declares_mitigation


def vars_of(options):
    import dataclasses

    return {field.name: getattr(options, field.name) for field in dataclasses.fields(options)}


def test_a_filter_acts_on_drawn_images_and_not_on_weights(pruned, filtered):
    with_filter, without = (open_target(str(m), device="cpu") for m in (filtered, pruned))
    assert with_filter.key == without.key, "what attacks on the weights see is the same"
    assert with_filter.filter_key
    assert not without.filter_key


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        (["prun"], "did you mean 'prune'"),
        (["prune"], "prune needs --masks"),
        (["delayed_guidance", "--prompts", "p.txt"], "does not use --prompts"),
        (["delayed_guidance", "--option", "t"], "is not SETTING=VALUE"),
        (["delayed_guidance", "--option", "tt=1"], "unknown option 'tt'"),
        (["delayed_guidance", "--option", "t=-1"], "at least 0"),
        (["prompt_adjust"], "needs --reference"),
        (["anti_memorization_guidance"], "needs --members"),
    ],
)
def test_what_is_missing_or_wrong_is_one_sentence(model, tmp_path, words, wanted):
    (tmp_path / "p.txt").write_text("a digit\n")
    words = [str(tmp_path / w) if w == "p.txt" else w for w in words]
    result = run("mitigate", words[0], model, "--out", tmp_path / "o", *words[1:])
    assert result.exit_code == 2, result.output
    assert wanted in flat(result)
    assert not (tmp_path / "o").exists()
    assert [p.name for p in tmp_path.iterdir()] == ["p.txt"]


def test_nothing_is_overwritten_and_models_without_prompts_are_refused(
    model, pruned, masks, tmp_path
):
    again = run("mitigate", "prune", model, "--masks", masks, "--out", pruned)
    assert again.exit_code == 2
    assert "never overwritten" in flat(again)
    inside = run("mitigate", "prune", model, "--masks", masks, "--out", model / "new")
    assert inside.exit_code == 2
    assert "inside the model" in flat(inside)


def test_an_interruption_leaves_nothing(model, masks, tmp_path, monkeypatch):
    def interrupted(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr("auditor.mitigate.write.summary", interrupted)
    out = tmp_path / "o"
    result = run("mitigate", "prune", model, "--masks", masks, "--out", out)
    assert result.exit_code == 130
    assert not list(tmp_path.iterdir())


def test_a_dry_run_reads_everything_and_writes_nothing(model, masks, tmp_path):
    words = ("mitigate", "prune", model, "--masks", masks, "--out", tmp_path / "o", "--dry-run")
    plan = json.loads(run(*words, "--json").output)
    assert plan["mitigation"]["id"] == "MIT009"
    assert (plan["config"]["mask"], plan["config"]["control"]) == ("whole", "none")
    assert not (tmp_path / "o").exists()


def test_a_damaged_record_stops_every_use_of_the_model(filtered, tmp_path):
    import shutil

    broken = tmp_path / "broken"
    shutil.copytree(filtered, broken)
    (broken / "mitigation.json").write_text("{}")
    result = run("mitigate", "delayed_guidance", broken, "--out", tmp_path / "o")
    assert result.exit_code == 2
    assert "no mitigation record" in flat(result)


def test_the_catalogue_lists_and_explains_them():
    listed = json.loads(run("list", "--mitigations", "--json").output)
    assert {"prune", "prompt_adjust", "delayed_guidance"} <= {one["name"] for one in listed}
    for name in ("prune", "MIT003"):
        explained = run("explain", name)
        assert explained.exit_code == 0
        assert "auditor mitigate" in explained.output
