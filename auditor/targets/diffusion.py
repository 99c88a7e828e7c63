"""A diffusion pipeline as an audit target: it predicts noise, and it can be fine-tuned."""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from attacks.errors import TargetError
from attacks.manifest import DiffusionCapabilities
from attacks.protocols import Backward, Dose, Noises, Tuning
from auditor.targets.conditioning import Conditioning, embed_nothing, embed_texts
from auditor.targets.layout import Layout
from auditor.targets.parametrisation import coefficients, to_epsilon
from mitigations.filters import Filter
from mitigations.record import MitigationRecord

PREPARATION = 1
"""Raised whenever images or captions are prepared differently; part of the key of observations."""
LARGEST = 8
"""Times the model's own resolution beyond which one is refused: it would only exhaust memory."""
FRESH_SEED = 0x5EED
"""Added to the seed of random weights, so that they differ from a model initialised with it."""


class DiffusionTarget:
    """A loaded pipeline: DifferentiablePredictor and Trainable of `attacks.protocols`.

    Predictions are plain conditional ones (guidance scale 1) in eval mode; latents are the mode
    of the autoencoder's posterior. Networks other than the U-Net run in float32.
    """

    def __init__(
        self,
        layout: Layout,
        parts: dict[str, Any],
        *,
        name: str,
        hashes: dict[str, str],
        device: torch.device,
        dtype: torch.dtype,
        resolution: int | None,
        adapter: str | None,
        mitigation: MitigationRecord | None = None,
        inference_filter: Filter | None = None,
    ):
        self.layout = layout
        self.name = name
        self.hashes = hashes
        self.device = device
        self.dtype = dtype
        self.adapter = adapter
        self.mitigation = mitigation
        self.filter = inference_filter
        self.unet = parts["unet"].to(device, dtype).eval().requires_grad_(False)
        self.vae = parts.get(layout.vae) if layout.vae else None
        if self.vae is not None:
            self.vae = self.vae.to(device).eval().requires_grad_(False)
        self._text = _text_pipeline(parts, layout, device)
        self.alphas_cumprod = _noise_schedule(parts["scheduler"])
        self.coefficients = coefficients(self.alphas_cumprod, device)
        self._size = self._image_size(resolution)
        factor = self._vae_factor
        channels = self.unet.config.in_channels
        self.input_shape = (channels, self._size[0] // factor, self._size[1] // factor)
        self.capabilities = DiffusionCapabilities(
            family="diffusion",
            architecture=layout.pipeline,
            is_latent=self.vae is not None,
            is_text_conditional=self._text is not None,
            n_timesteps=len(self.alphas_cumprod),
            resolution=min(self._size),
        )

    @property
    def text_pipeline(self) -> Any:
        """The pipeline that encodes prompts; None if the model takes no text."""
        return self._text

    @property
    def tokenizer(self) -> Any:
        """What cuts prompts into tokens; None if the model takes no text."""
        return self._text and (getattr(self._text, "tokenizer", None) or self._text.tokenizer_2)

    @property
    def n_parameters(self) -> int:
        """Parameters of the U-Net."""
        return sum(p.numel() for p in self.unet.parameters())

    @property
    def filter_key(self) -> str:
        """Hash of the inference filters that act when images are drawn; empty for none."""
        if self.mitigation is None or self.filter is None:
            return ""
        facts = [one.filter_facts for one in self.mitigation.chain if one.filter is not None]
        return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()

    @property
    def key(self) -> str:
        """Hash of all that decides an observation of this target, apart from the request."""
        facts = {
            "weights": self.hashes,
            "scheduler": dict(self.layout.scheduler_config),
            "size": self._size,
            "preparation": PREPARATION,
            "precision": str(self.dtype),
            "device": self.device.type,
        }
        return hashlib.sha256(json.dumps(facts, sort_keys=True, default=str).encode()).hexdigest()

    def prepare(self, images: Sequence[Image.Image], crop: float = 1.0) -> Tensor:
        """(n, c, h, w) clean inputs: pixels in [-1, 1], or scaled latents."""
        fitted = np.stack([_to_array(picture) for picture in self.fit(images, crop)])
        inputs = torch.from_numpy(fitted).to(self.device) * 2 - 1
        if self.vae is None:
            return inputs
        with torch.no_grad():
            latents = self.vae.encode(inputs).latent_dist.mode()
        return (latents - self._vae_shift) * self.vae.config.scaling_factor

    def fit(self, images: Sequence[Image.Image], crop: float = 1.0) -> list[Image.Image]:
        """Images as the model is shown them: its channels, cropped at the centre, its size."""
        channels = self.input_shape[0] if self.vae is None else self.vae.config.in_channels
        mode = "L" if channels == 1 else "RGB"
        return [_fit(image.convert(mode), self._size, crop) for image in images]

    def pictures(self, images: Sequence[Image.Image]) -> NDArray[np.uint8]:
        """(n, height, width, 3) RGB bytes of images, cut and resized as `prepare` does."""
        fitted = [_fit(image.convert("RGB"), self._size, 1.0) for image in images]
        return np.stack([np.asarray(image, dtype=np.uint8) for image in fitted])

    def decode(self, inputs: Tensor) -> Tensor:
        """(n, channels, height, width) images in [0, 1] of clean inputs."""
        if self.vae is not None:
            with torch.no_grad():
                latents = inputs / self.vae.config.scaling_factor + self._vae_shift
                inputs = self.vae.decode(latents).sample
        return (inputs / 2 + 0.5).clamp(0, 1)

    def embed(self, captions: Sequence[str], *, keep_graph: bool = False) -> Conditioning | None:
        """Conditioning of captions; None if the model takes no text.

        keep_graph: whether gradients can flow back to the text encoder's inputs.
        """
        if not self._text:
            return None
        return embed_texts(self._text, captions, self._size, keep_graph=keep_graph)

    def embed_nothing(self) -> Conditioning | None:
        """(1, ...) conditioning of the unconditional half of guidance; None without text."""
        return embed_nothing(self._text, self._size) if self._text else None

    def native(
        self, inputs: Tensor, timesteps: Tensor, conditioning: Conditioning | None
    ) -> Tensor:
        """(n, c, h, w) what the U-Net itself predicts, in float32."""
        given = {} if conditioning is None else conditioning.arguments(self.unet.dtype)
        return self.unet(inputs.to(self.unet.dtype), timesteps, **given).sample.float()

    def predict(
        self, inputs: Tensor, timesteps: Tensor, conditioning: Conditioning | None
    ) -> Tensor:
        """(n, c, h, w) predicted noise eps in float32; one forward call per row."""
        with torch.no_grad():
            return self.noise(inputs, timesteps, conditioning)

    def noise(self, inputs: Tensor, timesteps: Tensor, conditioning: Conditioning | None) -> Tensor:
        """(n, c, h, w) predicted noise eps in float32, with its graph."""
        output = self.native(inputs, timesteps, conditioning)
        at = self.coefficients.at(timesteps)
        return to_epsilon(output, inputs, at, self.layout.prediction_type)

    def gradient_norms(
        self,
        clean: Tensor,
        noises: Tensor,
        timesteps: Tensor,
        conditioning: Conditioning | None,
        *,
        each: bool,
        batch_size: int,
    ) -> NDArray[np.float32]:
        """(p,) norms of the gradient of one record's noise error in each weight tensor."""
        from auditor.targets.gradients import gradient_norms

        return gradient_norms(
            self, clean, noises, timesteps, conditioning, each=each, batch_size=batch_size
        )

    def reinitialised(self, seed: int) -> DiffusionTarget:
        """The same architecture with fresh random weights in the U-Net."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed + FRESH_SEED)
            fresh = type(self.unet).from_config(self.unet.config)
        return self.with_unet(fresh.to(self.device, self.dtype).eval().requires_grad_(False))

    def with_unet(self, unet: Any) -> DiffusionTarget:
        """A view of this target with another U-Net; everything else is shared."""
        twin = copy.copy(self)
        twin.unet = unet
        return twin

    def draw_noises(self, inputs: Tensor, generator: torch.Generator) -> Noises:
        """One uniform timestep and one noise for each of n inputs, from a CPU generator."""
        from auditor.targets.training import draw_noises

        return draw_noises(self, inputs, generator)

    def backward(
        self,
        inputs: Tensor,
        noises: Noises,
        conditioning: Conditioning | None,
        *,
        chunk: int,
        weights: Tensor | None = None,
    ) -> Backward:
        """Replace the gradients of the U-Net's trainable weights by those of the loss."""
        from auditor.targets.training import backward

        return backward(self, inputs, noises, conditioning, chunk=chunk, weights=weights)

    def draw_images(
        self,
        prompts: Sequence[str],
        seeds: Sequence[int],
        *,
        steps: int,
        guidance: float,
        batch_size: int,
    ) -> NDArray[np.uint8]:
        """(n, height, width, channels) images, one for each prompt and seed, by DDIM.

        They are what the weights draw: an inference filter of the target does not act.
        """
        from auditor.targets.sampling import PLAIN, Draw, Sampling, generate

        draws = [Draw(prompt, seed) for prompt, seed in zip(prompts, seeds, strict=True)]
        sampling = Sampling(steps, guidance)
        return generate(self, draws, sampling, batch_size=batch_size, guide=PLAIN)

    def finetune(
        self,
        inputs: Tensor,
        conditioning: Any,
        *,
        doses: Sequence[int],
        seed: int,
        batch_size: int = 64,
        tuning: Tuning = Tuning(),
    ) -> Iterator[Dose]:
        """A copy trained on the inputs, yielded at each cumulative dose (ascending)."""
        from auditor.targets.finetuning import finetune

        yield from finetune(
            self,
            inputs,
            conditioning,
            doses=doses,
            seed=seed,
            batch_size=batch_size,
            tuning=tuning,
        )

    @property
    def _vae_factor(self) -> int:
        return 1 if self.vae is None else 2 ** (len(self.vae.config.block_out_channels) - 1)

    @property
    def _vae_shift(self) -> float:
        return getattr(self.vae.config, "shift_factor", None) or 0.0 if self.vae else 0.0

    def _image_size(self, resolution: int | None) -> tuple[int, int]:
        native = self.unet.config.sample_size
        if resolution is None and native is None:
            raise TargetError("the U-Net states no sample size; pass --resolution")
        height, width = (native, native) if isinstance(native, int) else native or (0, 0)
        size = (height * self._vae_factor, width * self._vae_factor)
        if resolution is None:
            return size
        step = self._vae_factor * 2 ** (len(self.unet.config.block_out_channels) - 1)
        if resolution < step or resolution % step:
            raise TargetError(f"--resolution {resolution} must be a positive multiple of {step}")
        if native is not None and resolution > LARGEST * max(size):
            raise TargetError(
                f"--resolution {resolution} is more than {LARGEST} times the model's own "
                f"{max(size)}; choose one that it was trained for"
            )
        return (resolution, resolution)


def _text_pipeline(parts: dict[str, Any], layout: Layout, device: torch.device) -> Any:
    if layout.conditioning == "unconditional":
        return None
    import diffusers

    from auditor.targets.adapters import pipeline_parts

    for part in ("text_encoder", "text_encoder_2"):
        if parts.get(part) is not None:
            parts[part] = parts[part].to(device).eval().requires_grad_(False)
    given = pipeline_parts(parts, layout)
    for part in ("unet", "vae"):
        given[part] = parts[part]
    if layout.conditioning == "sdxl":
        given.setdefault("text_encoder", None)
        given.setdefault("tokenizer", None)
        return diffusers.StableDiffusionXLPipeline(**given)
    return diffusers.StableDiffusionPipeline(**given)


def _noise_schedule(scheduler: Any) -> NDArray[np.float64]:
    values = getattr(scheduler, "alphas_cumprod", None)
    if values is None:
        raise TargetError(f"scheduler {type(scheduler).__name__} has no discrete noise schedule")
    return np.asarray(values, dtype=np.float64)


def _fit(image: Image.Image, size: tuple[int, int], crop: float) -> Image.Image:
    """Cover `size` (height, width), cut the centre, then cut to `crop` of it and resize back."""
    height, width = size
    scale = max(width / image.width, height / image.height)
    box_width, box_height = width / scale * crop, height / scale * crop
    left = max(0.0, (image.width - box_width) / 2)  # rounding can put it a hair outside
    top = max(0.0, (image.height - box_height) / 2)
    box = (left, top, min(left + box_width, image.width), min(top + box_height, image.height))
    if image.size == (width, height) and crop == 1.0:
        return image
    return image.resize((width, height), Image.Resampling.BICUBIC, box=box)


def _to_array(image: Image.Image) -> NDArray[np.float32]:
    array: NDArray[np.float32] = np.asarray(image, dtype=np.float32) / np.float32(255)
    return array[None] if array.ndim == 2 else array.transpose(2, 0, 1)
