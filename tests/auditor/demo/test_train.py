import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from diffusers import StableDiffusionPipeline

from auditor.demo.assets import ASSETS, materialise
from auditor.demo.components import new_unet
from auditor.demo.digits import demo_splits
from auditor.demo.train import Encoded, TrainingConfig, encode, fit_unet, new_pipeline, train_demo

SHORT = TrainingConfig(autoencoder_steps=2, unet_steps=2, autoencoder_batch=4, unet_batch=4)


def weights(directory: Path) -> dict[str, bytes]:
    paths = directory.rglob("*.safetensors")
    return {str(path.relative_to(directory)): path.read_bytes() for path in paths}


def test_runs_end_to_end_as_a_program(tmp_path):
    command = [sys.executable, "-m", "auditor.demo.train", str(tmp_path / "out"), "--steps", "3"]
    subprocess.run(command, check=True, capture_output=True)
    directory = materialise("memorized", tmp_path / "pipeline", assets=tmp_path / "out")
    pipeline = StableDiffusionPipeline.from_pretrained(directory, local_files_only=True)
    image = pipeline("a handwritten one", num_inference_steps=2).images[0]
    assert image.size == (32, 32)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("trained")
    train_demo(directory, SHORT)
    return directory


def test_writes_the_files_that_are_bundled(trained):
    written, bundled = (
        {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()}
        for root in (trained, ASSETS)
    )
    assert written == bundled


def test_the_bundled_shared_files_come_from_the_default_seed(trained):
    """What no training changes is the same whatever the number of steps."""
    for name in ("text_encoder/model.safetensors", "tokenizer/vocab.json", "tokenizer/merges.txt"):
        assert (trained / "shared" / name).read_bytes() == (ASSETS / "shared" / name).read_bytes()


def test_same_seed_gives_the_same_weights(trained, tmp_path):
    train_demo(tmp_path, SHORT)
    assert weights(tmp_path) == weights(trained)


def test_another_seed_gives_other_weights(tmp_path):
    one, two = (new_pipeline(tmp_path / str(seed), seed).unet.conv_in.weight for seed in (0, 1))
    assert not torch.equal(one, two)


@pytest.fixture(scope="module")
def one_batch() -> Encoded:
    generator = torch.Generator().manual_seed(0)
    return Encoded(
        torch.randn(8, 4, 8, 8, generator=generator),
        torch.randn(8, 16, 32, generator=generator),
        torch.randn(1, 16, 32, generator=generator),
    )


def test_training_lowers_the_noise_prediction_error(tmp_path, one_batch):
    pipeline = new_pipeline(tmp_path, seed=0)
    unet, t = pipeline.unet, torch.full((8,), 500)
    noise = torch.randn(one_batch.latents.shape, generator=torch.Generator().manual_seed(1))
    noisy = pipeline.scheduler.add_noise(one_batch.latents, noise, t)

    @torch.no_grad()
    def error() -> float:
        return (unet(noisy, t, one_batch.embeddings).sample - noise).square().mean().item()

    before = error()
    config = replace(SHORT, unet_steps=30, unet_batch=16, ema_decay=0.5)
    fit_unet(unet, one_batch, pipeline.scheduler, config)
    assert error() < 0.95 * before


def test_planted_records_are_encoded_once_per_repeat(tmp_path):
    pipeline = new_pipeline(tmp_path, seed=0)
    encoded = encode(pipeline, demo_splits().members)
    assert encoded.latents.shape == (450 + 12 * 49, 4, 8, 8)
    assert encoded.embeddings.shape == (450 + 12 * 49, 16, 32)
    assert len(torch.unique(encoded.latents.flatten(1), dim=0)) == 450


def test_the_unet_is_small():
    assert sum(p.numel() for p in new_unet().parameters()) < 800_000
