"""Text conditioning: captions to what a U-Net takes beside its input."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class Conditioning:
    """Conditioning of n texts; rows are chosen with `rows`."""

    hidden: Tensor
    """(n, tokens, d) hidden states of the text encoder."""
    pooled: Tensor | None = None
    """(n, d2) pooled embedding (SDXL)."""
    time_ids: Tensor | None = None
    """(n, 6) original size, crop and target size (SDXL)."""

    def rows(self, index: Tensor) -> Conditioning:
        """The conditioning of the texts at these positions, repeats allowed."""
        return Conditioning(
            self.hidden[index],
            None if self.pooled is None else self.pooled[index],
            None if self.time_ids is None else self.time_ids[index],
        )

    def joined(self, other: Conditioning) -> Conditioning:
        """The conditioning of these texts followed by that of others."""

        def both(first: Tensor | None, second: Tensor | None) -> Tensor | None:
            return None if first is None or second is None else torch.cat([first, second])

        return Conditioning(
            torch.cat([self.hidden, other.hidden]),
            both(self.pooled, other.pooled),
            both(self.time_ids, other.time_ids),
        )

    def tensors(self) -> tuple[Tensor, ...]:
        """The embeddings: hidden states, and pooled ones where there are any."""
        return (self.hidden,) if self.pooled is None else (self.hidden, self.pooled)

    def replaced(self, tensors: Sequence[Tensor]) -> Conditioning:
        """The same with other embeddings, in the order of `tensors`."""
        hidden, *rest = tensors
        return Conditioning(hidden, rest[0] if rest else None, self.time_ids)

    def arguments(self, dtype: torch.dtype) -> dict[str, Any]:
        """Keyword arguments for a U-Net's forward."""
        given: dict[str, Any] = {"encoder_hidden_states": self.hidden.to(dtype)}
        if self.pooled is not None and self.time_ids is not None:
            given["added_cond_kwargs"] = {
                "text_embeds": self.pooled.to(dtype),
                "time_ids": self.time_ids.to(dtype),
            }
        return given


def embed_texts(
    pipeline: Any, texts: Sequence[str], size: tuple[int, int], *, keep_graph: bool = False
) -> Conditioning:
    """Conditioning of texts through the pipeline's own `encode_prompt`, without guidance.

    pipeline: a StableDiffusionPipeline or StableDiffusionXLPipeline; size: height and width of the
    images in pixels; keep_graph: whether gradients can flow back to the text encoder's inputs.
    """
    encoder = (
        pipeline.text_encoder if pipeline.text_encoder is not None else pipeline.text_encoder_2
    )
    device = next(encoder.parameters()).device
    with torch.set_grad_enabled(keep_graph):
        encoded = pipeline.encode_prompt(
            prompt=list(texts),
            device=device,
            num_images_per_prompt=1,
            do_classifier_free_guidance=False,
        )
    if len(encoded) == 2:
        return Conditioning(encoded[0].float())
    hidden, _, pooled, _ = encoded
    time_ids = torch.tensor([[*size, 0, 0, *size]], dtype=torch.float32, device=device)
    return Conditioning(hidden.float(), pooled.float(), time_ids.expand(len(texts), -1))


def embed_nothing(pipeline: Any, size: tuple[int, int]) -> Conditioning:
    """(1, ...) conditioning of the unconditional half of guidance: the empty text.

    Pipelines of the SDXL kind may ask for zeros in its place (`force_zeros_for_empty_prompt`).
    """
    empty = embed_texts(pipeline, [""], size)
    if not getattr(pipeline.config, "force_zeros_for_empty_prompt", False):
        return empty
    pooled = None if empty.pooled is None else torch.zeros_like(empty.pooled)
    return Conditioning(torch.zeros_like(empty.hidden), pooled, empty.time_ids)
