"""Where a value stands among the values of a population."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def squash(values: NDArray[np.floating]) -> NDArray[np.float64]:
    """A strictly increasing map into (0, 1) whose tails are long enough to keep order."""
    return (1.0 + values / (1.0 + np.abs(values))) / 2.0


def share_below(
    values: NDArray[np.floating],
    population: NDArray[np.floating],
    *,
    gap: float = 0.0,
    strict: bool = False,
) -> NDArray[np.float64]:
    """(n,) share of a population that lies below each value by at least `gap`.

    values: (n,), population: (z,) with z >= 1. strict: by more than `gap`. One sort and one
    binary search per value, where a table of pairs would have n * z cells.
    """
    counts = np.searchsorted(np.sort(population), values - gap, side="left" if strict else "right")
    return counts / len(population)


def share_below_without_ties(
    values: NDArray[np.floating],
    population: NDArray[np.floating],
    *,
    gap: float = 0.0,
    strict: bool = False,
) -> NDArray[np.float64]:
    """(n,) `share_below` in (0, 1), with values between the same two of the population in order.

    The share alone takes z + 1 values, and its ties would sit where a false-positive rate is
    strictest.
    """
    z = len(population)
    share = share_below(values, population, gap=gap, strict=strict)
    return without_ties(share, values, z)


def without_ties(
    share: NDArray[np.floating], values: NDArray[np.floating], z: int
) -> NDArray[np.float64]:
    """(n,) a share of z in (0, 1), with equal shares in the order of the values."""
    return (share * z + squash(values)) / (z + 1)
