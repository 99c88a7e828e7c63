"""Cliques: exact against networkx, and planted groups among generations."""

from __future__ import annotations

import networkx as nx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from attacks.errors import ShapeError
from attacks.extraction import cliques as module
from attacks.extraction.cliques import components, find_cliques, maximum_clique, near_identical
from attacks.extraction.distances import rms, tiled_rms_matrix


def random_graph(seed, n, density):
    rng = np.random.default_rng(seed)
    upper = np.triu(rng.random((n, n)) < density, 1)
    return upper | upper.T


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    n=st.integers(0, 24),
    density=st.sampled_from([0.0, 0.1, 0.3, 0.5, 0.8, 1.0]),
)
def test_maximum_clique_equals_networkx(seed, n, density):
    edges = random_graph(seed, n, density)
    found = maximum_clique(edges)
    graph = nx.from_numpy_array(edges.astype(int))
    largest = max((len(clique) for clique in nx.find_cliques(graph)), default=0) if n else 0
    assert len(found) == largest
    assert all(edges[i, j] for i in found for j in found if i < j)
    assert list(found) == sorted(set(found))


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), n=st.integers(0, 20))
def test_components_equal_networkx(seed, n):
    edges = random_graph(seed, n, 0.1)
    graph = nx.from_numpy_array(edges.astype(int)) if n else nx.Graph()
    expected = {frozenset(part) for part in nx.connected_components(graph)}
    found = components(edges)
    assert {frozenset(part.tolist()) for part in found} == expected
    assert [len(part) for part in found] == sorted((len(p) for p in expected), reverse=True)


def test_a_large_group_of_identical_generations_is_found_at_once():
    distances = np.full((300, 300), 0.5)
    distances[:120, :120] = 0.01
    distances[200:215, 200:215] = 0.01
    first, second = find_cliques(distances, 0.1)
    assert first.members == tuple(range(120))
    assert second.members == tuple(range(200, 215))
    assert first.is_maximum
    assert second.component_size == 15
    assert find_cliques(distances, 0.1, smallest=130) == ()


def test_a_chain_is_a_component_but_no_clique():
    n = 30
    distances = np.abs(np.subtract.outer(np.arange(n), np.arange(n))).astype(float)
    assert len(components(near_identical(distances, 1.5))[0]) == n
    assert find_cliques(distances, 1.5, smallest=3) == ()
    assert len(maximum_clique(near_identical(distances, 1.5))) == 2


def test_the_search_says_when_it_gave_up(monkeypatch):
    edges = random_graph(5, 40, 0.8)
    distances = np.where(edges, 0.0, 1.0)
    monkeypatch.setattr(module, "MOST_STEPS", 3)
    (found,) = find_cliques(distances, 0.5, smallest=2)
    assert not found.is_maximum
    assert all(edges[i, j] for i in found.members for j in found.members if i < j)


def test_memorized_generations_among_ordinary_ones_need_the_tiles():
    """Memorized: one picture with noise. Ordinary: a spot anywhere on a white page."""
    rng = np.random.default_rng(0)
    base = rng.random((16, 16, 3))
    memorized = np.clip(base + 0.02 * rng.standard_normal((12, 16, 16, 3)), 0, 1)
    ordinary = np.ones((30, 16, 16, 3))
    for page in ordinary:
        y, x = 4 * rng.integers(0, 4, 2)
        page[y : y + 3, x : x + 3] = 0.6 * rng.random((3, 3, 3))
    pages = np.concatenate([memorized, ordinary])
    (found,) = find_cliques(tiled_rms_matrix(pages).values, 0.1)
    assert found.members == tuple(range(12))
    among = [[float(rms(a, b).values) for b in ordinary] for a in ordinary]
    assert len(find_cliques(np.array(among), 0.25)[0].members) == 30


def test_no_distances_and_wrong_shapes():
    assert find_cliques(np.empty((0, 0)), 0.1) == ()
    assert maximum_clique(np.empty((0, 0))) == ()
    with pytest.raises(ShapeError, match="\\(n, n\\)"):
        find_cliques(np.zeros((2, 3)), 0.1)
