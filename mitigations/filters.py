"""Inference filters: what may change a prompt, its embedding, the attention, or a step.

A filter acts while images are drawn, and leaves the weights as they are. One interface serves two
drivers: `auditor.targets.sampling`, which draws the images of an audit, and `mitigations.deploy`,
which draws through a stock pipeline of diffusers. The class `Filter` itself changes nothing, and
drawing with it gives the bits of drawing without.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor


class Predictor(Protocol):
    """The model behind the drawing, as far as a filter may ask it."""

    alphas_cumprod: NDArray[np.float64]
    unet: Any

    @property
    def tokenizer(self) -> Any:
        """What cuts prompts into tokens; None without text."""

    def embed(self, captions: Sequence[str]) -> Any:
        """Conditioning of captions; None if the model takes no text."""

    def embed_nothing(self) -> Any:
        """(1, ...) conditioning of the empty text; None without text."""

    def noise(self, inputs: Tensor, timesteps: Tensor, conditioning: Any) -> Tensor:
        """(n, c, h, w) predicted noise eps in float32, with its graph."""


@dataclass(frozen=True, slots=True)
class Drawing:
    """Images that are drawn together, before the first step."""

    model: Predictor
    prompts: tuple[str, ...]
    """n prompts, as the filters rewrote them."""
    seeds: tuple[int, ...]
    """n seeds of the initial noise."""
    guidance: float
    """Scale s of classifier-free guidance; 1 without an unconditional prediction."""
    timesteps: tuple[int, ...]
    """All timesteps, the noisiest first."""
    inputs: Tensor
    """(n, c, h, w) x_T."""
    conditional: Any
    """Conditioning of the prompts: `hidden` is (n, tokens, d); None without text."""
    unconditional: Any
    """Conditioning of the empty text, n rows; None without guidance."""


class Filter:
    """A filter that changes nothing; kinds of filters override what they need."""

    decides_the_step = False
    """Whether `on_step` is overridden; only one such filter can act at a time."""

    def prompt(self, prompt: str, seed: int) -> str:
        """The prompt that is drawn in place of this one."""
        return prompt

    def begins(self, drawing: Drawing) -> Any:
        """The conditioning of the prompts that is used in every step."""
        self._scale = drawing.guidance
        return drawing.conditional

    def attention(self, unet: Any) -> AbstractContextManager[None]:
        """A context in which the U-Net runs all steps of a drawing, after `begins`."""
        return nullcontext()

    def on_step(self, eps_c: Tensor, eps_0: Tensor | None, x_t: Tensor, t: int) -> Tensor:
        """(n, c, h, w) the noise prediction with which the step is taken.

        eps_c, eps_0: predictions for the prompts and for the empty text (None without guidance);
        x_t: inputs of the step; t: its index into the noise schedule.
        """
        return guided(eps_c, eps_0, self._scale)


def guided(eps_c: Tensor, eps_0: Tensor | None, scale: float) -> Tensor:
    """Classifier-free guidance: eps_0 + s (eps_c - eps_0), or eps_c alone without eps_0."""
    return eps_c if eps_0 is None else eps_0 + scale * (eps_c - eps_0)


class Chain(Filter):
    """Several filters in the order in which they were applied to the model."""

    def __init__(self, filters: Sequence[Filter]):
        self.filters = tuple(filters)
        deciding = [one for one in self.filters if one.decides_the_step]
        self._decides = deciding[-1] if deciding else None
        self.decides_the_step = bool(deciding)

    def prompt(self, prompt: str, seed: int) -> str:
        """Every filter rewrites what the one before gave."""
        for one in self.filters:
            prompt = one.prompt(prompt, seed)
        return prompt

    def begins(self, drawing: Drawing) -> Any:
        """Every filter changes what the one before gave."""
        from dataclasses import replace

        self._scale = drawing.guidance
        for one in self.filters:
            drawing = replace(drawing, conditional=one.begins(drawing))
        return drawing.conditional

    def attention(self, unet: Any) -> AbstractContextManager[None]:
        """All contexts, one within the other."""
        from contextlib import ExitStack, contextmanager

        @contextmanager
        def nested() -> Any:
            with ExitStack() as stack:
                for one in self.filters:
                    stack.enter_context(one.attention(unet))
                yield

        return nested()

    def on_step(self, eps_c: Tensor, eps_0: Tensor | None, x_t: Tensor, t: int) -> Tensor:
        """The one filter that decides steps, or plain guidance."""
        if self._decides is not None:
            return self._decides.on_step(eps_c, eps_0, x_t, t)
        return guided(eps_c, eps_0, self._scale)
