"""Cross-attention rescaling: attend more to the start token, not at all to the end.

Idea: memorized prompts concentrate the cross-attention on a few tokens, often behind the prompt's
    end. For the prompt's half of every call, keys from the end token on are masked, and the logit
    of the start token is multiplied by C before the softmax.
Citation: Ren et al., "Unveiling and Mitigating Memorization in Text-to-image Diffusion Models
    through Cross Attention", arXiv:2403.11052; C = 1.25 in their code.
Sign: multiplying a negative logit lowers it, against the intention. `sign=paper` multiplies all the
    same; `sign=raise` adds (C - 1) |logit| (our variant).
Cost: none to speak of; the layers do not use fused kernels.
Limits: whoever has the weights leaves it out; weak where no single token triggers the image.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from attacks.errors import UsageError
from attacks.manifest import Capabilities
from mitigations._transition import needs_guidance
from mitigations.filters import Drawing, Filter
from mitigations.manifest import Guarantee, Manifest
from mitigations.material import Change, Material

if TYPE_CHECKING:
    from torch import Tensor

MANIFEST = Manifest(
    id="MIT005",
    name="attention_rescale",
    title="Cross-attention rescaling",
    guarantee=Guarantee.FILTER,
    references=("arXiv:2403.11052",),
    limits="It protects nothing once the weights are released.",
)

Masked = Literal["end", "padding", "none"]
"""Keys from the end token on; behind the end token; none."""
Sign = Literal["paper", "raise"]
"""Multiply the logit; or raise it whatever its sign."""


@dataclass(frozen=True, slots=True)
class AttentionRescaleConfig:
    """Which keys are masked, and how the start token is favoured."""

    mask: Masked = "end"
    """`end`, `padding` or `none`."""
    scale: float = 1.25
    """C, by which the logit of the start token is multiplied."""
    sign: Sign = "paper"
    """`paper` multiplies, `raise` adds (C - 1) |logit|."""

    def __post_init__(self) -> None:
        if not (math.isfinite(self.scale) and self.scale > 0):
            raise UsageError(f"scale must be a positive number, got {self.scale}")


def default_config(capabilities: Capabilities) -> AttentionRescaleConfig:
    """The settings of the authors' code."""
    return AttentionRescaleConfig()


def applicable(capabilities: Capabilities) -> str | None:
    """None for models that take text, else the reason."""
    return needs_guidance(capabilities)


def apply(material: Material, config: AttentionRescaleConfig) -> Change:
    """The settings; nothing is learned."""
    return Change(filter=dataclasses.asdict(config))


class AttentionRescale(Filter):
    """Replaces the processors of the cross-attention while images are drawn."""

    def __init__(self, mask: Masked = "end", scale: float = 1.25, sign: Sign = "paper"):
        self.mask, self.scale, self.sign = mask, scale, sign

    def begins(self, drawing: Drawing) -> Any:
        """Note where the prompts end and which rows are theirs."""
        self._n = len(drawing.prompts)
        self._rows = self._n * (1 if drawing.unconditional is None else 2)
        self._ends = end_positions(drawing.model.tokenizer, drawing.prompts)
        return super().begins(drawing)

    @contextmanager
    def attention(self, unet: Any) -> Iterator[None]:
        """Our processors; the layers' own ones are put back afterwards."""
        if self.mask == "none" and self.scale == 1:
            yield
            return
        layers = [m for name, m in unet.named_modules() if name.endswith("attn2")]
        own = [layer.processor for layer in layers]
        try:
            for layer, processor in zip(layers, own, strict=True):
                layer.set_processor(RescaledProcessor(processor, self))
            yield
        finally:
            for layer, processor in zip(layers, own, strict=True):
                layer.set_processor(processor)

    def rows(self, n_rows: int) -> int:
        """How many of the last rows of a call belong to the prompts; 0 for other calls."""
        return self._n if n_rows == self._rows else 0

    def logits(self, logits: Tensor) -> Tensor:
        """(n, heads, places, tokens) changed attention logits of the prompts' rows."""
        import torch

        first = logits[..., :1]
        gain = (self.scale - 1) * (first if self.sign == "paper" else first.abs())
        logits = torch.cat([first + gain, logits[..., 1:]], dim=-1)
        if self.mask == "none":
            return logits
        ends = torch.tensor(self._ends, device=logits.device) + (self.mask == "padding")
        places = torch.arange(logits.shape[-1], device=logits.device)
        is_masked = places[None, :] >= ends.clamp_min(1)[:, None]
        return logits.masked_fill(is_masked[:, None, None, :], -math.inf)


class RescaledProcessor:
    """A diffusers attention processor: the layer's own, but for the prompts' rows."""

    def __init__(self, own: Any, rescale: AttentionRescale):
        self._own, self._rescale = own, rescale

    def __call__(
        self,
        attn: Any,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,
        *args: Any,
        **kwargs: Any,
    ) -> Tensor:
        """As the layer's own processor is called."""
        import torch

        n = 0 if encoder_hidden_states is None else self._rescale.rows(len(hidden_states))
        if not n or encoder_hidden_states is None:
            return self._own(
                attn, hidden_states, encoder_hidden_states, attention_mask, *args, **kwargs
            )
        changed = attended(
            attn, hidden_states[-n:], encoder_hidden_states[-n:], self._rescale.logits
        )
        if len(hidden_states) == n:
            return changed
        others = self._own(
            attn, hidden_states[:-n], encoder_hidden_states[:-n], None, *args, **kwargs
        )
        return torch.cat([others, changed])


def attended(attn: Any, hidden: Tensor, text: Tensor, change: Any) -> Tensor:
    """(n, places, d) output of a cross-attention layer with changed logits.

    attn: a diffusers Attention layer on (n, places, d) inputs, as in a U-Net's transformer blocks;
    change: maps (n, heads, places, tokens) logits to others.
    """
    if attn.norm_cross:
        text = attn.norm_encoder_hidden_states(text)

    def by_head(states: Tensor) -> Tensor:
        return states.unflatten(-1, (attn.heads, -1)).transpose(1, 2)

    query, key = by_head(attn.to_q(hidden)), by_head(attn.to_k(text))
    value = by_head(attn.to_v(text))
    query = query if attn.norm_q is None else attn.norm_q(query)
    key = key if attn.norm_k is None else attn.norm_k(key)
    weights = change(query.float() @ key.float().transpose(-1, -2) * attn.scale).softmax(dim=-1)
    mixed = (weights.to(value.dtype) @ value).transpose(1, 2).flatten(2)
    output = attn.to_out[1](attn.to_out[0](mixed))
    if attn.residual_connection:
        output = output + hidden
    result: Tensor = output / attn.rescale_output_factor
    return result


def end_positions(tokenizer: Any, prompts: Sequence[str]) -> list[int]:
    """Position of the end token of each prompt, the last position where it was cut."""
    length = tokenizer.model_max_length
    cut = [tokenizer(p, truncation=True, max_length=length).input_ids for p in prompts]
    return [len(ids) - 1 for ids in cut]


def open_filter(settings: Mapping[str, Any], tensors: Mapping[str, Any]) -> AttentionRescale:
    """The filter of stored settings."""
    return AttentionRescale(settings["mask"], settings["scale"], settings["sign"])
