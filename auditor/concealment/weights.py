"""Exact zeros of an edited model's weights against the original's, and what refilling them does."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import torch
from torch import nn

from attacks.concealment.zeros import DisclosedLayer, LayerZeros, disclosed, refilled
from auditor.targets.diffusion import DiffusionTarget


def zeros_by_layer(edited: DiffusionTarget, original: DiffusionTarget) -> tuple[LayerZeros, ...]:
    """Zeros of every weight tensor of the U-Net and the text encoders that both models have."""
    found = []
    for part, (ours, theirs) in _networks(edited, original).items():
        before = theirs.state_dict()
        for name, weights in ours.state_dict().items():
            other = before.get(name)
            if other is None or other.shape != weights.shape or not weights.is_floating_point():
                continue
            counts = [int((w == 0).sum()) for w in (other, weights)]
            found.append(LayerZeros(f"{part}.{name}", weights.numel(), *counts))
    return tuple(found)


def check_zeros(edited: DiffusionTarget, original: DiffusionTarget) -> tuple[DisclosedLayer, ...]:
    """Every layer whose zeros changed in number, the most telling first, and their tests."""
    every = disclosed(zeros_by_layer(edited, original))
    changed = [layer for layer in every if layer.n_edited != layer.n_original]
    return tuple(sorted(changed, key=lambda layer: (layer.p_value, -layer.n_edited)))


def revived(edited: DiffusionTarget, layers: tuple[DisclosedLayer, ...]) -> DiffusionTarget | None:
    """The edited model with the zeros of disclosed U-Net layers refilled; None if there are none."""
    prefix = "unet."
    names = {
        layer.layer.removeprefix(prefix)
        for layer in layers
        if layer.is_disclosed and layer.layer.startswith(prefix)
    }
    if not names:
        return None
    unet = copy.deepcopy(edited.unet)
    weights = unet.state_dict()
    with torch.no_grad():
        for name in names:
            known = weights[name].float().cpu().numpy()
            guess = refilled(known, np.equal(known, 0))
            weights[name].copy_(torch.from_numpy(guess).to(weights[name].dtype))
    return edited.with_unet(unet)


def _networks(
    edited: DiffusionTarget, original: DiffusionTarget
) -> dict[str, tuple[nn.Module, nn.Module]]:
    pairs: dict[str, tuple[Any, Any]] = {"unet": (edited.unet, original.unet)}
    for part in ("text_encoder", "text_encoder_2"):
        both = [getattr(one.text_pipeline, part, None) for one in (edited, original)]
        if all(network is not None for network in both):
            pairs[part] = (both[0], both[1])
    return pairs
