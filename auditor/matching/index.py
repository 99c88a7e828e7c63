"""Exact nearest neighbours by inner product: FAISS where it is installed, numpy otherwise.

Vectors are added in batches and kept as they come (16 bits are enough). A search goes through them
block by block and keeps the best k of each query, so that memory is bounded by the vectors and one
block, whatever the number of queries times vectors is. Nothing is approximated.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from attacks.errors import ShapeError

KEYS, QUERIES = 16384, 1024
"""Vectors and queries that are multiplied at a time: 64 MB of products."""


class Neighbours(NamedTuple):
    """The nearest vectors of each query, the most alike first."""

    similarity: NDArray[np.float32]
    """(q, k) inner products; minus infinity where there are fewer than k vectors."""
    position: NDArray[np.int64]
    """(q, k) positions in the order of adding; -1 where there are fewer than k vectors."""


class SimilarityIndex:
    """Vectors that are searched by inner product."""

    def __init__(self, width: int) -> None:
        self._width = width
        self._blocks: list[NDArray[np.floating]] = []

    def __len__(self) -> int:
        return sum(len(block) for block in self._blocks)

    def add(self, vectors: NDArray[np.floating]) -> None:
        """Add (n, width) vectors, which must not change afterwards. Raises ShapeError."""
        if vectors.ndim != 2 or vectors.shape[1] != self._width:
            raise ShapeError(f"expected vectors of shape (n, {self._width}), got {vectors.shape}")
        self._blocks.append(vectors)

    def search(self, queries: NDArray[np.floating], k: int) -> Neighbours:
        """The k most alike vectors of each of (q, width) queries."""
        return nearest(queries, self._blocks, k)


@cache
def faiss_module() -> Any | None:
    """FAISS, or None where it is not installed."""
    try:
        import faiss
    except ImportError:
        return None
    return faiss


def backend_name() -> str:
    """What a search runs on, for the report."""
    return "numpy" if faiss_module() is None else "faiss IndexFlatIP"


def nearest(
    queries: NDArray[np.floating], blocks: Iterable[NDArray[np.floating]], k: int
) -> Neighbours:
    """The k most alike of all vectors in the blocks, for each of (q, d) queries.

    blocks: arrays (n, d), read once each, so that they may be loaded as they are needed. Of equal
    similarities the earlier vector comes first. Raises ShapeError for vectors of another width.
    """
    if queries.ndim != 2 or k < 1:
        raise ShapeError(f"expected queries of shape (q, d) and k >= 1, got {queries.shape}, {k}")
    asked = np.ascontiguousarray(queries, dtype=np.float32)
    best = Neighbours(
        np.full((len(asked), k), -np.inf, np.float32), np.full((len(asked), k), -1, np.int64)
    )
    offset = 0
    for block in blocks:
        if block.ndim != 2 or block.shape[1] != asked.shape[1]:
            raise ShapeError(f"expected vectors of shape (n, {asked.shape[1]}), got {block.shape}")
        for start in range(0, len(block), KEYS):
            keys = np.ascontiguousarray(block[start : start + KEYS], dtype=np.float32)
            for low in range(0, len(asked), QUERIES):
                rows = slice(low, low + QUERIES)
                _search_block(asked[rows], keys, offset + start, best, rows)
        offset += len(block)
    return best


def _search_block(
    queries: NDArray[np.float32],
    keys: NDArray[np.float32],
    offset: int,
    best: Neighbours,
    rows: slice,
) -> None:
    """Put what is better in one block of vectors into the best so far, in place."""
    found = _with_faiss(queries, keys, best)
    query, similarity, key = _with_numpy(queries, keys, best, rows) if found is None else found
    if not len(query):
        return
    q, k = best.similarity[rows].shape
    every = np.concatenate([np.repeat(np.arange(q), k), query])
    values = np.concatenate([best.similarity[rows].ravel(), similarity])
    positions = np.concatenate([best.position[rows].ravel(), key + offset])
    order = np.lexsort((positions, -values, every))
    first = np.searchsorted(every[order], np.arange(q))
    kept = order[first[:, None] + np.arange(k)]
    best.similarity[rows], best.position[rows] = values[kept], positions[kept]


Found = tuple[NDArray[np.int64], NDArray[np.float32], NDArray[np.int64]]
"""Query, similarity and position in the block of candidates, in no particular order."""


def _with_faiss(
    queries: NDArray[np.float32], keys: NDArray[np.float32], best: Neighbours
) -> Found | None:
    """The k best of the block by FAISS; None where it is not installed."""
    faiss = faiss_module()
    if faiss is None:
        return None
    index = faiss.IndexFlatIP(keys.shape[1])
    index.add(keys)
    k = min(best.similarity.shape[1], len(keys))
    similarity, position = index.search(queries, k)
    query = np.repeat(np.arange(len(queries)), k)
    return query, similarity.ravel(), position.ravel().astype(np.int64)


def _with_numpy(
    queries: NDArray[np.float32], keys: NDArray[np.float32], best: Neighbours, rows: slice
) -> Found:
    """Those of the block that are better than the k-th best so far."""
    products = queries @ keys.T
    worst = best.similarity[rows, -1]
    k = best.similarity.shape[1]
    if np.isinf(worst).any() and len(keys) > k:
        # Nothing to beat yet: the k-th best of the block itself, with everything equal to it.
        at = np.partition(products, len(keys) - k, axis=1)[:, len(keys) - k]
        worst = np.maximum(worst, np.nextafter(at, np.float32(-np.inf)))
    query, key = np.nonzero(products > worst[:, None])
    return query, products[query, key], key
