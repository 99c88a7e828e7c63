import json

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionPipeline

from attacks.errors import UsageError
from auditor.demo import TARGETS, materialise
from auditor.demo.assets import ASSETS
from auditor.demo.train import round_to_half

MEGABYTE = 1_000_000


@pytest.fixture(scope="module", params=TARGETS)
def pipeline(request, tmp_path_factory) -> StableDiffusionPipeline:
    directory = materialise(request.param, tmp_path_factory.mktemp(request.param))
    return StableDiffusionPipeline.from_pretrained(directory, local_files_only=True)


def test_all_bundled_files_take_at_most_four_megabytes():
    assert sum(path.stat().st_size for path in ASSETS.rglob("*") if path.is_file()) <= 4 * MEGABYTE


def test_bundled_files_have_packaged_suffixes():
    suffixes = {path.suffix for path in ASSETS.rglob("*") if path.is_file()}
    assert suffixes <= {".json", ".txt", ".safetensors"}


def test_generates_a_finite_image_in_single_precision(pipeline):
    pipeline.set_progress_bar_config(disable=True)
    generator = torch.Generator().manual_seed(0)
    output = pipeline(
        "a handwritten six, bold red ink",
        num_inference_steps=10,
        generator=generator,
        output_type="np",
    )
    assert output.images.shape == (1, 32, 32, 3)
    assert np.isfinite(output.images).all()
    assert output.images.std() > 0.1
    assert pipeline.text_encoder.dtype == pipeline.unet.dtype == torch.float32


def test_special_ids_of_encoder_and_tokenizer_agree(pipeline):
    for name in ("bos_token_id", "eos_token_id", "pad_token_id"):
        assert getattr(pipeline.text_encoder.config, name) == getattr(pipeline.tokenizer, name)
    assert pipeline.text_encoder.config.vocab_size == len(pipeline.tokenizer)


def test_weights_lie_in_half_precision(pipeline):
    for part in (pipeline.unet, pipeline.vae, pipeline.text_encoder):
        before = {name: value.clone() for name, value in part.state_dict().items()}
        after = round_to_half(part).state_dict()
        assert all(torch.equal(after[name], value) for name, value in before.items())


def test_text_encoder_reads_its_stored_weights(pipeline):
    """The stored names must be understood: a silent mismatch would leave random weights."""
    again = StableDiffusionPipeline.from_pretrained(
        pipeline.config._name_or_path, local_files_only=True
    )
    for (name, one), two in zip(
        pipeline.text_encoder.named_parameters(), again.text_encoder.parameters(), strict=True
    ):
        assert torch.equal(one, two), name


def test_copies_are_ordinary_files(tmp_path):
    directory = materialise("clean", tmp_path / "new" / "clean")
    index = json.loads((directory / "model_index.json").read_text(encoding="utf-8"))
    assert index["_class_name"] == "StableDiffusionPipeline"
    assert not any(path.is_symlink() for path in directory.rglob("*"))


def test_targets_differ_in_their_unet_alone(tmp_path):
    files = {
        name: {
            str(path.relative_to(directory)): path.read_bytes()
            for path in directory.rglob("*")
            if path.is_file()
        }
        for name in TARGETS
        for directory in [materialise(name, tmp_path / name)]
    }
    one, two = files.values()
    assert {name for name in one if one[name] != two[name]} == {
        "unet/diffusion_pytorch_model.safetensors"
    }


def test_an_unknown_name_is_refused(tmp_path):
    with pytest.raises(UsageError, match="choose one of memorized, clean"):
        materialise("clear", tmp_path)
