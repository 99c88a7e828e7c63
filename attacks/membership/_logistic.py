"""Logistic regression on standardised features, the attack model of several attacks."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class AttackModel(NamedTuple):
    """A fitted model: weights on features that are standardised as in its own training."""

    mean: NDArray[np.float64]
    """(d,)"""
    spread: NDArray[np.float64]
    """(d,) standard deviations; 1 for a constant feature."""
    weights: NDArray[np.float64]
    """(d,)"""
    intercept: float

    def log_odds(self, features: NDArray[np.float64]) -> NDArray[np.float64]:
        """(n,) log-odds of membership of (n, d) features."""
        return ((features - self.mean) / self.spread) @ self.weights + self.intercept


def fit(features: NDArray[np.float64], is_in: NDArray[np.bool_], *, strength: float) -> AttackModel:
    """Logistic regression of is_in (n,), both values present, on (n, d) features.

    strength: inverse weight of the penalty on large weights. The order of the rows does not matter.
    """
    from sklearn.linear_model import LogisticRegression

    order = np.lexsort((is_in, *features.T))
    rows = features[order]
    mean, spread = rows.mean(axis=0), rows.std(axis=0)
    spread = np.where(spread > 1e-12 * (1 + np.abs(mean)), spread, 1.0)
    model = LogisticRegression(C=strength, max_iter=1000)
    model.fit((rows - mean) / spread, is_in[order])
    return AttackModel(mean, spread, model.coef_[0], float(model.intercept_[0]))
