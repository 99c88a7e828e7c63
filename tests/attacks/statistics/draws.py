"""Scores of known distributions, shared by the tests of the statistics."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray


def tied_scores(max_size: int = 12) -> st.SearchStrategy[NDArray[np.float64]]:
    """Small arrays with n >= 1 in which ties are common."""
    values = st.lists(st.integers(0, 6), min_size=1, max_size=max_size)
    return values.map(lambda v: np.array(v, dtype=float))


def correlated_noise(
    rng: np.random.Generator, n_attacks: int, n: int, correlation: float = 0.5
) -> NDArray[np.float64]:
    """(k, n) standard normal scores with a common part."""
    common = rng.normal(size=n)
    own = rng.normal(size=(n_attacks, n))
    return np.sqrt(correlation) * common + np.sqrt(1 - correlation) * own


def at_most(rate: float, runs: int) -> float:
    """The rate plus three standard errors: what an exact level may show in a simulation."""
    return rate + 3 * float(np.sqrt(rate * (1 - rate) / runs))
