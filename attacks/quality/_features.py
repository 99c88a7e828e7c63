"""What every metric checks of the features that it is given."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from attacks.errors import ShapeError


def checked_features(
    real: ArrayLike, generated: ArrayLike, least: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Both sets as float64 (n, d) and (m, d) with at least `least` finite rows each.

    Raises ShapeError.
    """
    sets = []
    for name, values in (("real", real), ("generated", generated)):
        array = np.asarray(values, dtype=np.float64)
        if array.ndim != 2 or array.shape[1] < 1 or len(array) < least:
            raise ShapeError(
                f"expected {name} features of shape (n, d) with n >= {least}, got {array.shape}; "
                "give more images"
            )
        if not np.isfinite(array).all():
            raise ShapeError(f"{name} features hold values that are not finite; leave them out")
        sets.append(array)
    if sets[0].shape[1] != sets[1].shape[1]:
        raise ShapeError(
            f"real features have {sets[0].shape[1]} dimensions, generated ones {sets[1].shape[1]}; "
            "take both from one encoder"
        )
    return sets[0], sets[1]
