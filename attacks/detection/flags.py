"""From scores to flags: conformal p-values against reference prompts, at a false-discovery rate.

A reference prompt is one that is believed not to be memorized. If suspects that are not memorized
score like reference prompts, then p = (1 + #{references >= s}) / (n + 1) is a valid p-value
(conformal outlier test), and Benjamini-Hochberg over the suspects keeps the expected share of
false flags at q.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from attacks.errors import DataError
from attacks.statistics.multiplicity import benjamini_hochberg

Q = 0.10
"""False-discovery rate of the flags."""


def conformal_p(
    suspects: ArrayLike, references: ArrayLike, *, is_directed: bool = True
) -> NDArray[np.float64]:
    """(p,) p-values of suspect scores (p,) against reference scores (n,); ties count against them.

    is_directed: only high scores speak for memorization; False tests both ends (two-sided).
    Raises DataError without references.
    """
    known = np.sort(np.asarray(references, dtype=np.float64))
    scores = np.asarray(suspects, dtype=np.float64)
    if known.size == 0:
        raise DataError("there is no reference prompt; pass --reference")
    at_least = known.size - np.searchsorted(known, scores, side="left")
    high = (1 + at_least) / (known.size + 1)
    if is_directed:
        return np.asarray(high)
    low = (1 + np.searchsorted(known, scores, side="right")) / (known.size + 1)
    return np.minimum(1.0, 2 * np.minimum(high, low))


def flagged(p_values: ArrayLike, q: float = Q) -> NDArray[np.bool_]:
    """(p,) which prompts are flagged at false-discovery rate q."""
    return benjamini_hochberg(p_values, q)


def fewest_flaggable(n_suspects: int, n_references: int, q: float = Q) -> int:
    """How many suspects must score above every reference before any of them is flagged."""
    return max(1, math.ceil(n_suspects / (q * (n_references + 1)) - 1e-9))


def references_for_one(n_suspects: int, q: float = Q) -> int:
    """Reference prompts from which a single memorized prompt can be flagged."""
    return max(1, math.ceil(n_suspects / q - 1e-9) - 1)
