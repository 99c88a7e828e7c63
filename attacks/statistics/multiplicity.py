"""Corrections for looking more than once.

Sources: Holm, Scand. J. Statist. 1979; Benjamini and Hochberg, J. R. Statist. Soc. B 1995.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray


def holm(p_values: ArrayLike) -> NDArray[np.float64]:
    """(k,) adjusted p-values: rejecting those <= alpha keeps the family-wise error at alpha.

    No assumption on dependence. An empty array stays empty.
    """
    p = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(p, kind="stable")
    stepped = np.maximum.accumulate(p[order] * np.arange(p.size, 0, -1))
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(stepped, 1.0)
    return adjusted


def benjamini_hochberg(p_values: ArrayLike, q: float) -> NDArray[np.bool_]:
    """(k,) which hypotheses are rejected at false-discovery rate q."""
    p = np.asarray(p_values, dtype=np.float64)
    ordered = np.sort(p)
    below = np.flatnonzero(ordered <= q * np.arange(1, p.size + 1) / max(p.size, 1))
    if below.size == 0:
        return np.zeros(p.size, dtype=bool)
    return p <= ordered[below[-1]]
