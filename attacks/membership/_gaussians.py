"""Gaussians of a statistic over shadow models, one for each record and query.

What Carlini et al., arXiv:2112.03570, fit in Algorithm 1 and section VI-B. Axis names: n records,
m shadow models, q queries.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from attacks.errors import UsageError
from attacks.membership import _common
from attacks.membership._classifier import Shadows, masked_mean

Variance = Literal["auto", "pooled", "per_record", "uncentred"]
Center = Literal["mean", "median"]

VARIANCES = ("auto", "pooled", "per_record", "uncentred")
CENTERS = ("mean", "median")
ENOUGH_MODELS = 64
"""Shadow models from which `auto` trusts the spread of each record by itself."""
FLOOR = 1e-3
"""Least spread of a record, as a share of the pooled one."""


class Gaussian(NamedTuple):
    """Location and standard deviation of the statistic."""

    center: NDArray[np.float64]
    """(n, q)"""
    spread: NDArray[np.float64]
    """(n, q), or (1, q) where it is common to all records."""

    def standardised(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """(n, q) distances from the centre in standard deviations."""
        return (values - self.center) / self.spread

    def log_density(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """(n, q) log-density, without the constant that all Gaussians share."""
        return -np.log(self.spread) - self.standardised(values) ** 2 / 2


class Pair(NamedTuple):
    """What models with and without a record show on it."""

    inside: Gaussian
    outside: Gaussian


def check(queries: int, variance: str, center: str, ddof: int) -> None:
    """Refuse settings that are not offered."""
    _common.check_positive(queries=queries)
    if variance not in VARIANCES:
        raise UsageError(f"variance must be one of {', '.join(VARIANCES)}, got '{variance}'")
    if center not in CENTERS:
        raise UsageError(f"center must be mean or median, got '{center}'")
    if ddof not in (0, 1):
        raise UsageError(f"ddof must be 0 or 1, got {ddof}")


def fit(shadows: Shadows, *, variance: Variance, center: Center, ddof: int) -> Pair:
    """The IN and the OUT Gaussian of (n, m, q) statistics.

    variance: `pooled` takes one spread for each side and query, of the deviations within records;
        `per_record` one for each record; `auto` the latter from 64 models on; `uncentred` the
        spread of all IN values, between records included, for both sides, as the released code.
    ddof: degrees of freedom taken off for each record.
    A spread that cannot be estimated (one model a side) counts as 1, which leaves the order.
    """
    if variance == "auto":
        variance = "per_record" if shadows.keep.shape[1] >= ENOUGH_MODELS else "pooled"
    inside, outside = (
        _one_side(shadows.values, mask, variance, center, ddof)
        for mask in (shadows.keep, ~shadows.keep)
    )
    if variance == "uncentred":
        spread = _overall(shadows)
        inside, outside = inside._replace(spread=spread), outside._replace(spread=spread)
    return Pair(inside, outside)


def _one_side(
    values: NDArray[np.float64],
    mask: NDArray[np.bool_],
    variance: Variance,
    center: Center,
    ddof: int,
) -> Gaussian:
    mean = masked_mean(values, mask)
    deviations = (values - mean[:, None]) ** 2
    squares = np.einsum("nmq,nm->nq", deviations, mask.astype(np.float64))
    freedom = np.maximum(mask.sum(axis=1) - ddof, 0)[:, None]
    total = max(int(freedom.sum()), 1)
    pooled = np.sqrt(squares.sum(axis=0, keepdims=True) / total)
    rounding = 1e-12 * np.abs(values).max(initial=1.0)
    pooled = np.where(pooled > rounding, pooled, 1.0)
    spread = pooled
    if variance == "per_record":
        spread = np.maximum(np.sqrt(squares / np.maximum(freedom, 1)), FLOOR * pooled)
    return Gaussian(mean if center == "mean" else masked_median(values, mask), spread)


def _overall(shadows: Shadows) -> NDArray[np.float64]:
    """(1, q) spread of all IN values around their common mean."""
    inside = shadows.values[shadows.keep]
    if len(inside) == 0:
        return np.ones((1, shadows.values.shape[2]))
    spread = inside.std(axis=0, keepdims=True)
    return np.where(spread > 0, spread, 1.0)


def masked_median(values: NDArray[np.float64], mask: NDArray[np.bool_]) -> NDArray[np.float64]:
    """(n, q) median over the models that the mask (n, m) chooses, at least one for each record."""
    ordered = np.sort(np.where(mask[:, :, None], values, np.inf), axis=1)
    count = mask.sum(axis=1)[:, None, None]
    low = np.take_along_axis(ordered, (count - 1) // 2, axis=1)
    high = np.take_along_axis(ordered, count // 2, axis=1)
    return ((low + high) / 2)[:, 0]
