"""Similarity across seeds: a memorized prompt makes the first prediction forget the noise.

Idea: eps(x_T, prompt) - x_T after one step points to the image. For an ordinary prompt it depends
on the seed; for a memorized one all seeds point to the same picture.
Citation: Hintersdorf et al., "Finding NeMo: Localizing Neurons Responsible For Memorization in
Diffusion Models", NeurIPS 2024, arXiv:2406.02366.
Score: structural similarity of eps(x_T, prompt) - x_T, mean over all pairs of seeds, in [-1, 1].
Higher means more likely memorized.
Our reading: the paper names SSIM (Wang et al., IEEE TIP 2004) without its constants: a uniform
7 x 7 window (the largest odd one on smaller inputs), a data range of 2 standard deviations of the
initial noise on each side (4 in all), mean over channels.
Cost: 1 forward call a seed, without guidance, shared with `text_magnitude`; the paper uses 10.
Invalid when: there is one seed, or the seeds are equal; few seeds make it noisy.
"""

from __future__ import annotations

from itertools import combinations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from attacks.detection import _common
from attacks.detection._common import Recordings, Setting
from attacks.errors import ShapeError
from attacks.manifest import Access, DiffusionCapabilities, Manifest
from attacks.observations import Request
from attacks.observations.prompts import FirstResidual

MANIFEST = Manifest(
    id="DET004",
    name="seed_similarity",
    title="Similarity of the first step across seeds",
    goal=_common.GOAL,
    access=Access.GREY_BOX,
    tags=_common.TAGS,
    references=("arXiv:2406.02366",),
    kind="detection",
)
IS_DIRECTED = True
WINDOW = 7
DATA_RANGE = 4.0
_K1, _K2 = 0.01, 0.03


def applicable(capabilities: DiffusionCapabilities) -> str | None:
    """None for models that take text, else the reason."""
    return _common.needs_text(capabilities)


def requests(setting: Setting) -> tuple[Request, ...]:
    """The residual of the first prediction. Raises UsageError with a single seed."""
    _common.needs_two_seeds(setting, MANIFEST.name)
    return (FirstResidual(setting.steps),)


def score(recorded: Recordings, setting: Setting) -> NDArray[np.float64]:
    """(p,) mean similarity over pairs of seeds; higher means more likely memorized."""
    (request,) = requests(setting)
    residuals = recorded.raw(request)
    return np.array([mean_similarity(of_prompt) for of_prompt in residuals], dtype=np.float64)


def mean_similarity(maps: ArrayLike) -> float:
    """Mean structural similarity over all pairs of s maps (s, c, h, w), s >= 2."""
    stack = np.asarray(maps, dtype=np.float64)
    if stack.ndim != 4 or len(stack) < 2:
        raise ShapeError(f"expected maps of shape (s, c, h, w) with s >= 2, got {stack.shape}")
    means = local_mean(stack)
    squares = local_mean(stack**2)
    pairs = [
        _ssim(stack[i] * stack[j], means[i], means[j], squares[i], squares[j])
        for i, j in combinations(range(len(stack)), 2)
    ]
    return float(np.mean(pairs))


def ssim(first: ArrayLike, second: ArrayLike) -> float:
    """Mean structural similarity of two maps (c, h, w), in [-1, 1]; 1 for equal maps."""
    return mean_similarity(np.stack([np.asarray(first), np.asarray(second)]))


def local_mean(maps: NDArray[np.float64]) -> NDArray[np.float64]:
    """(..., h - k + 1, w - k + 1) means of all whole k x k windows."""
    from scipy.ndimage import uniform_filter

    size = window(*maps.shape[-2:])
    smooth = uniform_filter(maps, size=(*(1 for _ in maps.shape[:-2]), size, size))
    border = size // 2
    inner = slice(border, -border or None)
    return np.asarray(smooth[..., inner, inner])


def window(height: int, width: int) -> int:
    """Side of the window: 7, or the largest odd number that fits."""
    side = min(WINDOW, height, width)
    return side if side % 2 else side - 1


def _ssim(
    product: NDArray[np.float64],
    mean_a: NDArray[np.float64],
    mean_b: NDArray[np.float64],
    square_a: NDArray[np.float64],
    square_b: NDArray[np.float64],
) -> float:
    """Equation 13 of Wang et al. from local means of the maps, their squares and product."""
    c1, c2 = (_K1 * DATA_RANGE) ** 2, (_K2 * DATA_RANGE) ** 2
    covariance = local_mean(product) - mean_a * mean_b
    spread = (square_a - mean_a**2) + (square_b - mean_b**2)
    top = (2 * mean_a * mean_b + c1) * (2 * covariance + c2)
    bottom = (mean_a**2 + mean_b**2 + c1) * (spread + c2)
    return float((top / bottom).mean())
