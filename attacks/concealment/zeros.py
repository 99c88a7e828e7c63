"""Do the zeros of pruned weights tell what was pruned?

Trained weights are hardly ever exactly zero. Where an edit sets some to zero, their places are its
mask, and who holds the model can refill them. A layer discloses its mask if it has more exact
zeros than the base rate of zeros in the original explains.
Source: Zhang et al., arXiv:2603.06640 (abstract): the places of zeros leak what was pruned. The
test and the refilling are ours, not the paper's attack.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from attacks.errors import ShapeError

ALPHA = 0.01
"""Error probability over all layers together."""
RANK = 4
"""Rank of the approximation whose signs refill a layer."""


class LayerZeros(NamedTuple):
    """Exact zeros of one weight tensor in the original and in the edited model."""

    layer: str
    n_weights: int
    n_original: int
    n_edited: int


@dataclass(frozen=True, slots=True)
class DisclosedLayer:
    """One weight tensor and whether its zeros stand out."""

    layer: str
    n_weights: int
    n_original: int
    """Exact zeros in the original."""
    n_edited: int
    """Exact zeros in the edited model."""
    p_value: float
    """As many zeros by the base rate, corrected for the number of layers."""
    is_disclosed: bool


def disclosed(layers: Sequence[LayerZeros], *, alpha: float = ALPHA) -> tuple[DisclosedLayer, ...]:
    """Every layer with its test, in the order given.

    The base rate of a layer is the larger of its own in the original and that of all layers, each
    with one zero added to it: binomial upper tail, Bonferroni over layers.
    """
    if not layers:
        return ()
    n = np.array([layer.n_weights for layer in layers])
    before = np.array([layer.n_original for layer in layers])
    after = np.array([layer.n_edited for layer in layers])
    if (n < 1).any() or (before > n).any() or (after > n).any():
        raise ShapeError("a layer cannot have more zeros than weights, or no weights")
    overall = (before.sum() + 1) / (n.sum() + 1)
    base = np.maximum(np.minimum((before + 1) / (n + 1), 1.0), overall)
    p_values = np.minimum(stats.binom.sf(after - 1, n, base) * len(layers), 1.0)
    return tuple(
        DisclosedLayer(*layer, float(p), bool(p <= alpha))
        for layer, p in zip(layers, p_values, strict=True)
    )


def refilled(
    weights: NDArray[np.floating], mask: NDArray[np.bool_], *, rank: int = RANK
) -> NDArray[np.float64]:
    """Weights (o, ...) with the masked ones guessed from the others.

    Each gets the mean magnitude of the layer's other weights, with the sign that the best
    approximation of low rank to the zeroed layer, as a matrix (o, rest), has there; it is solved
    for and refilled a few times, so that the zeros pull less. Our probe.
    """
    if weights.shape != mask.shape:
        raise ShapeError(f"a mask of {mask.shape} does not fit weights of {weights.shape}")
    matrix = np.array(weights, dtype=np.float64).reshape(len(weights), -1)
    hidden = mask.reshape(matrix.shape)
    if not hidden.any() or hidden.all():
        return matrix.reshape(weights.shape)
    size = np.abs(matrix[~hidden]).mean()
    for _ in range(5):
        u, s, vt = np.linalg.svd(matrix, full_matrices=False)
        guess = (u[:, :rank] * s[:rank]) @ vt[:rank]
        matrix[hidden] = np.sign(guess[hidden]) * size
    return matrix.reshape(weights.shape)
