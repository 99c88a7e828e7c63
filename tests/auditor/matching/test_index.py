"""The index: equal to brute force, in any batches, with and without FAISS, within bounds."""

from __future__ import annotations

import types

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from attacks.errors import ShapeError
from auditor.matching import SimilarityIndex, nearest
from auditor.matching import index as module


def unit(rng, n, d):
    vectors = rng.standard_normal((n, d)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def brute_force(queries, vectors, k):
    """All products at once, sorted wholly; the earlier vector first among equals."""
    products = queries.astype(np.float32) @ vectors.astype(np.float32).T
    order = np.argsort(-products, axis=1, kind="stable")[:, :k]
    return np.take_along_axis(products, order, axis=1), order


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    sizes=st.lists(st.integers(0, 30), max_size=5),
    q=st.integers(0, 7),
    k=st.integers(1, 8),
    keys=st.integers(1, 40),
)
def test_equals_brute_force_in_any_batches(seed, sizes, q, k, keys):
    rng = np.random.default_rng(seed)
    blocks = [unit(rng, n, 8) for n in sizes]
    queries = unit(rng, q, 8)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "KEYS", keys)
        patch.setattr(module, "QUERIES", 3)
        found = nearest(queries, blocks, k)
    n = sum(sizes)
    similarity, position = brute_force(queries, np.concatenate([np.empty((0, 8)), *blocks]), k)
    assert found.similarity[:, : min(n, k)] == pytest.approx(similarity, abs=1e-6)
    assert (found.position[:, : min(n, k)] == position).all()
    assert (found.position[:, n:] == -1).all()
    assert np.isneginf(found.similarity[:, n:]).all()


def test_equal_vectors_come_in_the_order_of_adding():
    vector = np.array([[1.0, 0.0]], np.float32)
    index = SimilarityIndex(2)
    for _ in range(4):
        index.add(np.repeat(vector, 3, axis=0))
    assert len(index) == 12
    found = index.search(vector, 5)
    assert found.position.tolist() == [[0, 1, 2, 3, 4]]


def test_a_picture_finds_itself_and_less_without_itself():
    rng = np.random.default_rng(0)
    vectors = unit(rng, 1000, 64)
    whole = nearest(vectors[:50], [vectors], 1)
    assert (whole.position[:, 0] == np.arange(50)).all()
    assert whole.similarity[:, 0] == pytest.approx(1, abs=1e-6)
    without = nearest(vectors[:50], [vectors[50:]], 1)
    assert (without.similarity[:, 0] < whole.similarity[:, 0]).all()


def test_sixteen_bits_are_enough_for_neighbours():
    rng = np.random.default_rng(1)
    vectors, queries = unit(rng, 1000, 64), unit(rng, 20, 64)
    exact, found = nearest(queries, [vectors], 1), nearest(queries, [vectors.astype(np.float16)], 1)
    assert np.mean(exact.position == found.position) > 0.95
    assert found.similarity == pytest.approx(exact.similarity, abs=2e-3)


class FlatIndex:
    """What FAISS documents of IndexFlatIP, in a few lines."""

    def __init__(self, width):
        self.vectors = np.empty((0, width), np.float32)

    def add(self, vectors):
        assert vectors.dtype == np.float32
        assert vectors.flags.c_contiguous
        self.vectors = np.concatenate([self.vectors, vectors])

    def search(self, queries, k):
        return brute_force(queries, self.vectors, k)


def check_equal_to_numpy():
    rng = np.random.default_rng(2)
    blocks = [unit(rng, n, 16).astype(np.float16) for n in (3, 700, 300)]
    queries = unit(rng, 33, 16)
    found = nearest(queries, blocks, 5)
    similarity, position = brute_force(queries, np.concatenate(blocks), 5)
    assert found.similarity == pytest.approx(similarity, abs=1e-6)
    assert (found.position == position).all()


def test_results_of_a_library_are_merged_over_blocks(monkeypatch):
    fake = types.SimpleNamespace(IndexFlatIP=FlatIndex)
    monkeypatch.setattr(module, "faiss_module", lambda: fake)
    monkeypatch.setattr(module, "KEYS", 128)
    check_equal_to_numpy()
    assert module.backend_name() == "faiss IndexFlatIP"


def test_faiss_equals_brute_force():
    pytest.importorskip("faiss")
    check_equal_to_numpy()


def test_wrong_widths_are_refused():
    index = SimilarityIndex(4)
    with pytest.raises(ShapeError, match="\\(n, 4\\)"):
        index.add(np.zeros((2, 5), np.float32))
    with pytest.raises(ShapeError):
        nearest(np.zeros((1, 4)), [np.zeros((1, 3))], 1)
    with pytest.raises(ShapeError):
        nearest(np.zeros((1, 4)), [], 0)
