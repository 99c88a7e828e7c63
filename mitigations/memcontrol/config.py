"""Settings of the search."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from attacks.errors import UsageError
from attacks.manifest import DiffusionCapabilities

SCHEDULE = 1000
"""Length of the noise schedule that the default timesteps are stated on."""


@dataclass(frozen=True, slots=True)
class MemControlConfig:
    """What is searched, by what, and how it is reported."""

    family: Literal["lora", "svdiff", "difffit", "attention"] = "lora"
    """What is trained where a mask has a 1 (`mitigations.memcontrol.families`)."""
    rest: bool = False
    """Also train what the official implementation trains whatever the mask."""
    rank: int = 4
    """Of the adapters of `lora`."""
    trials: int = 20
    """Masks and learning rates tried; as many again by the random control."""
    sampler: Literal["tpe", "nsga2"] = "tpe"
    """Multivariate TPE, or NSGA-II with a population of a quarter of the trials."""
    memorization: Literal["gap", "magnitude", "magnitude_high", "copies"] = "gap"
    """Objective on repeated records: loss of nonmembers minus loss of members; the authors' text-
    conditional noise magnitude, or its 90 % quantile; the share of images drawn for their captions
    that copy them."""
    quality: Literal["loss", "kid", "fid"] = "loss"
    """Objective on held-out records: denoising loss, or distance of drawn images to them."""
    steps: int = 300
    """Gradient steps of every training."""
    train_batch: int = 16
    """Records of a step."""
    rate_low: float = 1e-5
    """Smallest learning rate; equal to rate_high, it is not searched."""
    rate_high: float = 1e-3
    """Largest learning rate; it is searched on a logarithmic scale."""
    full_rate: float = 1e-5
    """Learning rate of full fine-tuning, the positive control."""
    weight_decay: float = 0.01
    """Of AdamW, on what is trained alone."""
    caption_dropout: float = 0.1
    """Share of records shown with the empty text in training; never when measuring."""
    control: bool = True
    """Whether random search gets as many trials, to be compared with."""
    tolerance: float = 0.05
    """The pick memorizes least among trials whose quality is within this share of the best."""
    refits: int = 3
    """Trainings with new seeds of the pick and of each control, measured on other records."""
    timesteps: tuple[int, ...] = (100, 300, 500, 700)
    """Where noise magnitude and loss are taken."""
    noises: int = 2
    """Noises at each timestep."""
    images: int = 64
    """Images drawn for `kid`, `fid`."""
    image_steps: int = 20
    """DDIM steps of a drawn image."""
    guidance: float = 4.0
    """Guidance scale of drawn images."""
    workers: int = 1
    """Processes that train at the same time."""
    mask: str | None = None
    """File of a mask that was found on other data: nothing is searched, it is refitted here."""

    def __post_init__(self) -> None:
        counts = {
            "trials": self.trials,
            "steps": self.steps,
            "train_batch": self.train_batch,
            "refits": self.refits,
            "noises": self.noises,
            "image_steps": self.image_steps,
            "workers": self.workers,
            "rank": self.rank,
            "timesteps": len(self.timesteps),
        }
        for name, value in counts.items():
            if value < 1:
                raise UsageError(f"{name} must be at least 1, got {value}")
        if self.images < 16:
            raise UsageError(f"images must be at least 16, got {self.images}")
        if not 0 < self.rate_low <= self.rate_high or self.full_rate <= 0:
            raise UsageError(
                "learning rates must be positive, and rate_low at most rate_high, got "
                f"{self.rate_low}, {self.rate_high} and full_rate {self.full_rate}"
            )
        if self.tolerance < 0:
            raise UsageError(f"tolerance must not be negative, got {self.tolerance}")
        if any(t < 0 for t in self.timesteps):
            raise UsageError(f"timesteps are places in the noise schedule, got {self.timesteps}")

    @property
    def population(self) -> int:
        """Of NSGA-II: small enough for four generations."""
        return max(2, self.trials // 4)


def default_config(capabilities: DiffusionCapabilities) -> MemControlConfig:
    """The paper's learning rates for large models, higher ones for small ones.

    The objective is the gap of losses and not the authors' noise magnitude, which can fall while a
    model memorizes: on the demo's small model full fine-tuning raised the gap from .003 to .064
    and lowered the magnitude from 1.42 to 1.39.
    """
    timesteps = tuple(t * capabilities.n_timesteps // SCHEDULE for t in (100, 300, 500, 700))
    guidance = 4.0 if capabilities.is_text_conditional else 1.0
    if capabilities.is_large:
        return MemControlConfig(timesteps=timesteps, guidance=guidance, steps=3000)
    return MemControlConfig(
        timesteps=timesteps,
        guidance=guidance,
        rate_low=1e-4,
        rate_high=1e-2,
        full_rate=6e-4,
    )
