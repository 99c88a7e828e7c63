"""The nearest record of every image, and the nearest image of every record.

By the tiled distance of Carlini et al. (USENIX Security 2023, arXiv:2301.13188, section 4).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from attacks.errors import ShapeError
from attacks.extraction.distances import tiled_rms_matrix

CHUNK = 512
"""Records compared at once: bounds the memory."""


class Nearest(NamedTuple):
    """What m images and n records are to each other."""

    record: NDArray[np.int64]
    """(m,) index of the record nearest to each image."""
    of_image: NDArray[np.float64]
    """(m,) its distance."""
    image: NDArray[np.int64]
    """(n,) index of the image nearest to each record."""
    of_record: NDArray[np.float64]
    """(n,) its distance."""


def nearest(images: NDArray[np.uint8], records: NDArray[np.uint8]) -> Nearest:
    """Nearest partners of (m, h, w, c) images among (n, h, w, c) records, and the reverse.

    Memory is m times 512 distances beside the arrays. Raises ShapeError for images of another
    size, or if there are none.
    """
    m, n = len(images), len(records)
    if images.shape[1:] != records.shape[1:] or not m or not n:
        raise ShapeError(f"cannot compare {images.shape} images with {records.shape} records")
    of_image, record = np.full(m, np.inf), np.zeros(m, np.int64)
    of_record, image = np.full(n, np.inf), np.zeros(n, np.int64)
    for start in range(0, n, CHUNK):
        part = slice(start, min(start + CHUNK, n))
        distances = tiled_rms_matrix(images, records[part]).values
        column = distances.argmin(axis=1)
        best = distances[np.arange(m), column]
        closer = best < of_image
        of_image[closer], record[closer] = best[closer], column[closer] + start
        image[part] = distances.argmin(axis=0)
        of_record[part] = distances.min(axis=0)
    return Nearest(record, of_image, image, of_record)
