"""A model that takes no text: two digits that it saw 200 times come back, the rest does not."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional

from attacks.extraction.generate_and_filter import ExtractionConfig
from auditor.extraction import Extraction
from auditor.records import load_splits
from auditor.targets.loading import open_target
from tests.conftest import pixel_unet, save_pixel_pipeline, write_images

N_MEMBERS, N_REPEATED, COPIES = 40, 2, 200
DRAWN = ExtractionConfig(prompts=64, seeds=2, steps=20, guidance=1.0, refined=0)
UPDATES, BATCH, RATE = 320, 32, 6e-3


def _trained(train):
    """A small U-Net after a few hundred updates, at the noise levels that are drawn through."""
    from diffusers import DDPMScheduler

    torch.manual_seed(0)
    unet = pixel_unet(
        block_out_channels=(32,), down_block_types=("DownBlock2D",),
        up_block_types=("UpBlock2D",), add_attention=False,
    )  # fmt: skip
    clean = torch.tensor(train / 127.5 - 1, dtype=torch.float32)[:, None]
    scheduler, rng = DDPMScheduler(1000), torch.Generator().manual_seed(0)
    optimizer = torch.optim.Adam(unet.parameters(), lr=RATE)
    for update in range(UPDATES):
        for group in optimizer.param_groups:
            group["lr"] = RATE * min((update + 1) / 20, max(0.02, 1 - update / UPDATES))
        chosen = clean[torch.randint(len(clean), (BATCH,), generator=rng)]
        level = torch.randint(DRAWN.steps, (BATCH,), generator=rng) * (1000 // DRAWN.steps)
        noise = torch.randn(chosen.shape, generator=rng)
        noisy = scheduler.add_noise(chosen, noise, level)
        functional.mse_loss(unet(noisy, level).sample, noise).backward()
        optimizer.step()
        optimizer.zero_grad()
    return unet


@pytest.fixture(scope="module")
def records(digits, tmp_path_factory):
    root = tmp_path_factory.mktemp("repeats")
    members = np.concatenate([digits[:N_MEMBERS], *[digits[:N_REPEATED]] * (COPIES - 1)])
    return members, load_splits(
        write_images(root / "members", members),
        write_images(root / "nonmembers", digits[200:320]),
    )


def _extract(model, splits):
    return Extraction(
        target=open_target(str(model), device="cpu"),
        members=splits.members,
        nonmembers=splits.nonmembers,
        config=DRAWN,
        seed=0,
        publish=lambda private: private[:16],
        batch_size=128,
    ).run()


def test_repeated_records_come_back_and_ordinary_ones_do_not(records, tmp_path):
    members, splits = records
    found = _extract(save_pixel_pipeline(tmp_path / "ddpm", unet=_trained(members)), splits)
    assert found.n_prompts == 0
    assert found.n_tried == found.n_members == N_MEMBERS
    assert found.n_extracted == N_REPEATED
    assert all(record.multiplicity == COPIES for record in found.records)
    assert all(record.prompt_id == "" and not record.is_own_caption for record in found.records)
    assert all(record.repeated_distance <= found.threshold for record in found.records)
    assert found.threshold < found.background
    shares = {row.copies: row.share.value for row in found.by_copies}
    assert shares["1"] == 0
    assert max(shares.values()) == 1


def test_an_untrained_model_is_clean(records, pixel_pipeline):
    found = _extract(pixel_pipeline, records[1])
    assert found.n_extracted == 0
    assert found.n_tried == N_MEMBERS
    assert found.p_value > 0.01
