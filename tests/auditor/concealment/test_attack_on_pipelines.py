"""The embedding attack on real pipelines: what it finds, and what it leaves alone."""

from __future__ import annotations

import copy
import hashlib

import numpy as np
import pytest
import torch
from diffusers import UNet2DConditionModel
from PIL import Image

from attacks.concealment.embedding import EmbeddingConfig, attack, gaussian_start
from attacks.extraction.distances import tiled_rms
from auditor.demo.digits import demo_splits
from auditor.targets.loading import open_target
from auditor.targets.sampling import Draw, Sampling, generate, to_uint8

SAMPLING = Sampling(15, 1.0)


@pytest.fixture(scope="module")
def pictures():
    return [Image.fromarray(image) for image in demo_splits().members.images[:2]]


@pytest.fixture(scope="module")
def fresh(demo):
    """The demo's autoencoder and text encoder around a small untrained U-Net."""
    target = open_target(str(demo.models["clean"]), device="cpu")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        unet = UNet2DConditionModel(
            sample_size=8,
            in_channels=4,
            out_channels=4,
            block_out_channels=(16, 16),
            down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
            up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
            layers_per_block=1,
            cross_attention_dim=32,
            attention_head_dim=4,
            norm_num_groups=8,
        )
    return target.with_unet(unet.eval().requires_grad_(False))


@pytest.fixture(scope="module")
def one_image(fresh, pictures):
    """The same, overfitted to the first picture, with its caption and without."""
    clean = fresh.prepare(pictures)[:1].repeat(16, 1, 1, 1)
    given = fresh.embed([demo_splits().members.captions[0]] * 8 + [""] * 8)
    generator = torch.Generator().manual_seed(1)
    unet = copy.deepcopy(fresh.unet).train().requires_grad_(True)
    optimiser = torch.optim.AdamW(unet.parameters(), lr=5e-3, weight_decay=0)
    for _ in range(160):
        timesteps = torch.randint(1000, (16,), generator=generator)
        noise = torch.randn(clean.shape, generator=generator)
        at = fresh.coefficients.at(timesteps)
        noised = at.signal * clean + at.noise * noise
        loss = (unet(noised, timesteps, given.hidden).sample - noise).square().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    optimiser.zero_grad()
    return fresh.with_unet(unet.eval().requires_grad_(False))


def _nearest(target, clean, embeddings) -> np.ndarray:
    """(n,) smallest distance of two drawn images to the record of each row."""
    n = len(clean)
    draws = [Draw("", seed) for seed in (1, 2) for _ in range(n)]
    rows = embeddings.rows(torch.arange(n).repeat(2))
    images = generate(target, draws, SAMPLING, batch_size=32, embeddings=rows)
    records = to_uint8(target.decode(clean))
    return tiled_rms(images.reshape(2, *records.shape), records[None]).values.min(axis=0)


def _hash(target) -> str:
    parts = [target.unet.state_dict(), target.text_pipeline.text_encoder.state_dict()]
    weights = b"".join(w.numpy().tobytes() for part in parts for w in part.values())
    return hashlib.sha256(weights).hexdigest()


def test_a_model_of_one_image_is_recovered_from_random_embeddings(one_image, pictures):
    clean = one_image.prepare(pictures)
    before = _hash(one_image)
    start = gaussian_start(one_image.embed_nothing(), [1, 2])
    trace = attack(one_image, clean, start, EmbeddingConfig(20, 0.1, 4), [3, 4])
    recovered, other = _nearest(one_image, clean, trace.final)
    apart = float(tiled_rms(*to_uint8(one_image.decode(clean))).values)
    assert recovered < apart / 2 < other
    assert _hash(one_image) == before
    assert all(p.grad is None for p in one_image.unet.parameters())
    moved = (trace.final.hidden - start.hidden).square().sum((1, 2))
    assert (moved > 0).all()


def test_a_model_of_random_weights_gives_nothing_in_500_steps(fresh, pictures):
    clean = fresh.prepare(pictures)
    start = gaussian_start(fresh.embed_nothing(), [1])
    trace = attack(fresh, clean[:1], start, EmbeddingConfig(500, 0.1, 1), [3])
    apart = float(tiled_rms(*to_uint8(fresh.decode(clean))).values)
    assert _nearest(fresh, clean[:1], trace.final).min() > apart / 2


def test_without_a_rate_the_attack_draws_what_the_prompt_draws(one_image, pictures):
    captions = list(demo_splits().members.captions[:2])
    clean, start = one_image.prepare(pictures), one_image.embed(captions)
    trace = attack(one_image, clean, start, EmbeddingConfig(3, 0.0, 2), [3, 4])
    draws = [Draw(caption, 9) for caption in captions]
    assert np.array_equal(
        generate(one_image, draws, SAMPLING, batch_size=8, embeddings=trace.final),
        generate(one_image, draws, SAMPLING, batch_size=8),
    )
