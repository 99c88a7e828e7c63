"""What detectors of memorized prompts ask of the way to an image: no training record is needed.

A record here is a draw: one prompt with one seed of the initial noise. All requests with the same
steps and guidance are answered by one denoising trajectory, which is followed only as far as the
most demanding of them needs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from attacks.observations.base import Request


@dataclass(frozen=True, slots=True)
class TrajectoryRequest(Request):
    """Something recorded while an image is drawn."""

    kind: ClassVar[str] = "trajectory"
    steps: int
    """Denoising steps of the whole trajectory."""

    @property
    def followed(self) -> int:
        """How many of the steps must be taken."""
        return 1

    @property
    def needs_empty_text(self) -> bool:
        """Whether the prediction for the empty text is needed beside that for the prompt."""
        return False

    @property
    def needs_attention(self) -> bool:
        """Whether cross-attention is recorded."""
        return False

    @property
    def calls(self) -> int:
        """Forward calls of one draw, if this were the only request."""
        return self.followed * (2 if self.needs_empty_text else 1)


@dataclass(frozen=True, slots=True)
class GuidedRequest(TrajectoryRequest):
    """Something that needs both predictions of classifier-free guidance."""

    guidance: float
    """Scale of the guidance that the trajectory follows."""

    @property
    def needs_empty_text(self) -> bool:
        """Always."""
        return True


@dataclass(frozen=True, slots=True)
class TextMagnitudes(GuidedRequest):
    """(n, end) norms ||eps(x_t, prompt) - eps(x_t, "")||_2 over the whole input, step by step."""

    kind: ClassVar[str] = "text_magnitudes"
    end: int
    """Steps recorded, counted from the first."""

    @property
    def followed(self) -> int:
        """As many as are recorded."""
        return self.end


@dataclass(frozen=True, slots=True)
class FirstChange(GuidedRequest):
    """(n,) mean square of x_T - x_0hat, where the first prediction alone leads to x_0hat."""

    kind: ClassVar[str] = "first_change"


@dataclass(frozen=True, slots=True)
class FirstEdges(GuidedRequest):
    """(n, 8192) packed bits: the edges of the image decoded from x_0hat after one step."""

    kind: ClassVar[str] = "first_edges"


@dataclass(frozen=True, slots=True)
class FirstResidual(TrajectoryRequest):
    """(n, c, h, w) float16: eps(x_T, prompt) - x_T after one step, without guidance."""

    kind: ClassVar[str] = "first_residual"


@dataclass(frozen=True, slots=True)
class FirstAttention(TrajectoryRequest):
    """(n, layers, tokens) cross-attention at the first step, mean over heads and pixels."""

    kind: ClassVar[str] = "first_attention"

    @property
    def needs_attention(self) -> bool:
        """Always."""
        return True


@dataclass(frozen=True, slots=True)
class LateAttention(GuidedRequest):
    """(n, steps - begin, tokens) cross-attention, mean over layers, heads and pixels."""

    kind: ClassVar[str] = "late_attention"
    begin: int
    """First step recorded, counted from 0."""

    @property
    def followed(self) -> int:
        """All."""
        return self.steps

    @property
    def needs_attention(self) -> bool:
        """Always."""
        return True


@dataclass(frozen=True, slots=True)
class LocalMagnitudes(GuidedRequest):
    """(n, steps) text magnitudes under the mask of `EndingMask`, over the mean of the mask."""

    kind: ClassVar[str] = "local_magnitudes"

    @property
    def followed(self) -> int:
        """All: the mask comes from the last step."""
        return self.steps

    @property
    def needs_attention(self) -> bool:
        """Always."""
        return True


@dataclass(frozen=True, slots=True)
class EndingMask(GuidedRequest):
    """(n, h, w) float16: attention of each place to the end token at the last step."""

    kind: ClassVar[str] = "ending_mask"

    @property
    def followed(self) -> int:
        """All."""
        return self.steps

    @property
    def needs_attention(self) -> bool:
        """Always."""
        return True
