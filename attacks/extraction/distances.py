"""Distances between pictures, each with the convention that it was measured in.

"l2" means different numbers in different papers, so every function returns `Distances`: the values
and the name of their convention. Pictures are arrays (..., h, w, c) in [0, 1], or bytes in 0..255,
of numpy or of torch on the CPU; leading axes broadcast.

    rms                      root of the mean square over pixels and channels (Carlini et al. 2023)
    sum_of_squares_256       sum of squares over 256 x 256 x 3 values (Webster 2023); 2,500 is an
                             rms of 0.113
    max_tile_rms_4x4         largest rms among 4 x 4 tiles (Carlini et al. 2023): pictures that only
                             share a blank background differ in some tile
    masked_mse               mean square inside a mask
    calibrated_rms(...)      distance to the nearest training picture over that to its neighbours
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from attacks.errors import DataError, ShapeError

RMS = "rms"
SUM_OF_SQUARES_256 = "sum_of_squares_256"
MASKED_MSE = "masked_mse"
TILES = 4
"""Tiles along each side: 16 in all."""
ALPHA = 0.5
"""Our reading of the constant in Carlini et al. 2023; it scales the calibrated distance."""
NEIGHBOURS = 50
"""Our reading of how many training pictures a distance is calibrated by."""
MASK_TOLERANCE = 0.03
"""Absolute difference, summed over channels, up to which two pictures of a template agree."""
VERBATIM_256, RETRIEVED_256 = 2.5e3, 3.0e3
"""Webster's relaxed thresholds, as sums of squares over 256 x 256 x 3 values."""


class Distances(NamedTuple):
    """Distances and what they are distances in."""

    values: NDArray[np.float64]
    """Any shape; 0 for equal pictures."""
    convention: str
    """Name of the convention, with its parameters."""


def tiled_convention(tiles: int = TILES) -> str:
    """Name of the tiled distance with so many tiles along each side."""
    return f"max_tile_rms_{tiles}x{tiles}"


def unit_pixels(pictures: ArrayLike) -> NDArray[np.floating]:
    """Pictures (..., h, w, c) as floats in [0, 1].

    Bytes are divided by 255. Raises ShapeError for fewer than three axes or an empty picture, and
    DataError for values outside [0, 1] (a rounding error of 1e-5 is cut off) or not a number.
    """
    array = np.asarray(pictures)
    if array.ndim < 3 or 0 in array.shape[-3:]:
        raise ShapeError(f"expected pictures of shape (..., h, w, c), got {array.shape}")
    if array.dtype == np.uint8:
        return array.astype(np.float32) / np.float32(255)
    if array.dtype.kind != "f":
        array = array.astype(np.float64)
    elif array.dtype.itemsize < 4:
        array = array.astype(np.float32)
    if array.size and not (array.min() >= -1e-5 and array.max() <= 1 + 1e-5):
        raise DataError("pixels must lie in [0, 1], or be bytes; rescale them before measuring")
    return np.clip(array, 0, 1)


def _squares(a: ArrayLike, b: ArrayLike) -> NDArray[np.float64]:
    """Squared differences of two batches. Raises ShapeError if the pictures differ in size."""
    first, second = unit_pixels(a), unit_pixels(b)
    if first.shape[-3:] != second.shape[-3:]:
        raise ShapeError(
            f"pictures of {first.shape[-3:]} and {second.shape[-3:]} cannot be compared; "
            "resample both to one size with the same filter"
        )
    difference = np.subtract(first, second, dtype=np.float64)
    return np.square(difference, out=difference)


def rms(a: ArrayLike, b: ArrayLike) -> Distances:
    """Root mean square over pixels and channels, in [0, 1]."""
    return Distances(np.sqrt(_squares(a, b).mean(axis=(-3, -2, -1))), RMS)


def sum_of_squares_256(a: ArrayLike, b: ArrayLike, mask: ArrayLike | None = None) -> Distances:
    """Webster's sum of squares over 256 x 256 x 3 values; with a mask, divided by its mean.

    mask: (256, 256) of truth values, True where the pictures are compared.
    Raises ShapeError for pictures of another size: the sum grows with it.
    """
    squares = _squares(a, b)
    if squares.shape[-3:] != (256, 256, 3):
        raise ShapeError(
            f"this convention needs pictures of 256 x 256 x 3, got {squares.shape[-3:]}; resample "
            "them, or use rms"
        )
    if mask is None:
        return Distances(squares.sum(axis=(-3, -2, -1)), SUM_OF_SQUARES_256)
    inside = _mask(mask, squares.shape[-3:-1])
    total = (squares * inside[..., None]).sum(axis=(-3, -2, -1))
    return Distances(total / inside.mean(), f"{SUM_OF_SQUARES_256}/masked")


def masked_mse(a: ArrayLike, b: ArrayLike, mask: ArrayLike) -> Distances:
    """Mean square over the pixels inside a mask; changes outside do not count.

    mask: (h, w) of truth values. Raises DataError for a mask that is empty.
    """
    squares = _squares(a, b)
    inside = _mask(mask, squares.shape[-3:-1])
    return Distances(squares[..., inside, :].mean(axis=(-2, -1)), MASKED_MSE)


def _mask(mask: ArrayLike, size: tuple[int, ...]) -> NDArray[np.bool_]:
    array = np.asarray(mask, dtype=bool)
    if array.shape != tuple(size):
        raise ShapeError(f"expected a mask of shape {tuple(size)}, got {array.shape}")
    if not array.any():
        raise DataError("the mask is empty; nothing inside it can be compared")
    return array


def template_mask(
    first: ArrayLike, second: ArrayLike, *, tolerance: float = MASK_TOLERANCE
) -> NDArray[np.bool_]:
    """(h, w) where two pictures of one template agree, without specks (Webster 2023).

    Pixels whose absolute difference, summed over channels, is below the tolerance, eroded and
    then dilated by 3 x 3. Our reading of the border: outside the picture agrees while eroding.
    """
    from scipy import ndimage

    a, b = unit_pixels(first), unit_pixels(second)
    if a.shape != b.shape or a.ndim != 3:
        raise ShapeError(f"expected two pictures of one shape (h, w, c), got {a.shape}, {b.shape}")
    agrees = np.abs(a - b).sum(axis=-1) < tolerance
    square = np.ones((3, 3), dtype=bool)
    return ndimage.binary_dilation(
        ndimage.binary_erosion(agrees, square, border_value=1), square
    ).astype(bool)


def webster_label(template: float | None, matching: float | None, retrieved: float | None) -> str:
    """Kind of a caption's memorization from sums of squares over 256 x 256 x 3 values.

    template: smallest masked distance of its generations to a template; matching: to the caption's
    own picture; retrieved: to any other training picture; None where there is nothing to compare.
    Returns TV, MV, RV or N, tested in this order, since a template may also match its own picture
    (Webster 2023, gather_groundtruth_labels.py). The thresholds are relaxed: look at every hit.
    """
    for name, distance, limit in (
        ("TV", template, VERBATIM_256),
        ("MV", matching, VERBATIM_256),
        ("RV", retrieved, RETRIEVED_256),
    ):
        if distance is not None and distance < limit:
            return name
    return "N"


def tile_edges(n: int, tiles: int) -> NDArray[np.int64]:
    """Where each of the tiles begins along an axis of n pixels; they differ by at most one.

    Raises ShapeError if there are fewer pixels than tiles.
    """
    if tiles < 1 or n < tiles:
        raise ShapeError(f"{n} pixels cannot be cut into {tiles} tiles; enlarge the pictures")
    return np.arange(tiles, dtype=np.int64) * n // tiles


def tile_rms(a: ArrayLike, b: ArrayLike, *, tiles: int = TILES) -> NDArray[np.float64]:
    """(..., tiles, tiles) rms of every tile."""
    squares = _squares(a, b).mean(axis=-1)
    h, w = squares.shape[-2:]
    rows, columns = tile_edges(h, tiles), tile_edges(w, tiles)
    sums = np.add.reduceat(np.add.reduceat(squares, rows, axis=-2), columns, axis=-1)
    area = np.outer(np.diff(rows, append=h), np.diff(columns, append=w))
    return np.sqrt(sums / area)


def tiled_rms(a: ArrayLike, b: ArrayLike, *, tiles: int = TILES) -> Distances:
    """Largest rms among tiles x tiles tiles (Carlini et al. 2023); at least the rms of the whole.

    Our reading where a side is no multiple of `tiles`: tiles differ by at most one pixel.
    """
    return Distances(tile_rms(a, b, tiles=tiles).max(axis=(-2, -1)), tiled_convention(tiles))


def tiled_rms_matrix(
    pictures: ArrayLike, others: ArrayLike | None = None, *, tiles: int = TILES
) -> Distances:
    """(n, m) tiled distances of n pictures to m others, or (n, n) among themselves.

    One matrix product a tile, in double precision around the mean picture: distances below about
    1e-7 are rounding. Memory: one tile of all pictures, and the result.
    """
    first = unit_pixels(pictures)
    second = first if others is None else unit_pixels(others)
    if first.ndim != 4 or second.ndim != 4 or first.shape[1:] != second.shape[1:]:
        raise ShapeError(
            f"expected pictures of one shape (n, h, w, c), got {first.shape}, {second.shape}"
        )
    h, w = first.shape[1:3]
    rows, columns = tile_edges(h, tiles), tile_edges(w, tiles)
    largest = np.zeros((len(first), len(second)))
    for top, bottom in zip(rows, [*rows[1:], h], strict=True):
        for left, right in zip(columns, [*columns[1:], w], strict=True):
            a, b = (_rows(side[:, top:bottom, left:right]) for side in (first, second))
            np.maximum(largest, _mean_squares(a, b), out=largest)
    values = np.sqrt(largest)
    if others is None:
        np.fill_diagonal(values, 0.0)
        values = np.maximum(values, values.T)
    return Distances(values, tiled_convention(tiles))


def _rows(tile: NDArray[np.floating]) -> NDArray[np.float64]:
    """(n, d) values of n tiles."""
    return tile.reshape(len(tile), int(np.prod(tile.shape[1:]))).astype(np.float64)


def _mean_squares(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    """(n, m) mean squared differences of (n, d) and (m, d) rows, never below 0."""
    if not len(a) or not len(b):
        return np.zeros((len(a), len(b)))
    centre = a.mean(axis=0)
    a, b = a - centre, b - centre
    squared = np.einsum("nd,nd->n", a, a)[:, None] + np.einsum("md,md->m", b, b) - 2 * (a @ b.T)
    return np.maximum(squared, 0) / a.shape[1]


def calibrated(
    distances: ArrayLike, *, alpha: float = ALPHA, neighbours: int = NEIGHBOURS
) -> Distances:
    """(n,) distance to the nearest training picture over that to its neighbours.

    distances: (n, m) rms of n generations to m training pictures (all, or the m nearest).
    alpha, neighbours: l / (alpha * mean over the nearest); the defaults are our reading of Carlini
        et al. 2023, section 5.1. With fewer training pictures than `neighbours`, all count.

    Small: abnormally close to one picture, not to a dense region. Scaling all distances changes
    nothing; a generation equal to a training picture has 0. Raises ShapeError without distances.
    """
    array = np.asarray(distances, dtype=np.float64)
    if array.ndim != 2 or array.shape[1] == 0:
        raise ShapeError(f"expected distances of shape (n, m) with m >= 1, got {array.shape}")
    if not alpha > 0 or neighbours < 1:
        raise ShapeError(f"alpha and neighbours must be positive, got {alpha} and {neighbours}")
    used = min(neighbours, array.shape[1])
    nearest = np.partition(array, used - 1, axis=1)[:, :used] if used < array.shape[1] else array
    closest, scale = nearest.min(axis=1), alpha * nearest.mean(axis=1)
    values = np.divide(closest, scale, out=np.zeros_like(closest), where=scale > 0)
    return Distances(values, f"calibrated_rms(alpha={alpha:g},neighbours={used})")
