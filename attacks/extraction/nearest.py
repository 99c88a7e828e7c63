"""The nearest record of every image, and the nearest image of every record.

The distance is that of Carlini et al. (USENIX Security 2023, arXiv:2301.13188, section 4): both
images are cut into 4 x 4 tiles, and the largest root mean square difference of a tile counts, so
that a shared empty background does not make two images near. Pixels are in [0, 1].
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from attacks.errors import ShapeError

TILES = 4
"""Tiles along each side."""
CHUNK = 512
"""Records compared at once: bounds the memory."""
CONVENTION = "largest RMS difference of 4 x 4 tiles, pixels in [0, 1]"
"""Said beside every such distance."""


class Nearest(NamedTuple):
    """What images and records are to each other."""

    record: NDArray[np.int64]
    """(m,) index of the record nearest to each image."""
    of_image: NDArray[np.float64]
    """(m,) its distance."""
    image: NDArray[np.int64]
    """(n,) index of the image nearest to each record."""
    of_record: NDArray[np.float64]
    """(n,) its distance."""


def tiled_distance(
    first: NDArray[np.floating], second: NDArray[np.floating]
) -> NDArray[np.float64]:
    """(...) tiled distance of pairs of images (..., height, width, channels) in [0, 1]."""
    difference = np.asarray(first, np.float64) - np.asarray(second, np.float64)
    *lead, height, width, channels = difference.shape
    _check_side(height, width)
    tiles = difference.reshape(*lead, TILES, height // TILES, TILES, width // TILES, channels)
    means: NDArray[np.float64] = np.square(tiles).mean(axis=(-4, -2, -1))
    largest: NDArray[np.float64] = np.sqrt(means.max(axis=(-2, -1)))
    return largest


def nearest(images: NDArray[np.uint8], records: NDArray[np.uint8]) -> Nearest:
    """Nearest partners of (m, h, w, c) images among (n, h, w, c) records, and the reverse.

    Memory is m times 512 distances beside the arrays; each distance of the result is exact.
    """
    if images.shape[1:] != records.shape[1:]:
        raise ShapeError(f"images are {images.shape[1:]} and records {records.shape[1:]}")
    m, n = len(images), len(records)
    left = _tiles(images)
    of_image, record = np.full(m, np.inf), np.zeros(m, np.int64)
    of_record, image = np.full(n, np.inf), np.zeros(n, np.int64)
    for start in range(0, n if m else 0, CHUNK):
        part = slice(start, min(start + CHUNK, n))
        distances = _distances(left, _tiles(records[part])).numpy()
        column = distances.argmin(axis=1)
        best = distances[np.arange(m), column]
        closer = best < of_image
        of_image[closer], record[closer] = best[closer], column[closer] + start
        image[part] = distances.argmin(axis=0)
        of_record[part] = distances.min(axis=0)
    if m and n:
        of_image = _exact(images, records[record])
        of_record = _exact(images[image], records)
    return Nearest(record, of_image, image, of_record)


def _exact(images: NDArray[np.uint8], records: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Distances of pairs without the rounding of the matrix product."""
    return np.concatenate(
        [
            tiled_distance(images[i : i + CHUNK] / 255, records[i : i + CHUNK] / 255)
            for i in range(0, len(images), CHUNK)
        ]
    )


def _tiles(images: NDArray[np.uint8]) -> Tensor:
    """(16, n, pixels of a tile) float32 in [0, 1]."""
    n, height, width, channels = images.shape
    _check_side(height, width)
    pixels = torch.from_numpy(np.ascontiguousarray(images)).float() / 255
    shape = (n, TILES, height // TILES, TILES, width // TILES, channels)
    return pixels.reshape(shape).permute(1, 3, 0, 2, 4, 5).reshape(TILES**2, n, -1)


def _distances(left: Tensor, right: Tensor) -> Tensor:
    """(m, n) tiled distances of (16, m, p) and (16, n, p) tiles, tile by tile."""
    largest = torch.zeros(left.shape[1], right.shape[1])
    for one, other in zip(left, right, strict=True):
        squares = one.square().sum(1)[:, None] + other.square().sum(1)[None]
        torch.maximum(largest, squares - 2 * (one @ other.T), out=largest)
    return (largest / left.shape[2]).clamp_min(0).sqrt()


def _check_side(height: int, width: int) -> None:
    if height % TILES or width % TILES:
        raise ShapeError(f"sides must be multiples of {TILES}, got {height} x {width}")
