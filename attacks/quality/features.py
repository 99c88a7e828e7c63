"""Features of images that need no reference network: principal components of small pictures.

They see layout, brightness and coarse texture, not meaning. Distances between them can be compared
between models that were measured with the same fitted features, and with nothing else: a KID or FID
of them is not that of a paper, which is taken in the features of an Inception network.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from attacks.errors import ShapeError

SIDE = 16
"""Pixels of a side that images are averaged down to."""
DIMENSIONS = 16
"""Principal components that are kept."""


@dataclass(frozen=True, slots=True, eq=False)
class PixelFeatures:
    """A fitted map from images to features of unit average variance."""

    mean: NDArray[np.float64]
    """(p,) mean small picture."""
    components: NDArray[np.float64]
    """(d, p) principal components, divided by the features' common spread."""
    side: int
    """Most pixels of a side of the small pictures."""

    def __call__(self, images: ArrayLike) -> NDArray[np.float64]:
        """(n, d) features of (n, c, h, w) images in [0, 1].

        Raises ShapeError for images of another kind than those it was fitted on.
        """
        small = _small(images, self.side)
        if small.shape[1] != len(self.mean):
            raise ShapeError(
                f"the features were fitted on pictures of {len(self.mean)} values, these have "
                f"{small.shape[1]}; use images of one size"
            )
        return (small - self.mean) @ self.components.T


def fit_pixel_features(
    images: ArrayLike, *, dimensions: int = DIMENSIONS, side: int = SIDE
) -> PixelFeatures:
    """Features fitted on real images (n, c, h, w) in [0, 1] that no compared model is judged by.

    dimensions: at most; never more than half the images, so that they are not fitted to noise.
    All of them are divided by one number: their relative spread is kept.

    Raises ShapeError for fewer than 4 images, or equal ones.
    """
    small = _small(images, side)
    if len(small) < 4:
        raise ShapeError(f"features need 4 images to be fitted on, got {len(small)}")
    mean = small.mean(axis=0)
    _, spread, rows = np.linalg.svd(small - mean, full_matrices=False)
    kept = min(dimensions, len(small) // 2, int((spread > 1e-9 * max(spread[0], 1e-300)).sum()))
    if spread[0] <= 1e-9 * np.sqrt(small.size):
        raise ShapeError("all images that features are fitted on are equal; give different ones")
    # The largest weight of a component is positive: signs of an SVD are arbitrary.
    signs = np.sign(rows[np.arange(kept), np.abs(rows[:kept]).argmax(axis=1)])
    scale = np.sqrt(np.square(spread[:kept]).sum() / (len(small) * kept))
    return PixelFeatures(mean, rows[:kept] * signs[:, None] / scale, side)


def _small(images: ArrayLike, side: int) -> NDArray[np.float64]:
    """(n, p) images averaged over boxes to at most `side` pixels a side, flattened."""
    array = np.asarray(images, dtype=np.float64)
    if array.ndim != 4:
        raise ShapeError(f"expected images of shape (n, c, h, w), got {array.shape}")
    for axis in (2, 3):
        size = array.shape[axis]
        if size > side:
            edges = np.arange(side) * size // side
            counts = np.diff([*edges, size])
            shape = [1] * 4
            shape[axis] = side
            array = np.add.reduceat(array, edges, axis=axis) / counts.reshape(shape)
    return array.reshape(len(array), -1)
