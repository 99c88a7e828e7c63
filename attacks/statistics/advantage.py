"""How much more often one guess is right than another, on the same records.

A paired difference of accuracies is b/n - c/n, where b records are right by the first guess alone
and c by the second alone. The limits are Newcombe's (see `attacks.statistics.differences`) for the
two shares b/n and c/n, which exclude each other: their correlation is
-sqrt(b c / ((n - b)(n - c))). So they keep a width where the guesses never differ.
The difference between two groups combines the limits of each as squared distances (MOVER: Zou and
Donner, Statistics in Medicine 2008).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from attacks.errors import ShapeError
from attacks.results import Estimate
from attacks.statistics.differences import newcombe


def paired_advantage(
    first: NDArray[np.bool_], second: NDArray[np.bool_], *, confidence: float = 0.95
) -> Estimate:
    """Accuracy of one guess minus that of another, from (n,) whether each is right, n at least 1.

    Raises ShapeError if the two are not about the same records, or there are none.
    """
    if first.shape != second.shape or first.ndim != 1 or not first.size:
        raise ShapeError(
            f"expected two guesses about the same records, got {first.shape} and {second.shape}"
        )
    n = first.size
    b, c = int((first & ~second).sum()), int((~first & second).sum())
    rest = (n - b) * (n - c)
    correlation = -np.sqrt(b * c / rest) if rest else -1.0
    low, high = newcombe(b / n, n, c / n, n, correlation=correlation, confidence=confidence)
    return Estimate((b - c) / n, float(low), float(high))


def difference(first: Estimate, second: Estimate) -> Estimate:
    """First minus second, of independent groups, with the limits of both combined.

    Raises ShapeError where a value or a limit is missing.
    """
    (a, a_low, a_high), (b, b_low, b_high) = (_limits(estimate) for estimate in (first, second))
    below, above = np.hypot(a - a_low, b_high - b), np.hypot(a_high - a, b - b_low)
    return Estimate(a - b, float(a - b - below), float(a - b + above))


def _limits(estimate: Estimate) -> tuple[float, float, float]:
    """Value, low and high."""
    if estimate.value is None or estimate.low is None or estimate.high is None:
        raise ShapeError("a difference needs a value and both limits on either side")
    return estimate.value, estimate.low, estimate.high
