"""Groups of near-identical generations: evidence of memorization without any training data.

Idea: a prompt whose generations from different seeds come out nearly the same has been memorized.
Vertices are the generations of one prompt, an edge joins two that are closer than a threshold, and
a large clique flags the prompt (Carlini et al. 2023, step 4 of the text-to-image attack).
Distances should be tiled: blank backgrounds make cliques under a plain mean.
Invalid when: seeds repeat, so that generations are equal for another reason.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from attacks.errors import ShapeError

SMALLEST = 10
"""Members from which a clique counts, for 500 generations of a prompt (Carlini et al. 2023)."""
MOST_STEPS = 2_000_000
"""Branches of the exact search before it settles for the largest clique found so far."""


@dataclass(frozen=True, slots=True)
class Clique:
    """Generations that are pairwise closer than the threshold."""

    members: tuple[int, ...]
    """Positions, ascending."""
    component_size: int
    """Generations that are linked to one of them by a chain of edges, themselves included."""
    is_maximum: bool
    """Whether it is proved that the component has no larger one."""


class _Found(NamedTuple):
    members: tuple[int, ...]
    is_maximum: bool


def near_identical(distances: ArrayLike, threshold: float) -> NDArray[np.bool_]:
    """(n, n) edges between generations closer than the threshold; no vertex has one to itself.

    distances: (n, n), symmetric. Raises ShapeError unless it is square.
    """
    array = np.asarray(distances)
    if array.ndim != 2 or array.shape[0] != array.shape[1]:
        raise ShapeError(f"expected distances of shape (n, n), got {array.shape}")
    edges = np.maximum(array, array.T) < threshold
    np.fill_diagonal(edges, False)
    return edges


def components(edges: ArrayLike) -> tuple[NDArray[np.int64], ...]:
    """Connected components, each as ascending positions, the largest first."""
    from scipy.sparse import csr_matrix
    from scipy.sparse.csgraph import connected_components

    array = np.asarray(edges, dtype=bool)
    if not len(array):
        return ()
    _, labels = connected_components(csr_matrix(array), directed=False)
    parts = [np.flatnonzero(labels == label) for label in np.unique(labels)]
    return tuple(sorted(parts, key=lambda part: (-len(part), int(part[0]))))


def find_cliques(
    distances: ArrayLike, threshold: float, *, smallest: int = SMALLEST
) -> tuple[Clique, ...]:
    """The maximum clique of every component that has one of at least `smallest` members.

    distances: (n, n) among the generations of one prompt, tiled. The largest clique comes first.
    """
    edges = near_identical(distances, threshold)
    found = []
    for part in components(edges):
        if len(part) < smallest:
            break
        clique = _maximum(edges[np.ix_(part, part)], MOST_STEPS)
        if len(clique.members) >= smallest:
            members = tuple(int(part[i]) for i in clique.members)
            found.append(Clique(members, len(part), clique.is_maximum))
    return tuple(sorted(found, key=lambda one: (-len(one.members), one.members)))


def maximum_clique(edges: ArrayLike) -> tuple[int, ...]:
    """Positions of a maximum clique of any graph, ascending; empty for a graph without vertices.

    edges: (n, n) symmetric truth values. Exact: the time can grow exponentially with n on graphs
    that are made to be hard; `find_cliques` bounds it.
    """
    array = np.asarray(edges, dtype=bool)
    best: tuple[int, ...] = ()
    for part in components(array):
        if len(part) <= len(best):
            break
        found = _maximum(array[np.ix_(part, part)], None).members
        if len(found) > len(best):
            best = tuple(int(part[i]) for i in found)
    return best


def _maximum(edges: NDArray[np.bool_], most_steps: int | None) -> _Found:
    """Branch and bound with a greedy colouring as the bound (Tomita and Seki 2003).

    A colour class holds no edge, so that a clique has at most one vertex of each: vertices are
    tried from the last colour, and a branch ends where colours left cannot beat the best.
    """
    # Vertices by falling degree: the colouring is tighter, and the first dive finds much.
    order = np.argsort(-edges.sum(axis=1), kind="stable")
    edges = edges[np.ix_(order, order)]
    neighbours = [_bits(np.flatnonzero(row)) for row in edges]
    best: list[int] = []
    stack: list[tuple[list[int], list[int], list[int], int]]
    stack = [([], *_coloured(_bits(range(len(edges))), neighbours))] if len(edges) else []
    steps = 0
    while stack:
        chosen, vertices, bounds, left = stack[-1]
        if not vertices or len(chosen) + bounds[-1] <= len(best):
            stack.pop()
            continue
        steps += 1
        if most_steps is not None and steps > most_steps:
            return _Found(_original(best, order), False)
        vertex = vertices.pop()
        bounds.pop()
        stack[-1] = (chosen, vertices, bounds, left & ~(1 << vertex))
        grown = [*chosen, vertex]
        if len(grown) > len(best):
            best = grown
        candidates = left & neighbours[vertex]
        if candidates:
            stack.append((grown, *_coloured(candidates, neighbours)))
    return _Found(_original(best, order), True)


def _original(members: list[int], order: NDArray[np.int64]) -> tuple[int, ...]:
    return tuple(sorted(int(order[i]) for i in members))


def _bits(positions: ArrayLike | range) -> int:
    bits = 0
    for position in np.asarray(positions, dtype=np.int64).tolist():
        bits |= 1 << position
    return bits


def _coloured(candidates: int, neighbours: list[int]) -> tuple[list[int], list[int], int]:
    """Vertices by colour, the number of colours up to each, and the set itself."""
    vertices: list[int] = []
    bounds: list[int] = []
    uncoloured, colour = candidates, 0
    while uncoloured:
        colour += 1
        free = uncoloured
        while free:
            lowest = free & -free
            vertex = lowest.bit_length() - 1
            uncoloured ^= lowest
            free &= ~(neighbours[vertex] | lowest)
            vertices.append(vertex)
            bounds.append(colour)
    return vertices, bounds, candidates
