"""`auditor mitigate`: a whole pipeline out, with every bit that was not changed, or nothing."""

from __future__ import annotations

import hashlib
import json

import pytest
import torch
from diffusers import StableDiffusionPipeline
from safetensors.torch import load_file, save_file
from typer.testing import CliRunner

from auditor.cli import app
from auditor.mitigate import MitigateOptions, mitigate
from auditor.mitigate.write import blended
from auditor.targets.loading import open_target
from mitigations.record import read_record

UNET = "unet/diffusion_pytorch_model.safetensors"
PRUNE = ("sparsity=0.05", "first_steps=2")


def run(*words):
    return CliRunner().invoke(app, ["mitigate", *map(str, words)])


@pytest.fixture(scope="module")
def prompts(tmp_path_factory):
    path = tmp_path_factory.mktemp("prompts") / "prompts.txt"
    path.write_text("a handwritten five\na handwritten zero\n", encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def pruned(demo, prompts, tmp_path_factory):
    out = tmp_path_factory.mktemp("mitigated") / "pruned"
    model = str(demo.models["memorized"])
    done = mitigate(MitigateOptions("prune", model, out, prompts=prompts, option=PRUNE))
    return done


def test_what_was_not_changed_keeps_its_bits(demo, pruned):
    base = demo.models["memorized"]
    for path in (p for p in base.rglob("*") if p.is_file()):
        name = path.relative_to(base).as_posix()
        if name != UNET:
            assert (pruned.out / name).read_bytes() == path.read_bytes()
    before, after = load_file(base / UNET), load_file(pruned.out / UNET)
    assert before.keys() == after.keys()
    assert pruned.record.changed
    for name, value in before.items():
        assert after[name].dtype == value.dtype
        n_changed, n_all = pruned.record.changed.get(name, (0, value.numel()))
        assert (int((after[name] != value).sum()), value.numel()) == (n_changed, n_all)


def test_hashes_cover_what_is_published_and_the_pipeline_draws(pruned):
    lines = (pruned.out / "SHA256SUMS").read_text().splitlines()
    listed = {name: digest for digest, name in (line.split("  ") for line in lines)}
    there = {p.relative_to(pruned.out).as_posix() for p in pruned.out.rglob("*") if p.is_file()}
    assert there == {*listed, "SHA256SUMS"}
    for name, digest in listed.items():
        assert hashlib.sha256((pruned.out / name).read_bytes()).hexdigest() == digest
    pipeline = StableDiffusionPipeline.from_pretrained(pruned.out, safety_checker=None)
    pipeline.set_progress_bar_config(disable=True)
    assert pipeline("a handwritten five", num_inference_steps=2, output_type="np").images.any()


def test_a_second_mitigation_keeps_the_first_and_both_are_declared(pruned, tmp_path):
    out = tmp_path / "twice"
    mitigate(MitigateOptions("delayed_guidance", str(pruned.out), out))
    record = read_record(out)
    assert [one.name for one in record.chain] == ["prune", "delayed_guidance"]
    assert not record.changed
    assert (out / UNET).read_bytes() == (pruned.out / UNET).read_bytes()
    target = open_target(str(out), device="cpu")
    assert target.filter is not None
    assert target.filter_key
    assert target.key == open_target(str(pruned.out), device="cpu").key
    refused = run("opposite_guidance", out, "--out", tmp_path / "thrice")
    assert refused.exit_code == 2
    assert "already has delayed_guidance" in refused.stderr


def test_an_index_of_members_is_private(demo, tmp_path):
    out = tmp_path / "amg"
    members = demo.records.nonmembers
    done = run("anti_memorization_guidance", demo.models["memorized"], "--members", members,
               "--out", out, "--json")  # fmt: skip
    assert done.exit_code == 0, done.stderr
    record = json.loads(done.stdout)
    private = out / record["private"]
    assert private.stat().st_mode & 0o077 == 0
    assert private.parent.stat().st_mode & 0o077 == 0
    assert "private" not in (out / "SHA256SUMS").read_text()
    index = load_file(private)["index"]
    assert index.shape == (record["facts"]["indexed_members"], 64)
    private.write_bytes(private.read_bytes()[:-1] + b"!")
    again = run("prompt_adjust", out, "--option", "target=1.0", "--out", tmp_path / "more")
    assert again.exit_code == 2
    assert "changed or damaged" in again.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["prune"], "needs --masks or --prompts"),
        (["prune", "--members", "x"], "needs --masks"),
        (["anti_memorization_guidance"], "needs --members"),
        (["delayed_guidance", "--prompts", "x"], "does not use --prompts"),
        (["prompt_adjust"], "needs --reference"),
        (["delayed_guidance", "--option", "t"], "is not SETTING=VALUE"),
        (["delayed_guidance", "--option", "tt=3"], "unknown option 'tt'"),
        (["nothing"], "unknown mitigation 'nothing'"),
    ],
)
def test_what_is_missing_or_wrong_is_one_sentence(demo, tmp_path, words, said):
    out = tmp_path / "out"
    done = run(words[0], demo.models["memorized"], *words[1:], "--out", out)
    assert done.exit_code == 2
    assert any(part in done.stderr for part in said.split("|"))
    assert not out.exists()
    assert not list(tmp_path.iterdir())


def test_nothing_is_overwritten_and_a_dry_run_writes_nothing(demo, pruned, tmp_path):
    model = demo.models["memorized"]
    assert run("delayed_guidance", model, "--out", pruned.out).exit_code == 2
    assert run("delayed_guidance", model, "--out", model / "inside").exit_code == 2
    done = run("delayed_guidance", model, "--out", tmp_path / "out", "--dry-run")
    assert done.exit_code == 0
    assert not list(tmp_path.iterdir())


def test_a_model_without_text_is_refused(pixel_pipeline, tmp_path):
    done = run("delayed_guidance", pixel_pipeline, "--out", tmp_path / "out")
    assert done.exit_code == 2
    assert "takes no text" in done.stderr


def test_half_precision_keeps_its_bits_where_nothing_changed():
    stored = torch.tensor([0.1, 0.2, 0.3], dtype=torch.float16)
    new = stored.float()
    new[1] = 0
    found = blended(stored, new)
    assert found.dtype == torch.float16
    assert torch.equal(found[[0, 2]], stored[[0, 2]])
    assert found[1] == 0


def test_unchanged_copies_of_the_weights_are_left_behind(demo, prompts, tmp_path):
    import shutil

    model = shutil.copytree(demo.models["memorized"], tmp_path / "model")
    half = {k: v.half() for k, v in load_file(model / UNET).items()}
    save_file(half, model / "unet" / "diffusion_pytorch_model.fp16.safetensors")
    (model / "unet" / "diffusion_pytorch_model.bin").write_bytes(b"the unchanged model")
    save_file(half, model / "whole.safetensors")
    out = tmp_path / "out"
    done = mitigate(MitigateOptions("prune", str(model), out, prompts=prompts, option=PRUNE))
    assert not (out / "whole.safetensors").exists()
    assert not (out / "unet" / "diffusion_pytorch_model.bin").exists()
    variant = load_file(out / "unet" / "diffusion_pytorch_model.fp16.safetensors")
    whole = load_file(out / UNET)
    for name in done.record.changed:
        assert torch.equal(variant[name] == 0, whole[name].half() == 0)
        assert variant[name].dtype == torch.float16


def test_the_words_never_say_that_anything_is_gone(pruned):
    text = (pruned.out / "mitigation.md").read_text()
    assert "suppressed for the audited prompts; run `auditor scan concealment`" in text
    assert "erased" not in text.replace("is not erased", "")
    assert "removed" not in text
