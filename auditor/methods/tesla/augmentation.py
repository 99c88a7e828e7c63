"""Differentiable siamese augmentation with a seed that can be replayed.

Source: Zhao and Bilen, ICML 2021, with the ranges of their code, which MTT and TESLA use: one of
the operations is drawn per batch, its parameters per picture. Everything drawn comes from the
seed, so both passes of a distillation step see the very same pictures; gradients pass through.
Our reading: shifts of both axes are drawn independently.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Generator, Tensor
from torch.nn import functional

BRIGHTNESS = 1.0
"""Width of the uniform shift in brightness."""
SATURATION = 2.0
"""Largest factor on the difference from grey."""
CONTRAST = 0.5
"""Smallest factor on the difference from the mean; the largest is 1 more."""
CROP = 0.125
"""Largest shift as a share of the side."""
CUTOUT = 0.5
"""Side of the hidden square as a share of the side."""
FLIP = 0.5
"""Probability of a mirror image."""
SCALE = 1.2
"""Largest factor of size; the smallest is its inverse."""
ROTATE = 15.0
"""Largest angle in degrees."""


def augment(x: Tensor, names: Sequence[str], seed: int) -> Tensor:
    """(n, c, h, w) pictures after one operation drawn from names; unchanged if there are none."""
    if not names:
        return x
    generator = Generator().manual_seed(seed)
    drawn = int(torch.randint(len(names), (1,), generator=generator))
    return OPERATIONS[names[drawn]](x, generator)


def _uniform(x: Tensor, generator: Generator) -> Tensor:
    """(n, 1, 1, 1) numbers in [0, 1), the same whatever the precision of x."""
    drawn = torch.rand(len(x), 1, 1, 1, generator=generator)
    return drawn.to(x.device, x.dtype)


def _color(x: Tensor, generator: Generator) -> Tensor:
    x = x + (_uniform(x, generator) - 0.5) * BRIGHTNESS
    grey = x.mean(dim=1, keepdim=True)
    x = (x - grey) * _uniform(x, generator) * SATURATION + grey
    mean = x.mean(dim=(1, 2, 3), keepdim=True)
    return (x - mean) * (_uniform(x, generator) + CONTRAST) + mean


def _crop(x: Tensor, generator: Generator) -> Tensor:
    """Shifted by whole pixels; zeros come in at the border."""
    height, width = x.shape[2:]
    most_y, most_x = int(height * CROP + 0.5), int(width * CROP + 0.5)
    padded = functional.pad(x, (most_x, most_x, most_y, most_y))
    top = torch.randint(2 * most_y + 1, (len(x),), generator=generator)
    left = torch.randint(2 * most_x + 1, (len(x),), generator=generator)
    rows = (top[:, None] + torch.arange(height))[:, :, None].to(x.device)
    columns = (left[:, None] + torch.arange(width))[:, None, :].to(x.device)
    at = torch.arange(len(x), device=x.device)[:, None, None]
    return padded.permute(0, 2, 3, 1)[at, rows, columns].permute(0, 3, 1, 2)


def _cutout(x: Tensor, generator: Generator) -> Tensor:
    """A square of zeros, partly outside where its centre is near the border."""
    hidden = []
    for side in x.shape[2:]:
        size = int(side * CUTOUT + 0.5)
        centre = torch.randint(side + 1 - size % 2, (len(x), 1), generator=generator)
        first = centre - size // 2
        at = torch.arange(side)
        hidden.append((at >= first) & (at < first + size))
    square = hidden[0][:, None, :, None] & hidden[1][:, None, None, :]
    return x * (~square).to(x.device, x.dtype)


def _flip(x: Tensor, generator: Generator) -> Tensor:
    return torch.where(_uniform(x, generator) < FLIP, x.flip(3), x)


def _scale(x: Tensor, generator: Generator) -> Tensor:
    low = 1 / SCALE
    sx, sy = (_uniform(x, generator).flatten() * (SCALE - low) + low for _ in range(2))
    zero = torch.zeros_like(sx)
    return _resampled(x, [sx, zero, zero], [zero, sy, zero])


def _rotate(x: Tensor, generator: Generator) -> Tensor:
    angle = (_uniform(x, generator).flatten() * 2 - 1) * (ROTATE * math.pi / 180)
    zero = torch.zeros_like(angle)
    return _resampled(x, [angle.cos(), -angle.sin(), zero], [angle.sin(), angle.cos(), zero])


def _resampled(x: Tensor, first: list[Tensor], second: list[Tensor]) -> Tensor:
    theta = torch.stack([torch.stack(first, dim=1), torch.stack(second, dim=1)], dim=1)
    grid = functional.affine_grid(theta, list(x.shape), align_corners=False)
    return functional.grid_sample(x, grid, align_corners=False)


OPERATIONS: dict[str, Callable[[Tensor, Generator], Tensor]] = {
    "color": _color,
    "crop": _crop,
    "cutout": _cutout,
    "flip": _flip,
    "scale": _scale,
    "rotate": _rotate,
}
"""Name in a configuration -> the operation."""
