"""Observations of a diffusion target.

`condition` names the text that the prediction is conditioned on: `caption` (the record's own),
`null` (the empty string), or `first`, `middle`, `last` (that third of the caption's words cut out).
All predictions are plain conditional predictions of the noise eps (guidance scale 1), whatever
the model predicts natively.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from attacks.manifest import DiffusionCapabilities
from attacks.observations.base import Request

NORMS = (1, 2, 4, 5)
"""Exponents p for which mean |.|^p is kept, in the order of the last axis."""

CONDITIONS = ("caption", "null", "first", "middle", "last")
"""The texts that a prediction can be conditioned on."""


@dataclass(frozen=True, slots=True)
class NoiseError(Request):
    """(n,) mean over elements of (eps_theta(x_t, t, c) - eps)^2.

    The noise depends on (seed, record, t, repetition) alone: the same for every condition and crop.
    """

    kind: ClassVar[str] = "noise_error"
    t: int
    """Index into the noise schedule, 0..T-1."""
    repetition: int = 0
    """Which of several independent noises."""
    condition: str = "caption"
    crop: float = 1.0
    """The image is cropped at its centre to this share of its sides and resized back."""


@dataclass(frozen=True, slots=True)
class CleanNorms(Request):
    """(n, len(NORMS)) mean |eps_theta(x_0, t, c)|^p on the clean input."""

    kind: ClassVar[str] = "clean_norms"
    t: int = 0
    condition: str = "caption"


@dataclass(frozen=True, slots=True)
class ProximalError(Request):
    """(n, len(NORMS)) mean |e_0 - e_1|^p of PIA and PIAN.

    e_0 = eps_theta(x_0, 0, c); e_1 = eps_theta(x_t, t, c) at x_t noised with e_0. With
    `normalisation` set, e_0 is rescaled in both places: `unit` makes its mean absolute value
    sqrt(2/pi) as of a Gaussian (the authors' code), `paper` sqrt(pi/2) (the paper's equation).
    """

    kind: ClassVar[str] = "proximal_error"
    t: int
    normalisation: str | None = None
    condition: str = "caption"

    @property
    def requires(self) -> tuple[Request, ...]:
        """The call on the clean input."""
        return (CleanNorms(t=0, condition=self.condition),)


@dataclass(frozen=True, slots=True)
class StepError(Request):
    """(n,) squared l2 norm (sum over elements) of SecMI's t-error.

    Deterministic DDIM inversion of x_0 to t in steps of k, one step up, one step down.
    """

    kind: ClassVar[str] = "step_error"
    t: int = 100
    k: int = 10
    condition: str = "caption"

    @property
    def calls(self) -> int:
        """The steps after the first, then one up and one down."""
        return self.t // self.k + 1

    @property
    def requires(self) -> tuple[Request, ...]:
        """The call on the clean input."""
        return (CleanNorms(t=0, condition=self.condition),)


@dataclass(frozen=True, slots=True)
class StepResidual(Request):
    """(n, c, h, w) absolute residual of SecMI's t-error, as float16; shares StepError's calls."""

    kind: ClassVar[str] = "step_residual"
    t: int = 100
    k: int = 10
    condition: str = "caption"

    @property
    def calls(self) -> int:
        """None of its own."""
        return 0

    @property
    def requires(self) -> tuple[Request, ...]:
        """The t-error that this is the map of."""
        return (StepError(t=self.t, k=self.k, condition=self.condition),)


@dataclass(frozen=True, slots=True)
class VariationDistance(Request):
    """(n, 2) SSIM and mean squared error between a record and the mean of its variations.

    ReDiffuse: noise to t, denoise by DDIM in steps of k down to index 0, `n` times with
    independent noises; average the images, then compare in pixel space with values in [0, 1].
    """

    kind: ClassVar[str] = "variation_distance"
    t: int
    k: int
    n: int = 10
    condition: str = "caption"

    @property
    def calls(self) -> int:
        """The steps of every variation; the last one may be shorter than k."""
        return self.n * -(-self.t // self.k)


@dataclass(frozen=True, slots=True)
class GradientNorms(Request):
    """(n, p) l2 norm of the loss's gradient in each of the p weight tensors, as float32.

    The loss is the mean squared noise error, one noise a timestep. `each` takes one gradient a
    timestep and averages their norms; otherwise there is one gradient, of the mean over timesteps.
    A tensor that does not take part has norm 0.
    """

    kind: ClassVar[str] = "gradient_norms"
    timesteps: tuple[int, ...]
    each: bool = False
    condition: str = "caption"

    @property
    def calls(self) -> int:
        """Forward calls; the way back costs about twice as much again."""
        return len(self.timesteps)


def default_condition(capabilities: DiffusionCapabilities) -> str:
    """The record's caption, or the empty text where a text model is audited without captions."""
    is_uncaptioned = capabilities.is_text_conditional and not capabilities.has_captions
    return "null" if is_uncaptioned else "caption"
