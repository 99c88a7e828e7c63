"""Images drawn by the extraction against the bare diffusers pipeline at the same batch.

    python benchmarks/extraction.py [--device cpu|cuda] [--images 128] [--steps 20] [--sd15]

Both draw the same prompts and seeds of the bundled model with DDIM and guidance 7.5, in turns; the
ratio is that of the median times. With `--sd15` (for a GPU) a Stable-Diffusion-1.5-sized U-Net
built from its configuration takes the place of the model's own, with 64 x 64 latents.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from diffusers import DDIMScheduler, StableDiffusionPipeline

from auditor.assemble import device_name
from auditor.demo.assets import materialise
from auditor.demo.digits import demo_splits
from auditor.memory import peak_memory_mb
from auditor.targets.loading import open_target
from auditor.targets.sampling import Draw, Sampling, generate

ROUNDS = 5
SD15 = {
    "sample_size": 64,
    "block_out_channels": (320, 640, 1280, 1280),
    "down_block_types": ("CrossAttnDownBlock2D",) * 3 + ("DownBlock2D",),
    "up_block_types": ("UpBlock2D",) + ("CrossAttnUpBlock2D",) * 3,
    "layers_per_block": 2,
    "attention_head_dim": 8,
    "norm_num_groups": 32,
}


def enlarge(model: Path) -> None:
    """Put an untrained U-Net of the size of Stable Diffusion 1.5 in the place of the model's."""
    from diffusers import UNet2DConditionModel

    config = dict(UNet2DConditionModel.load_config(model / "unet"))
    torch.manual_seed(0)
    UNet2DConditionModel.from_config(config | SD15).save_pretrained(model / "unet")


def bare(pipeline: StableDiffusionPipeline, draws: list[Draw], batch: int, steps: int) -> float:
    """Seconds of the stock pipeline."""
    began = time.perf_counter()
    for i in range(0, len(draws), batch):
        part = draws[i : i + batch]
        pipeline(
            [draw.prompt for draw in part],
            num_inference_steps=steps,
            guidance_scale=7.5,
            generator=[torch.Generator("cpu").manual_seed(draw.seed) for draw in part],
            output_type="np",
        )
    return time.perf_counter() - began


def main() -> None:
    """Print images/s of both and the ratio of their times."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--images", type=int, default=128)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--batch", type=int, default=32, help="images of one batch")
    parser.add_argument("--sd15", action="store_true")
    args = parser.parse_args()
    captions = demo_splits().members.captions
    draws = [Draw(captions[i % len(captions)], i) for i in range(args.images)]
    with tempfile.TemporaryDirectory() as scratch:
        model = Path(scratch) / "model"
        materialise("memorized", model)
        if args.sd15:
            enlarge(model)
        target = open_target(str(model), device=args.device)
        pipeline = StableDiffusionPipeline.from_pretrained(model, safety_checker=None)
        pipeline = pipeline.to(args.device)
        pipeline.scheduler = DDIMScheduler.from_config(pipeline.scheduler.config)
        pipeline.set_progress_bar_config(disable=True)
        ours, theirs = [], []
        sampling = Sampling(args.steps, 7.5)
        for i in range(ROUNDS + 1):
            began = time.perf_counter()
            generate(target, draws, sampling, batch_size=2 * args.batch)
            own, stock = time.perf_counter() - began, bare(pipeline, draws, args.batch, args.steps)
            if i:  # the first round warms up
                ours.append(own)
                theirs.append(stock)
    first, second = np.median(ours), np.median(theirs)
    print(f"{device_name(torch.device(args.device))}, {args.steps} steps, batch {args.batch}")
    print(f"extraction {args.images / first:.2f} images/s, pipeline {args.images / second:.2f}")
    print(
        f"ratio {first / second:.2f}, peak memory {peak_memory_mb(torch.device(args.device)):.0f} MB"
    )


if __name__ == "__main__":
    main()
