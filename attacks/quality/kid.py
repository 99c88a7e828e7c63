"""Kernel distance between generated and real images (KID).

Idea: the squared maximum mean discrepancy under the kernel (x . y / d + 1)^3, by its unbiased
U-statistic: its mean does not depend on the number of images, so that small sets can be compared.
Citation: Binkowski et al., "Demystifying MMD GANs", arXiv:1801.01401.
Value: 0 on average for two samples of one distribution (so it may be negative); higher is worse.
Cost: every pair of images once.
Invalid when: images are compared by features of different encoders, or at different sizes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from attacks.errors import ShapeError
from attacks.quality._features import checked_features
from attacks.results import Estimate

GROUPS = 20
"""Groups of images that the interval leaves out one at a time."""
FEWEST_GROUPS = 4
"""An interval from fewer groups would be nothing but its Student factor."""


@dataclass(frozen=True, slots=True)
class Kid:
    """A kernel distance and how sure it is."""

    estimate: Estimate
    """The unbiased estimate with its 95 % interval; below 0 by chance for equal distributions."""
    n_real: int
    """Real images."""
    n_generated: int
    """Generated images."""
    d: int
    """Dimensions of the features."""
    n_groups: int
    """Groups of the interval; 0 without one."""


def kid(real: ArrayLike, generated: ArrayLike, *, groups: int = GROUPS) -> Kid:
    """Unbiased kernel distance of two sets of features, with a jackknife interval.

    real, generated: (n, d) and (m, d), two rows each at least. Rows of a set are independent and
        in random order: consecutive rows form a group.
    groups: the interval comes from leaving out one group of both sets at a time (at most a
        quarter of the smaller set, so that a group has four images); as the figure is no mean,
        the spread of these pseudo-values stands for its own. Where both distributions are equal
        this is wider than it need be.

    Raises ShapeError for fewer than two rows or different dimensions.
    """
    x, y = checked_features(real, generated, 2)
    if groups < 0:
        raise ShapeError(f"groups must not be negative, got {groups}")
    used = min(groups, min(len(x), len(y)) // 4)
    value = _unbiased(*_sums(x, y, _labels(len(x), 1), _labels(len(y), 1), 1))
    shape = (len(x), len(y), x.shape[1])
    if used < FEWEST_GROUPS:
        reason = f"an interval needs {4 * FEWEST_GROUPS} images of each kind and 4 groups"
        return Kid(Estimate(value, None, None, reason), *shape, 0)
    low, high = _jackknife(value, x, y, used)
    return Kid(Estimate(value, low, high), *shape, used)


def _jackknife(
    value: float, x: NDArray[np.float64], y: NDArray[np.float64], groups: int
) -> tuple[float, float]:
    """Student limits around the estimate, from pseudo-values of `groups` groups."""
    from scipy import stats

    parts = _sums(x, y, _labels(len(x), groups), _labels(len(y), groups), groups)
    kept = np.array([_unbiased(*(_without(part, g) for part in parts)) for g in range(groups)])
    pseudo = groups * value - (groups - 1) * kept
    half = float(stats.t.isf(0.025, groups - 1)) * float(pseudo.std(ddof=1)) / groups**0.5
    return value - half, value + half


class _Sums:
    """Kernel sums between groups of two sets, and how many pairs are in each."""

    def __init__(self, totals: NDArray[np.float64], pairs: NDArray[np.float64]):
        self.totals = totals
        self.pairs = pairs

    @property
    def mean(self) -> float:
        """Mean kernel of all pairs."""
        return float(self.totals.sum() / self.pairs.sum())


def _without(sums: _Sums, group: int) -> _Sums:
    keep = np.arange(len(sums.totals)) != group
    return _Sums(sums.totals[np.ix_(keep, keep)], sums.pairs[np.ix_(keep, keep)])


def _unbiased(real: _Sums, generated: _Sums, across: _Sums) -> float:
    return real.mean + generated.mean - 2 * across.mean


def _labels(n: int, groups: int) -> NDArray[np.int64]:
    """(n,) group of each row: consecutive rows, groups of nearly equal size."""
    return np.arange(n) * groups // n


def _sums(
    x: NDArray[np.float64],
    y: NDArray[np.float64],
    x_labels: NDArray[np.int64],
    y_labels: NDArray[np.int64],
    groups: int,
) -> tuple[_Sums, _Sums, _Sums]:
    """Within the real, within the generated (no row with itself), and across."""
    return (
        _between(x, x, x_labels, x_labels, groups, is_same=True),
        _between(y, y, y_labels, y_labels, groups, is_same=True),
        _between(x, y, x_labels, y_labels, groups, is_same=False),
    )


def _between(
    a: NDArray[np.float64],
    b: NDArray[np.float64],
    a_labels: NDArray[np.int64],
    b_labels: NDArray[np.int64],
    groups: int,
    *,
    is_same: bool,
) -> _Sums:
    """Group by group, so that no more than one group of kernels is in memory."""
    totals = np.zeros((groups, groups))
    starts = np.searchsorted(b_labels, np.arange(groups))
    for g in range(groups):
        kernel = (a[a_labels == g] @ b.T / a.shape[1] + 1) ** 3
        totals[g] = np.add.reduceat(kernel.sum(axis=0), starts)
    sizes_a, sizes_b = (np.bincount(one, minlength=groups) for one in (a_labels, b_labels))
    pairs = np.outer(sizes_a, sizes_b).astype(np.float64)
    if is_same:
        own = (np.einsum("nd,nd->n", a, a) / a.shape[1] + 1) ** 3
        totals -= np.diag(np.bincount(a_labels, weights=own, minlength=groups))
        pairs -= np.diag(sizes_a)
    return _Sums(totals, pairs)
