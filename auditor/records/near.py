"""Near-duplicates: pictures whose small versions differ by little.

The distance is the root mean square over the 16 x 16 x 3 values, in [0, 1], of the area-averaged
thumbnails. Two pictures are near-duplicates up to `rms * min(1, contrast / 0.1)`, where contrast
is the standard deviation of the thumbnail around its mean colour, the smaller one of both: flat
pictures (blank pages, dark frames) lie close together without being copies, so they must agree
better. The relation is symmetric, so that neither side of a comparison loses more by it.

Measured at the default 0.02: the nearest pairs of scikit-learn digits lie at 0.031 and of
10,000 CIFAR-10 pictures at 0.042; JPEG at quality 75 moves CIFAR pictures by at most 0.018, resizing
to 64 pixels and back by at most 0.011. Not found: mirrored, shifted or cropped pictures.

Cost: |difference of the means| <= RMS, so that both sides, sorted by mean, are compared in a narrow
band; 8 x 8 averages (a contraction too) are compared by matrix products, and only what passes is
compared in full. Memory is bounded by the block.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from auditor.records.images import THUMB

FULL_CONTRAST = 0.1
"""Contrast from which the whole RMS limit applies, in [0, 1]."""

MAX_CANDIDATES = 20_000_000
"""Pairs that are compared in full (about 1 microsecond each) before the search gives up."""

_QUERIES = 1024
_KEYS = 8192
_CHUNK = 8192


class NearPairs(NamedTuple):
    """Pairs of near-duplicates."""

    queries: NDArray[np.int64]
    """(p,) positions among the queries."""
    keys: NDArray[np.int64]
    """(p,) positions among the keys."""
    is_complete: bool
    """False if the search gave up at MAX_CANDIDATES."""


def near_pairs(
    queries: Sequence[bytes],
    keys: Sequence[bytes],
    rms: float,
    *,
    max_candidates: int = MAX_CANDIDATES,
) -> NearPairs:
    """All pairs of a query and a key that are near-duplicates.

    queries, keys: thumbnails of THUMB * THUMB * 3 bytes.
    rms: limit on the root mean square difference, in [0, 1]; it scales with the contrast.

    Returns pairs in no particular order. With the same list on both sides every item is paired
    with itself.
    """
    if not queries or not keys:
        return NearPairs(np.empty(0, np.int64), np.empty(0, np.int64), True)
    key_set = _Thumbs(keys)
    query_set = key_set if keys is queries else _Thumbs(queries)
    limits, key_limits = (
        rms * np.minimum(1.0, thumbs.contrast / FULL_CONTRAST) for thumbs in (query_set, key_set)
    )
    found: list[tuple[NDArray, NDArray]] = []
    budget = max_candidates
    for start in range(0, len(queries), _QUERIES):
        block = slice(start, start + _QUERIES)
        mean, limit = query_set.mean[block], limits[block]
        # The slack covers float32 rounding of the means and products.
        first = int(np.searchsorted(key_set.mean, mean[0] - rms - 1e-4))
        last = int(np.searchsorted(key_set.mean, mean[-1] + rms + 1e-4, side="right"))
        for low in range(first, last, _KEYS):
            high = min(low + _KEYS, last)
            i, j = _candidates(query_set, block, key_set, slice(low, high), limit)
            budget -= len(i)
            if budget < 0:
                return NearPairs(*_joined(found), False)
            distance = _rms(query_set.pixels, key_set.pixels, i, j)
            is_near = distance <= np.minimum(limits[i], key_limits[j]) + 1e-7
            found.append((query_set.order[i[is_near]], key_set.order[j[is_near]]))
    return NearPairs(*_joined(found), True)


class _Thumbs:
    """Thumbnails in ascending order of their mean."""

    def __init__(self, thumbs: Sequence[bytes]) -> None:
        pixels = np.frombuffer(b"".join(thumbs), np.uint8).reshape(len(thumbs), -1)
        mean = np.concatenate([p.mean(axis=1, dtype=np.float64) for p in _chunks(pixels)]) / 255
        self.order = np.argsort(mean, kind="stable")
        self.mean = mean[self.order]
        self.pixels = pixels[self.order]
        coarse, contrast = zip(*(_summaries(p) for p in _chunks(self.pixels)), strict=True)
        self.coarse = np.concatenate(coarse)
        self.contrast = np.concatenate(contrast)
        self.square = np.einsum("nd,nd->n", self.coarse, self.coarse)


def _chunks(pixels: NDArray) -> list[NDArray]:
    return [pixels[start : start + _CHUNK] for start in range(0, len(pixels), _CHUNK)]


def _summaries(pixels: NDArray) -> tuple[NDArray, NDArray]:
    """(n, 192) centred 8 x 8 averages and (n,) contrast of (n, 768) thumbnails."""
    half = THUMB // 2
    values = pixels.astype(np.float32).reshape(-1, half, 2, half, 2, 3) / 255
    coarse = values.mean(axis=(2, 4)).reshape(len(pixels), -1) - 0.5
    by_channel = values.reshape(len(pixels), -1, 3)
    return coarse, np.sqrt(by_channel.var(axis=1).mean(axis=1)).astype(np.float64)


def _candidates(
    queries: _Thumbs, rows: slice, keys: _Thumbs, columns: slice, limit: NDArray
) -> tuple[NDArray, NDArray]:
    """Positions of the pairs whose 8 x 8 averages differ by no more than the limit."""
    product = queries.coarse[rows] @ keys.coarse[columns].T
    distance = queries.square[rows, None] - 2 * product
    distance += keys.square[None, columns]
    width = queries.coarse.shape[1]
    i, j = np.nonzero(distance <= (limit**2 * width + 1e-3).astype(np.float32)[:, None])
    return i + rows.start, j + columns.start


def _rms(a: NDArray, b: NDArray, i: NDArray, j: NDArray) -> NDArray:
    """(p,) root mean square difference in [0, 1] of thumbnails a[i] and b[j]."""
    out = np.empty(len(i))
    for start in range(0, len(i), _CHUNK):
        part = slice(start, start + _CHUNK)
        difference = a[i[part]].astype(np.int32) - b[j[part]]
        out[part] = np.einsum("nd,nd->n", difference, difference)
    return np.sqrt(out / a.shape[1]) / 255


def _joined(found: list[tuple[NDArray, NDArray]]) -> tuple[NDArray, NDArray]:
    if not found:
        return np.empty(0, np.int64), np.empty(0, np.int64)
    return np.concatenate([i for i, _ in found]), np.concatenate([j for _, j in found])
