"""Train the demo's two targets: `python -m auditor.demo.train OUT`.

Both U-Nets follow one recipe, with 12 records repeated 50 times each; `memorized` is
trained on the members, `clean` on the others. What they share must not tell members
from nonmembers either: the autoencoder is trained on the others alone, and the text
encoder stays as it was drawn. The U-Nets are trained on the latents of the autoencoder
as it is stored, in half precision. Stored weights are exponential moving averages.
"""

import argparse
import json
import math
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import numpy as np
import torch
from diffusers import AutoencoderKL, DDIMScheduler, StableDiffusionPipeline, UNet2DConditionModel
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from transformers import CLIPTokenizer

from auditor.demo.components import new_autoencoder, new_scheduler, new_text_encoder, new_unet
from auditor.demo.digits import DemoSplit, demo_splits, repeats
from auditor.demo.vocabulary import write_tokenizer


@dataclass(frozen=True, slots=True)
class TrainingConfig:
    """How long and how fast; the defaults made the bundled weights."""

    seed: int = 0
    """Draws the initial weights, batches and noise."""
    autoencoder_steps: int = 700
    """Steps of the autoencoder."""
    autoencoder_batch: int = 16
    """Images per step."""
    autoencoder_rate: float = 2e-3
    """Peak learning rate; a cosine takes it to 0."""
    kl_weight: float = 1e-4
    """Weight of the latents' divergence from a unit Gaussian beside the mean square error."""
    unet_steps: int = 1500
    """Steps of each U-Net."""
    unet_batch: int = 32
    """Latents per step."""
    unet_rate: float = 2e-3
    """Peak learning rate; a cosine takes it to 0."""
    caption_dropout: float = 0.1
    """Share of latents trained with the empty caption."""
    ema_decay: float = 0.995
    """Decay per step of the averaged U-Net weights."""


class Encoded(NamedTuple):
    """A split as its U-Net sees it, repeats included."""

    latents: Tensor
    """(n, 4, 8, 8) scaled modes of the autoencoder's posterior."""
    embeddings: Tensor
    """(n, 16, 32) text encoder states of the captions."""
    blank: Tensor
    """(1, 16, 32) the same of the empty caption."""


def train_demo(out: Path, config: TrainingConfig) -> None:
    """Train everything and write `shared`, `memorized` and `clean` under `out`."""
    splits = demo_splits()
    with TemporaryDirectory() as scratch:
        pipeline = new_pipeline(Path(scratch), config.seed)
    fit_autoencoder(pipeline.vae, splits.others, config)
    initial = {name: value.clone() for name, value in pipeline.unet.state_dict().items()}
    for name, split in (("memorized", splits.members), ("clean", splits.others)):
        pipeline.unet.load_state_dict(initial)
        encoded = encode(pipeline, split)
        fit_unet(pipeline.unet, encoded, pipeline.scheduler, config)
        save_target(pipeline, name, out)


def new_pipeline(tokenizer_directory: Path, seed: int) -> StableDiffusionPipeline:
    """An untrained pipeline; its tokenizer is written to, and read from, a directory."""
    vocabulary_size = write_tokenizer(tokenizer_directory)
    with torch.random.fork_rng(devices=[]):  # layers draw their weights from the global state
        torch.manual_seed(seed)
        vae, unet = new_autoencoder(), new_unet()
        text_encoder = round_to_half(new_text_encoder(vocabulary_size))
    return StableDiffusionPipeline(
        vae=vae,
        text_encoder=text_encoder,
        tokenizer=CLIPTokenizer.from_pretrained(tokenizer_directory),
        unet=unet,
        scheduler=new_scheduler(),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )


def fit(module: nn.Module, loss: Callable[[], Tensor], *, steps: int, rate: float) -> None:
    """Minimise a loss over a module's weights in place with AdamW, a warm-up and a cosine.

    loss: draws a batch and returns its mean loss.
    """
    module.train()
    optimiser = torch.optim.AdamW(module.parameters(), lr=rate, weight_decay=1e-4)
    warm_up = min(100, steps)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimiser,
        lambda i: min(1.0, (i + 1) / warm_up) * (0.5 + 0.5 * math.cos(math.pi * i / steps)),
    )
    for step in range(steps):
        value = loss()
        optimiser.zero_grad()
        value.backward()
        nn.utils.clip_grad_norm_(module.parameters(), 1.0)
        optimiser.step()
        schedule.step()
        if step % 100 == 0 or step == steps - 1:
            print(f"{type(module).__name__} step {step:5d} loss {value.item():.4f}", flush=True)
    module.eval()


def fit_autoencoder(vae: AutoencoderKL, split: DemoSplit, config: TrainingConfig) -> None:
    """Fit the autoencoder in place, round it to half precision, set its scaling factor."""
    images = pixels(split)
    generator = torch.Generator().manual_seed(config.seed)

    def loss() -> Tensor:
        rows = torch.randint(len(images), (config.autoencoder_batch,), generator=generator)
        posterior = vae.encode(images[rows]).latent_dist
        noise = torch.randn(posterior.mean.shape, generator=generator)
        decoded = vae.decode(posterior.mean + posterior.std * noise).sample
        divergence = posterior.kl().mean() / images[0].numel()
        return functional.mse_loss(decoded, images[rows]) + config.kl_weight * divergence

    fit(vae, loss, steps=config.autoencoder_steps, rate=config.autoencoder_rate)
    round_to_half(vae)
    with torch.no_grad():
        spread = vae.encode(images).latent_dist.mode().std().item()
    vae.register_to_config(scaling_factor=round(1 / spread, 5))


def fit_unet(
    unet: UNet2DConditionModel,
    encoded: Encoded,
    scheduler: DDIMScheduler,
    config: TrainingConfig,
) -> None:
    """Fit a U-Net in place to predict noise; it ends with its averaged weights.

    Both targets get the same stream of rows, times and noise.
    """
    generator = torch.Generator().manual_seed(config.seed)
    average = AveragedModel(unet, multi_avg_fn=get_ema_multi_avg_fn(config.ema_decay))
    n_steps = scheduler.config.num_train_timesteps

    def loss() -> Tensor:
        average.update_parameters(unet)
        size = (config.unet_batch,)
        rows = torch.randint(len(encoded.latents), size, generator=generator)
        t = torch.randint(n_steps, size, generator=generator)
        dropped = torch.rand(size, generator=generator) < config.caption_dropout
        noise = torch.randn(encoded.latents[rows].shape, generator=generator)
        states = torch.where(dropped[:, None, None], encoded.blank, encoded.embeddings[rows])
        noisy = scheduler.add_noise(encoded.latents[rows], noise, t)
        return functional.mse_loss(unet(noisy, t, states).sample, noise)

    fit(unet, loss, steps=config.unet_steps, rate=config.unet_rate)
    unet.load_state_dict(average.module.state_dict())


@torch.no_grad()
def encode(pipeline: StableDiffusionPipeline, split: DemoSplit) -> Encoded:
    """A split's latents and caption states, planted records once per repeat."""
    modes = pipeline.vae.encode(pixels(split)).latent_dist.mode()
    rows = np.repeat(np.arange(len(split.captions)), repeats(len(split.captions)))
    states = embed(pipeline, [*split.captions, ""])
    return Encoded(modes[rows] * pipeline.vae.config.scaling_factor, states[rows], states[-1:])


def embed(pipeline: StableDiffusionPipeline, captions: list[str]) -> Tensor:
    """(n, 16, 32) text encoder states, padded as the pipeline pads a prompt."""
    length = pipeline.tokenizer.model_max_length
    tokens = pipeline.tokenizer(
        captions, padding="max_length", max_length=length, truncation=True, return_tensors="pt"
    )
    return pipeline.text_encoder(tokens.input_ids)[0]


def pixels(split: DemoSplit) -> Tensor:
    """The split's images as (n, 3, 32, 32) in [-1, 1]."""
    return torch.from_numpy(split.images).permute(0, 3, 1, 2).contiguous().float() / 127.5 - 1


def round_to_half(module: nn.Module) -> nn.Module:
    """Give the weights the values they have on disk, still in single precision."""
    return module.half().float().eval()


def save_target(pipeline: StableDiffusionPipeline, name: str, out: Path) -> None:
    """Write the pipeline in half precision: its U-Net under `name`, the rest as `shared`."""
    with TemporaryDirectory(dir=out) as scratch:
        parts = (pipeline.vae, pipeline.text_encoder, pipeline.unet)
        for part in parts:
            part.half()
        pipeline.save_pretrained(scratch, safe_serialization=True)
        for part in parts:
            part.float()
        (out / name).mkdir(exist_ok=True)
        for part in (out / "shared", out / name / "unet"):
            shutil.rmtree(part, ignore_errors=True)
        shutil.move(Path(scratch, "unet"), out / name / "unet")
        finish_shared(Path(scratch))
        shutil.copytree(scratch, out / "shared")
    for weights in out.rglob("*.safetensors"):
        weights.chmod(0o644)


def finish_shared(directory: Path) -> None:
    """Make the saved parts load alike in every supported version of transformers.

    The tokenizer goes back to `vocab.json` and `merges.txt`. The text encoder's weights
    get the names they have in published checkpoints; its file names single precision,
    since newer versions load it, unlike the rest, in the precision that the file names.
    """
    shutil.rmtree(directory / "tokenizer")
    write_tokenizer(directory / "tokenizer")
    weights = directory / "text_encoder" / "model.safetensors"
    tensors = {
        "text_model." + name.removeprefix("text_model."): tensor
        for name, tensor in load_file(weights).items()
    }
    save_file(tensors, weights, metadata={"format": "pt"})
    path = directory / "text_encoder" / "config.json"
    config = json.loads(path.read_text(encoding="utf-8")) | {"dtype": "float32"}
    path.write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")


def main() -> None:
    """Parse the command line and train."""
    parser = argparse.ArgumentParser(description="Train the demo's two targets.")
    parser.add_argument("out", type=Path, help="directory to write to")
    parser.add_argument("--steps", type=int, help="steps of each network (default: see config)")
    parser.add_argument("--seed", type=int, default=TrainingConfig().seed)
    arguments = parser.parse_args()
    steps = {} if arguments.steps is None else {
        "autoencoder_steps": arguments.steps, "unet_steps": arguments.steps,
    }  # fmt: skip
    arguments.out.mkdir(parents=True, exist_ok=True)
    train_demo(arguments.out, TrainingConfig(seed=arguments.seed, **steps))


if __name__ == "__main__":
    main()
