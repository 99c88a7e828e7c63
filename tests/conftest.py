"""Real data and small real pipelines that tests share."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

os.environ.setdefault("GOMP_SPINCOUNT", "30000")  # before torch is imported
SHARED_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what needs the development data where they are absent."""
    if SHARED_DATA.is_dir():
        return
    skip = pytest.mark.skip(reason="the development data sets are not beside the checkout")
    for item in items:
        if "shared_data" in item.keywords:
            item.add_marker(skip)


@pytest.fixture(autouse=True)
def private_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch):
    """Every test has a cache of its own and no way to a model hub."""
    monkeypatch.setenv("AUDITOR_CACHE", str(tmp_path_factory.mktemp("cache")))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


@pytest.fixture(scope="session")
def digits() -> NDArray[np.uint8]:
    """(1797, 8, 8) handwritten digits with values in 0..255, in a fixed random order."""
    from sklearn.datasets import load_digits

    images = (load_digits().images / 16 * 255).round().astype(np.uint8)
    return images[np.random.default_rng(0).permutation(len(images))]


def write_images(
    folder: Path, images: Sequence[NDArray[np.uint8]], captions: Sequence[str] | None = None
) -> Path:
    """Write images as PNG files, with metadata.jsonl if there are captions."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for i, image in enumerate(images):
        Image.fromarray(image).save(folder / f"{i:05d}.png")
        if captions is not None:
            rows.append(json.dumps({"file_name": f"{i:05d}.png", "text": captions[i]}))
    if captions is not None:
        (folder / "metadata.jsonl").write_text("\n".join(rows) + "\n", encoding="utf-8")
    return folder


def pixel_unet(**changes):
    """An untrained U-Net for 8x8 grey images."""
    from diffusers import UNet2DModel

    settings = {
        "sample_size": 8,
        "in_channels": 1,
        "out_channels": 1,
        "block_out_channels": (16, 32),
        "layers_per_block": 1,
        "down_block_types": ("DownBlock2D", "AttnDownBlock2D"),
        "up_block_types": ("AttnUpBlock2D", "UpBlock2D"),
        "norm_num_groups": 8,
        "attention_head_dim": 8,
    }
    return UNet2DModel(**(settings | changes))


@pytest.fixture(scope="session")
def pixel_pipeline(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An untrained pixel-space DDPM pipeline on disk."""
    return save_pixel_pipeline(tmp_path_factory.mktemp("ddpm") / "pixel-ddpm")


def save_pixel_pipeline(folder: Path, seed: int = 0, unet=None, **scheduler) -> Path:
    """Save a DDPM pipeline around a U-Net (untrained unless given)."""
    import torch
    from diffusers import DDPMPipeline, DDPMScheduler

    torch.manual_seed(seed)
    pipeline = DDPMPipeline(unet or pixel_unet(), DDPMScheduler(1000, **scheduler))
    pipeline.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def text_pipeline(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An untrained pipeline in the style of Stable Diffusion on disk."""
    from auditor.demo.train import new_pipeline

    folder = tmp_path_factory.mktemp("sd")
    new_pipeline(folder / "tokenizer", 0).save_pretrained(folder / "tiny-sd")
    return folder / "tiny-sd"


@pytest.fixture
def records_of(tmp_path: Path) -> Callable[..., tuple]:
    """Records of images, read back through the real reader."""
    from auditor.records import load_splits

    def read(members, nonmembers, captions=None):
        split = load_splits(
            write_images(tmp_path / "members", members, captions and captions[: len(members)]),
            write_images(
                tmp_path / "nonmembers", nonmembers, captions and captions[len(members) :]
            ),
        )
        return split.members, split.nonmembers

    return read
