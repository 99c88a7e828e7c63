"""Figures of pictures: how good one looks by itself, and how far it is from another.

The qualities are those of `attacks.observations.QUALITIES`, the distances those of `DISTANCES`.
"""

from __future__ import annotations

import zlib

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, laplace

from auditor.observe.similarity import ssim

GREY = np.array([0.299, 0.587, 0.114])
"""Weights of red, green and blue in a grey image (ITU-R BT.601)."""
WINDOW = 7 / 6
"""Standard deviation in pixels of the local mean and spread, as in BRISQUE."""
STABLE = 1 / 255
"""Added to the local spread, so that flat areas stay finite."""


def qualities(picture: NDArray[np.uint8]) -> NDArray[np.float64]:
    """(8,) figures of a (height, width, 3) picture; all finite, also for a picture of one colour."""
    pixels = picture.astype(np.float64) / 255
    grey = pixels @ GREY
    steps = [np.abs(np.diff(grey, axis=axis)) for axis in (0, 1)]
    n_steps = max(1, sum(step.size for step in steps))
    local = gaussian_filter(grey, WINDOW)
    spread = np.sqrt(np.maximum(gaussian_filter(grey**2, WINDOW) - local**2, 0))
    normalised = (grey - local) / (spread + STABLE)
    variance = float(normalised.var())
    fourth = float(((normalised - normalised.mean()) ** 4).mean())
    return np.array(
        [
            grey.mean(),
            grey.std(),
            (pixels.max(axis=2) - pixels.min(axis=2)).mean(),
            sum(float(step.sum()) for step in steps) / n_steps,
            np.log(laplace(grey).var() + STABLE**2),
            len(zlib.compress(np.ascontiguousarray(picture).tobytes())) / picture.size,
            fourth / variance**2 if variance > 1e-9 else 0.0,
            float((normalised[:, 1:] * normalised[:, :-1]).sum()) / max(1, normalised.size),
        ]
    )


def distances(first: NDArray[np.uint8], second: NDArray[np.uint8]) -> NDArray[np.float64]:
    """(n, 2) mean squared difference and 1 - SSIM of two batches (n, height, width, 3)."""
    a, b = first.astype(np.float64) / 255, second.astype(np.float64) / 255
    squared = ((a - b) ** 2).reshape(len(a), -1).mean(axis=1)
    one, other = (torch.from_numpy(x).permute(0, 3, 1, 2) for x in (a, b))
    return np.stack([squared, 1 - ssim(one, other)], axis=1)
