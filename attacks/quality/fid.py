"""Frechet distance between generated and real images (FID).

Idea: |mu_1 - mu_2|^2 + Tr(S_1 + S_2 - 2 (S_1 S_2)^(1/2)) of the means and covariances of features.
Citation: Heusel et al., arXiv:1706.08500; its bias: Chong and Forsyth, arXiv:1911.07023.
Value: 0 for equal moments; higher is worse. It is biased upwards, by an amount that depends on the
number of images and on the model, so that figures of different sizes must not be compared.
Cost: a decomposition of the covariances, and a few of halves for the bias.
Invalid when: there are fewer images than dimensions (the covariances are singular and the bias
dominates); take KID or fewer dimensions there.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from attacks.quality._features import checked_features

HALVINGS = 5
"""Random halves that the bias is estimated from."""


@dataclass(frozen=True, slots=True)
class Fid:
    """A Frechet distance with what it must be read with."""

    value: float
    """The distance between these samples, biased upwards."""
    bias: float | None
    """Growth of the distance when both sets are halved: to first order its bias at this size.
    None with fewer than 8 images of a kind."""
    n_real: int
    """Real images."""
    n_generated: int
    """Generated images."""
    d: int
    """Dimensions of the features."""

    @property
    def is_singular(self) -> bool:
        """Whether a covariance has no full rank, for want of images."""
        return min(self.n_real, self.n_generated) <= self.d


def fid(
    real: ArrayLike, generated: ArrayLike, *, rng: np.random.Generator, halvings: int = HALVINGS
) -> Fid:
    """Frechet distance of two sets of features (n, d) and (m, d), two rows each at least.

    rng: draws the halves from which the bias is estimated; the value does not depend on it.

    Raises ShapeError for fewer than two rows or different dimensions.
    """
    x, y = checked_features(real, generated, 2)
    value = frechet(x, y)
    bias = None
    if min(len(x), len(y)) >= 8 and halvings > 0:
        halves = [frechet(_half(x, rng), _half(y, rng)) for _ in range(halvings)]
        bias = float(np.mean(halves)) - value
    return Fid(value, bias, len(x), len(y), x.shape[1])


def frechet(x: NDArray[np.float64], y: NDArray[np.float64]) -> float:
    """The distance itself.

    Tr (S_1 S_2)^(1/2) is the sum of the singular values of R_1 R_2^T, where S = R^T R: no square
    root of a nearly singular matrix is taken.
    """
    (mean_x, root_x), (mean_y, root_y) = _moments(x), _moments(y)
    cross = float(np.linalg.svd(root_x @ root_y.T, compute_uv=False).sum())
    traces = float(np.square(root_x).sum() + np.square(root_y).sum())
    return max(float(np.square(mean_x - mean_y).sum()) + traces - 2 * cross, 0.0)


def _moments(x: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean, and R with R^T R the covariance (divisor n - 1)."""
    mean = x.mean(axis=0)
    root: NDArray[np.float64] = (x - mean) / (len(x) - 1) ** 0.5
    if len(x) > x.shape[1]:
        root = np.asarray(np.linalg.qr(root, mode="r"))
    return mean, root


def _half(x: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.float64]:
    return x[rng.permutation(len(x))[: len(x) // 2]]
