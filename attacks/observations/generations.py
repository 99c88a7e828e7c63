"""Observations of the images that a text-to-image model draws from a record's caption.

Every record's caption is drawn `r` times, each with a seed that depends on (seed, record,
repetition) alone. The images stay with the observer; what is kept are figures of each image.
`condition` names the text that is drawn from: `caption` (the record's own) or `guess` (what a
captioner that never saw the training says about the picture).

What a record says about itself, without the model, is asked for in the same figures: that is the
blind twin of an attack.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from attacks.observations.base import Request

QUALITIES = (
    "mean",
    "contrast",
    "colourfulness",
    "total variation",
    "sharpness",
    "compressed size",
    "kurtosis",
    "neighbours",
)
"""Figures of an image that need no other image, in the order of the last axis.

Mean, standard deviation and mean absolute step between neighbouring pixels of the grey image;
spread of its colours; logarithm of the variance of its Laplacian; bytes a pixel after deflating;
and two statistics of natural scenes (Mittal et al., BRISQUE, 2012): the kurtosis of the locally
normalised grey image, and the mean product of its neighbours.
"""

DISTANCES = ("mse", "dissimilarity")
"""Mean squared difference of pixels in [0, 1], and 1 - SSIM; in the order of the last axis."""

AGREEMENTS = ("distance", "cosine to image", "cosine to text")
"""l2 distance between the embeddings of the record and of the drawn image, their cosine, and the
cosine of the drawn image to the caption; in the order of the last axis."""


@dataclass(frozen=True, slots=True)
class GenerationQuality(Request):
    """(n, r, len(QUALITIES)) figures of each image drawn from a record's caption."""

    kind: ClassVar[str] = "generation_quality"
    r: int = 3
    """Images of each caption."""
    steps: int = 50
    """DDIM steps of an image."""
    guidance: float = 7.5
    """Scale of classifier-free guidance; 1 asks no unconditional prediction."""
    condition: str = "caption"

    @property
    def calls(self) -> int:
        """Every step of every image, twice with guidance."""
        return self.r * self.steps * (2 if self.guidance > 1 else 1)


@dataclass(frozen=True, slots=True)
class GenerationDistance(Request):
    """(n, r, len(DISTANCES)) how far each drawn image is from the record, pixel by pixel."""

    kind: ClassVar[str] = "generation_distance"
    r: int = 3
    steps: int = 50
    guidance: float = 7.5
    condition: str = "caption"

    @property
    def calls(self) -> int:
        """None of its own."""
        return 0

    @property
    def requires(self) -> tuple[Request, ...]:
        """The images."""
        return (GenerationQuality(self.r, self.steps, self.guidance, self.condition),)


@dataclass(frozen=True, slots=True)
class GenerationAgreement(Request):
    """(n, r, len(AGREEMENTS)) how each drawn image agrees with record and caption in meaning."""

    kind: ClassVar[str] = "generation_agreement"
    encoder: str
    """Key of the image-text encoder."""
    r: int = 3
    steps: int = 50
    guidance: float = 7.5
    condition: str = "caption"

    @property
    def calls(self) -> int:
        """None of its own; the encoder is not the target."""
        return 0

    @property
    def requires(self) -> tuple[Request, ...]:
        """The images."""
        return (GenerationQuality(self.r, self.steps, self.guidance, self.condition),)


@dataclass(frozen=True, slots=True)
class RecordQuality(Request):
    """(n, len(QUALITIES)) the same figures of the record's own image."""

    kind: ClassVar[str] = "record_quality"

    @property
    def calls(self) -> int:
        """None: the attacker holds the record."""
        return 0


@dataclass(frozen=True, slots=True)
class RecordMeaning(Request):
    """(n, 1 + d) cosine of the record's image to its text, and the embedding of the image."""

    kind: ClassVar[str] = "record_meaning"
    encoder: str
    """Key of the image-text encoder."""
    condition: str = "caption"

    @property
    def calls(self) -> int:
        """None: the attacker holds the record."""
        return 0


Generation = GenerationQuality | GenerationDistance | GenerationAgreement
"""Requests that need images to be drawn."""
Held = RecordQuality | RecordMeaning
"""Requests that the record alone answers."""
