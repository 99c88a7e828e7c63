"""How near generated images come to the training set: AMD, and FID divided by it (MiFID).

AMD is the mean over generated images of the smallest distance 1 - |cos| to any training image; a
larger one means less memorization. MiFID = FID / AMD where AMD is below a limit, and FID as it is
elsewhere, so that it says nothing above the limit (Bai et al., "On Training Sample Memorization").
torchmetrics (`MemorizationInformedFrechetInceptionDistance`) averages over what it is given as the
real images; it agrees with ours if the roles are exchanged.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from attacks.errors import ShapeError
from attacks.quality._features import checked_features

LIMIT = 0.1
"""AMD from which MiFID is the plain FID."""
ROWS = 1024
"""Generated images compared at once."""


def average_minimum_distance(training: ArrayLike, generated: ArrayLike) -> float:
    """Mean over generated images of the smallest 1 - |cos| to a training image, in [0, 1].

    training, generated: features (n, d) and (m, d). The scale of a row does not matter; a row of
    zeros has no direction and is left out.

    Raises ShapeError if nothing is left of a set.
    """
    x, y = (_directions(one) for one in checked_features(training, generated, 1))
    if not len(x) or not len(y):
        raise ShapeError("all features of a set are 0; they have no direction to compare")
    nearest = [
        np.abs(y[start : start + ROWS] @ x.T).max(axis=1) for start in range(0, len(y), ROWS)
    ]
    return float(np.mean(1 - np.minimum(np.concatenate(nearest), 1.0)))


def mifid(fid: float, amd: float, *, limit: float = LIMIT) -> float:
    """FID divided by AMD where AMD is below the limit; FID elsewhere.

    Infinite where generated images equal training images (AMD 0) and FID is positive.
    """
    if amd >= limit:
        return fid
    if amd <= 0:
        return float("inf") if fid > 0 else 0.0
    return fid / amd


def _directions(features: NDArray[np.float64]) -> NDArray[np.float64]:
    largest = np.abs(features).max(axis=1)
    kept = features[largest > 0] / largest[largest > 0, None]
    return kept / np.linalg.norm(kept, axis=1, keepdims=True)
