"""Search and verification of pictures: records a second, peak memory, against a plain matrix.

    OMP_NUM_THREADS=1 python benchmarks/matching.py [--training 1000000] [--queries 1000]

Search: random unit vectors of 512 values in 16 bits, the ten nearest of each query, block by block
and by the table of all products. The table is computed for as many queries as fit into
`--table-gb`, and both are timed on those same queries; their results are compared. The memory of
each is the growth of the resident set in a process of its own. Verification and embedding: the
digits of the demo, with the built-in encoder.
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import time

import numpy as np
from PIL import Image

from auditor.demo.digits import demo_splits
from auditor.matching import PixelEncoder, Prepared, SimilarityIndex, best_match
from auditor.matching.index import backend_name

WIDTH, K, BATCH = 512, 10, 16384


def unit(rng: np.random.Generator, n: int) -> np.ndarray:
    vectors = rng.standard_normal((n, WIDTH), dtype=np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def blocks(n: int) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [unit(rng, min(BATCH, n - i)).astype(np.float16) for i in range(0, n, BATCH)]


def by_block(n: int, n_queries: int) -> tuple[float, float, np.ndarray]:
    index = SimilarityIndex(WIDTH)
    for block in blocks(n):
        index.add(block)
    queries = unit(np.random.default_rng(1), n_queries)
    before, began = peak_mb(), time.perf_counter()
    found = index.search(queries, K)
    return time.perf_counter() - began, peak_mb() - before, found.position


def by_table(n: int, n_queries: int) -> tuple[float, float, np.ndarray]:
    vectors = blocks(n)
    queries = unit(np.random.default_rng(1), n_queries)
    before, began = peak_mb(), time.perf_counter()
    table = queries @ np.concatenate(vectors).astype(np.float32).T
    nearest = np.argpartition(-table, K - 1, axis=1)[:, :K]
    order = np.argsort(-np.take_along_axis(table, nearest, axis=1), axis=1)
    seconds = time.perf_counter() - began
    return seconds, peak_mb() - before, np.take_along_axis(nearest, order, axis=1)


def alone(function, *arguments):  # noqa: ANN001, ANN201
    """Run in a process of its own, so that its peak of memory is its own."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(function, arguments)


def search(n: int, n_queries: int, table_gb: float) -> None:
    seconds, memory, _ = alone(by_block, n, n_queries)
    print(f"search on {backend_name()}: {n:,} vectors of {WIDTH}, {n_queries:,} queries")
    print(f"  block by block: {seconds:.2f} s, {n_queries / seconds:,.0f} queries/s")
    print(f"  {n * n_queries / seconds / 1e6:,.0f} million pairs/s, {memory:,.0f} MB more memory")
    small = max(1, min(n_queries, int(table_gb * 1e9 / (n * 12))))
    block_seconds, block_memory, found = alone(by_block, n, small)
    table_seconds, table_memory, expected = alone(by_table, n, small)
    print(f"  the same {small:,} queries: by block {block_seconds:.2f} s, {block_memory:,.0f} MB; ")
    print(f"  by table {table_seconds:.2f} s, {table_memory:,.0f} MB")
    print(f"  table / block: time {table_seconds / block_seconds:.2f}, ", end="")
    print(f"memory {table_memory / max(block_memory, 1):.1f}")
    print(f"  equal neighbours: {np.mean(found == expected):.4f}")


def pictures() -> None:
    splits = demo_splits()
    training = [Image.fromarray(image) for image in splits.members.images]
    others = [Image.fromarray(image) for image in splits.nonmembers.images[:200]]
    encoder = PixelEncoder()
    began = time.perf_counter()
    encoder.embed(training)
    print(f"embedding, built in: {len(training) / (time.perf_counter() - began):,.0f} pictures/s")
    candidates = [Prepared.of(picture) for picture in training[:20]]
    best_match(Prepared.of(others[0]), candidates)
    began = time.perf_counter()
    for picture in others:
        best_match(Prepared.of(picture), candidates)
    rate = len(others) / (time.perf_counter() - began)
    print(f"verification, 20 prepared candidates, no copy: {rate:,.0f} pictures/s")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--training", type=int, default=1_000_000)
    parser.add_argument("--queries", type=int, default=1000)
    parser.add_argument("--table-gb", type=float, default=6.0)
    chosen = parser.parse_args()
    pictures()
    search(chosen.training, chosen.queries, chosen.table_gb)


if __name__ == "__main__":
    main()
