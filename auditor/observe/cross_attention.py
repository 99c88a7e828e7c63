"""Records the cross-attention of a U-Net while it runs, without changing what it computes.

Each cross-attention layer keeps its own processor, which computes the output as before; ours runs
beside it, computes the probabilities from the same inputs, and keeps reductions alone: the share
of each token, and the attention of each place to one token.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from attacks.errors import TargetError

BRIGHT_LAYERS = 2
"""Down-sampling layers of the highest resolution whose attention makes the mask."""
CELLS = 2**24
"""Most attention probabilities in memory at once."""


@dataclass
class CrossAttention:
    """What the layers attended to in the last forward call; the rows of the prompt alone."""

    n_rows: int = 0
    """Rows of the prompt: the last rows of a call, behind those of the empty text."""
    ends: Tensor | None = None
    """(n_rows,) token whose map is kept; None keeps no maps."""
    tokens: dict[str, Tensor] = field(default_factory=dict)
    """Layer -> (n_rows, tokens) mean over heads and places."""
    maps: dict[str, Tensor] = field(default_factory=dict)
    """Bright layer -> (n_rows, places) attention to the token of `ends`, mean over heads."""

    def shares(self) -> Tensor:
        """(n_rows, layers, tokens) in the order of the layers of the U-Net."""
        return torch.stack(list(self.tokens.values()), dim=1)


class _Recording:
    """A processor that does what the layer's own does, and looks at it."""

    def __init__(self, name: str, own: Any, into: CrossAttention, is_bright: bool):
        self._name, self._own, self._into, self._is_bright = name, own, into, is_bright

    def __call__(
        self, attn: Any, hidden_states: Tensor, encoder_hidden_states: Any = None, *args: Any,
        **kwargs: Any,
    ) -> Any:  # fmt: skip
        if self._into.n_rows and encoder_hidden_states is not None:
            with torch.no_grad():
                self._look(attn, hidden_states, encoder_hidden_states)
        return self._own(attn, hidden_states, encoder_hidden_states, *args, **kwargs)

    def _look(self, attn: Any, hidden: Tensor, text: Tensor) -> None:
        n = self._into.n_rows
        ends = self._into.ends
        rows = max(1, CELLS // (hidden.shape[1] * text.shape[1] * attn.heads))
        shares: list[Tensor] = []
        maps: list[Tensor] = []
        for part, of in zip(hidden[-n:].split(rows), text[-n:].split(rows), strict=True):
            probabilities = attention_probabilities(attn, part, of).mean(dim=1)
            shares.append(probabilities.mean(dim=1))
            if self._is_bright and ends is not None:
                at = ends[len(maps) * rows : len(maps) * rows + len(part)]
                index = at[:, None, None].expand(-1, probabilities.shape[1], 1)
                maps.append(probabilities.gather(2, index)[..., 0])
        self._into.tokens[self._name] = torch.cat(shares)
        if maps:
            self._into.maps[self._name] = torch.cat(maps)


def attention_probabilities(attn: Any, hidden: Tensor, text: Tensor) -> Tensor:
    """(n, heads, places, tokens) float32 probabilities; each row over tokens sums to 1.

    hidden: (n, places, d) and text: (n, tokens, d2), the inputs of a diffusers Attention layer.
    """
    if attn.norm_cross:
        text = attn.norm_encoder_hidden_states(text)
    query, key = attn.to_q(hidden), attn.to_k(text)

    def by_head(states: Tensor) -> Tensor:
        return states.unflatten(-1, (attn.heads, -1)).transpose(1, 2)

    query, key = by_head(query), by_head(key)
    if attn.norm_q is not None:
        query = attn.norm_q(query)
    if attn.norm_k is not None:
        key = attn.norm_k(key)
    scores = query.float() @ key.float().transpose(-1, -2) * attn.scale
    return scores.softmax(dim=-1)


@contextmanager
def recorded_attention(unet: Any) -> Iterator[CrossAttention]:
    """Record while the context lasts; the U-Net's own processors are put back afterwards.

    Raises TargetError if it has no cross-attention.
    """
    layers = cross_attention_layers(unet)
    if not layers:
        raise TargetError("the U-Net has no cross-attention; leave out the detectors that read it")
    into = CrossAttention()
    bright = bright_layers(list(layers))
    own = {name: layer.processor for name, layer in layers.items()}
    try:
        for name, layer in layers.items():
            layer.set_processor(_Recording(name, own[name], into, name in bright))
        yield into
    finally:
        for name, layer in layers.items():
            layer.set_processor(own[name])


def cross_attention_layers(unet: Any) -> dict[str, Any]:
    """Name -> layer that attends to the text, in the order of a forward call."""
    from diffusers.models.attention_processor import Attention

    found = {
        name: module
        for name, module in unet.named_modules()
        if isinstance(module, Attention) and name.endswith("attn2")
    }
    order = {"down_blocks": 0, "mid_block": 1, "up_blocks": 2}
    return dict(sorted(found.items(), key=lambda item: order.get(item[0].split(".")[0], 3)))


def bright_layers(names: list[str]) -> tuple[str, ...]:
    """The first layers on the way down: those of the highest resolution."""
    down = [name for name in names if name.startswith("down_blocks")]
    first = [name for name in down if name.split(".")[1] == down[0].split(".")[1]]
    return tuple(first[:BRIGHT_LAYERS]) or tuple(names[:1])
