"""How much a change of a model moves the kernel distance of its images to real ones.

Both models draw from the same captions and seeds and are compared with the same real images, so
that what these have in common leaves the difference.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from attacks.errors import ShapeError
from attacks.quality._features import checked_features
from attacks.quality.kid import FEWEST_GROUPS, GROUPS, _between, _labels, _Sums, _without
from attacks.results import Estimate


def kid_change(
    real: ArrayLike, before: ArrayLike, after: ArrayLike, *, groups: int = GROUPS
) -> Estimate:
    """Kernel distance after minus before, with a 95 % jackknife interval.

    real: (n, d) features; before, after: (m, d), row i of both from one caption and seed. Rows are
        in random order: consecutive ones form a group, which is left out of all three sets.

    Raises ShapeError for fewer than two rows, or sets that do not pair.
    """
    x, first = checked_features(real, before, 2)
    _, second = checked_features(real, after, 2)
    if first.shape != second.shape:
        raise ShapeError(
            f"{first.shape[0]} images before and {second.shape[0]} after do not pair; draw both "
            "from the same captions and seeds"
        )
    used = min(groups, min(len(x), len(first)) // 4)
    whole = _difference(_parts(x, first, second, 1))
    if used < FEWEST_GROUPS:
        reason = f"an interval needs {4 * FEWEST_GROUPS} images of each kind and 4 groups"
        return Estimate(whole, None, None, reason)
    parts = _parts(x, first, second, used)
    kept = np.array([_difference([_without(p, g) for p in parts]) for g in range(used)])
    pseudo = used * whole - (used - 1) * kept
    from scipy import stats

    half = float(stats.t.isf(0.025, used - 1)) * float(pseudo.std(ddof=1)) / used**0.5
    return Estimate(whole, whole - half, whole + half)


def _parts(
    x: NDArray[np.float64], first: NDArray[np.float64], second: NDArray[np.float64], groups: int
) -> list[_Sums]:
    """Kernel sums within each generated set and across to the real one; that of x cancels."""
    rows, columns = _labels(len(x), groups), _labels(len(first), groups)
    found = []
    for generated in (first, second):
        found += [
            _between(generated, generated, columns, columns, groups, is_same=True),
            _between(x, generated, rows, columns, groups, is_same=False),
        ]
    return found


def _difference(parts: list[_Sums]) -> float:
    own_before, across_before, own_after, across_after = (part.mean for part in parts)
    return (own_after - 2 * across_after) - (own_before - 2 * across_before)
