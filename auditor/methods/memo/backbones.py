"""Backbones, split where MEMO splits them: a generalised and a specialised part.

Source of the split: MEMO section 4; for ResNet32 the specialised part is the last stage with the
pooling, as in the official code. A specialised part ends in (n, d) features.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from attacks.errors import UsageError, did_you_mean


class Backbone(NamedTuple):
    """A fresh backbone in two parts."""

    generalised: nn.Module
    """Shallow layers, shared by all tasks."""
    specialised: nn.Module
    """Deep layers, one copy per task; returns (n, d) features."""
    d: int
    """Width of the specialised part's features."""


def n_parameters(module: nn.Module) -> int:
    """Parameters of a module; buffers are not counted."""
    return sum(p.numel() for p in module.parameters())


def n_buffers(module: nn.Module) -> int:
    """Floating-point numbers in a module's buffers: the running statistics."""
    return sum(b.numel() for b in module.buffers() if b.is_floating_point())


def whole(backbone: Backbone) -> Backbone:
    """The same backbone with nothing shared: every task copies all of it, as DER does."""
    return Backbone(
        nn.Identity(), nn.Sequential(backbone.generalised, backbone.specialised), backbone.d
    )


def build_backbone(name: str) -> Backbone:
    """A fresh backbone of that name; its weights are drawn from torch's global generator."""
    if name not in BACKBONES:
        raise UsageError(f"unknown backbone '{name}'; {did_you_mean(name, BACKBONES)}")
    return BACKBONES[name]()


def _step(inputs: int, outputs: int, stride: int) -> list[nn.Module]:
    """Convolution with bias, batch normalisation, ReLU."""
    return [
        nn.Conv2d(inputs, outputs, 3, stride, padding=1),
        nn.BatchNorm2d(outputs),
        nn.ReLU(),
    ]


def _pool() -> list[nn.Module]:
    return [nn.AdaptiveAvgPool2d(1), nn.Flatten()]


def digits_backbone() -> Backbone:
    """For 8x8 pictures: 1,296 generalised and 14,016 specialised parameters, d = 32."""
    return Backbone(
        nn.Sequential(*_step(1, 8, 1), *_step(8, 16, 2)),
        nn.Sequential(*_step(16, 32, 2), *_step(32, 32, 1), *_pool()),
        32,
    )


def enlarged_backbone() -> Backbone:
    """For 28x28 pictures: small beside its exemplars, 696 and 2,232 parameters, d = 12."""
    return Backbone(
        nn.Sequential(*_step(1, 8, 2), *_step(8, 8, 2)),
        nn.Sequential(*_step(8, 12, 2), *_step(12, 12, 1), *_pool()),
        12,
    )


class _Residual(nn.Module):
    """Two 3x3 convolutions with a shortcut that has no parameters (ResNet, option A)."""

    def __init__(self, inputs: int, outputs: int, stride: int):
        super().__init__()
        self.first = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
        self.first_norm = nn.BatchNorm2d(outputs)
        self.second = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.second_norm = nn.BatchNorm2d(outputs)
        self.stride, self.added = stride, outputs - inputs

    def forward(self, x: Tensor) -> Tensor:
        """(n, inputs, h, w) to (n, outputs, h / stride, w / stride)."""
        inner = functional.relu(self.first_norm(self.first(x)))
        shortcut = x[:, :, :: self.stride, :: self.stride]
        shortcut = functional.pad(shortcut, (0, 0, 0, 0, 0, self.added))
        return functional.relu(self.second_norm(self.second(inner)) + shortcut)


def _stage(inputs: int, outputs: int, stride: int, blocks: int) -> list[nn.Module]:
    rest = [_Residual(outputs, outputs, 1) for _ in range(blocks - 1)]
    return [_Residual(inputs, outputs, stride), *rest]


def resnet32_backbone() -> Backbone:
    """ResNet32 for 32x32 colour pictures (He et al., CVPR 2016), split before its last stage."""
    stem = [nn.Conv2d(3, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU()]
    return Backbone(
        nn.Sequential(*stem, *_stage(16, 16, 1, 5), *_stage(16, 32, 2, 5)),
        nn.Sequential(*_stage(32, 64, 2, 5), *_pool()),
        64,
    )


BACKBONES: dict[str, Callable[[], Backbone]] = {
    "digits": digits_backbone,
    "enlarged": enlarged_backbone,
    "resnet32": resnet32_backbone,
}
"""Name in a configuration -> a fresh backbone."""


def seeded(seed: int) -> torch.Generator:
    """A torch generator for batches and new weights."""
    return torch.Generator().manual_seed(seed)
