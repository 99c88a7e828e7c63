"""Augmented versions of pictures: mirrored, and shifted by one pixel."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

SHIFTS = ((0, 0), (-1, 0), (1, 0), (0, -1), (0, 1), (-1, -1), (-1, 1), (1, -1), (1, 1))
"""Rows down and columns to the right, the smallest first."""
MOST_QUERIES = 2 * len(SHIFTS)
"""Versions that there are: 18, as LiRA asks on CIFAR (Carlini et al., arXiv:2112.03570)."""


def augmented(pictures: Any, query: int) -> NDArray[np.floating]:
    """(n, c, h, w) version of pictures: 0 is as they are, 1 their mirror image, 2 the first shift.

    Odd ones are mirrored. What a shift uncovers repeats the edge.
    """
    down, right = SHIFTS[query // 2]
    if query % 2:
        pictures = pictures[..., ::-1]
    if (down, right) == (0, 0):
        return np.ascontiguousarray(pictures)
    height, width = pictures.shape[-2:]
    around = np.pad(pictures, ((0, 0), (0, 0), (1, 1), (1, 1)), mode="edge")
    rows, columns = slice(1 - down, 1 - down + height), slice(1 - right, 1 - right + width)
    return np.ascontiguousarray(around[..., rows, columns])
