"""What every attack declares about itself, and what a target can give."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Literal


class Access(enum.StrEnum):
    """What the attacker must see."""

    BLACK_BOX = "black-box"
    GREY_BOX = "grey-box"
    WHITE_BOX = "white-box"


class Tier(enum.StrEnum):
    """How much an attack costs and when it is run."""

    DEFAULT = "default"
    THOROUGH = "thorough"


@dataclass(frozen=True, slots=True)
class Manifest:
    """The label of an attack: data, not code."""

    id: str
    """Stable rule id, such as MIA001."""
    name: str
    """The name on the command line."""
    title: str
    """The name in a report."""
    goal: str
    """One sentence: what the attacker decides."""
    access: Access
    """What the attacker must see."""
    tags: tuple[str, ...]
    """Framework references, such as `edpb:55(i)` or `atlas:AML.T0024.000`."""
    references: tuple[str, ...]
    """Papers, as `arXiv:...`."""
    family: str = "diffusion"
    """Family of targets that it attacks."""
    tier: Tier = Tier.DEFAULT
    """Whether a scan runs it unasked."""
    fitted: bool = False
    """True when it is fitted on the calibration part of the records."""
    higher_is_member: bool = True
    """Always true: a higher score means more likely a member."""
    kind: Literal[
        "membership", "attribute", "dataset inference", "extraction", "detection", "probing"
    ] = "membership"
    """Kind of finding; only `membership` gives a score for every record."""


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a target can be asked; each family says more."""

    family: str
    """Kind of target: `diffusion` or `classifier`."""
    architecture: str
    """Class name of the pipeline or of the model."""


@dataclass(frozen=True, slots=True)
class DiffusionCapabilities(Capabilities):
    """What a diffusion target can be asked."""

    is_latent: bool
    """Whether the noise lives in the latent space of an autoencoder."""
    is_text_conditional: bool
    """Whether predictions depend on a caption."""
    n_timesteps: int
    """Length T of the training noise schedule."""
    resolution: int
    """Side of the (square) input image in pixels."""
    has_captions: bool = True
    """Whether the records at hand carry captions."""
    has_guesses: bool = False
    """Whether they carry what a captioner that never saw the training says about the picture."""
    has_shadow: bool = False
    """Whether a model fine-tuned like the target on other records can be asked beside it."""
    encoder: str = ""
    """Key of the image-text encoder at hand; empty without one."""

    @property
    def is_large(self) -> bool:
        """Whether published defaults for 512-pixel latent models apply (from 256 pixels on)."""
        return self.is_latent and self.resolution >= 256

    def scaled(self, *timesteps: int) -> tuple[int, ...]:
        """Timesteps of a schedule of 1,000 steps, moved to this target's schedule."""
        return tuple(min(t * self.n_timesteps // 1000, self.n_timesteps - 1) for t in timesteps)


@dataclass(frozen=True, slots=True)
class ClassifierCapabilities(Capabilities):
    """What a classifier can be asked."""

    n_classes: int
    """Classes k that it tells apart."""
    gives: Literal["logits", "probabilities", "labels"] = "logits"
    """The most that an answer holds."""
    can_be_queried: bool = True
    """False for saved predictions: nothing but the records as they are was ever asked."""
    has_numbers: bool = True
    """Whether the records hold numbers that can be moved a little: pixels, numeric columns."""
    n_shadows: int = 0
    """Shadow models at hand, each trained on half of the pool; 0 without a recipe to train."""
    n_queries: int = 1
    """Augmented versions of a record that can be asked, itself included."""
    has_trajectory: bool = False
    """Whether a student can be distilled, or checkpoints of the training are at hand."""
