"""A choice among values that weighs several opinions: a conditional logit."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from attacks import signals


class Weights(NamedTuple):
    """How much each opinion counts."""

    values: NDArray[np.float64]
    """(f,) of the opinions, in units of `scale`."""
    scale: NDArray[np.float64]
    """(f,) what each opinion is divided by."""

    def utilities(self, opinions: NDArray[np.float64]) -> NDArray[np.float64]:
        """(n, v) what each value has for it, from (n, v, f) opinions."""
        return (centred(opinions) / self.scale) @ self.values


def centred(opinions: NDArray[np.float64]) -> NDArray[np.float64]:
    """Opinions less their mean over the values of a record, which no choice depends on."""
    return opinions - opinions.mean(axis=1, keepdims=True)


def fit(opinions: NDArray[np.float64], chosen: NDArray[np.integer], *, strength: float) -> Weights:
    """Weights of opinions (n, v, f) under which the true values (n,) are likeliest.

    They are drawn towards trusting the first opinion, as a log-probability, alone: a Gaussian of
    variance `strength` on what is added. Without records that is what comes out.
    """
    from scipy.optimize import minimize

    within = centred(opinions)
    spread = np.sqrt((within**2).mean(axis=(0, 1))) if len(within) else np.zeros(within.shape[2])
    scale = np.where(spread > 1e-9, spread, 1.0)
    scale[0] = 1.0
    scaled = within / scale
    start = np.zeros(opinions.shape[2])
    start[0] = 1.0
    if not len(within):
        return Weights(start, scale)
    rows = np.arange(len(scaled))

    def objective(weights: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        utilities = scaled @ weights
        log_total = signals.logsumexp(utilities, axis=1)
        chances = np.exp(utilities - log_total[:, None])
        gradient = np.einsum("nv,nvf->f", chances, scaled) - scaled[rows, chosen].sum(axis=0)
        away = weights - start
        loss = (log_total - utilities[rows, chosen]).sum() + (away @ away) / (2 * strength)
        return float(loss), gradient + away / strength

    found = minimize(objective, start, jac=True, method="L-BFGS-B")
    return Weights(found.x, scale)
