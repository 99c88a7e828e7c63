"""The network that attacks on drawn images fit: three layers, on standardised features."""

from __future__ import annotations

import warnings

import numpy as np
from numpy.typing import NDArray

from attacks.membership import _common
from attacks.observations import Calibration

HIDDEN = (32, 16)
"""Units of the two hidden layers."""
MOST_STEPS = 500
"""Steps of the optimiser at most; where it stops, it is regular enough."""


def fitted_log_odds(
    evaluated: NDArray[np.float64],
    calibration: NDArray[np.float64],
    part: Calibration,
    *,
    penalty: float,
    seed: int,
) -> NDArray[np.float64]:
    """(n,) log-odds of membership of (n, d) features, fitted on the calibration part alone.

    calibration: (m, d) the same features of the calibration records. The output of the last layer
    is taken before the logistic function, so that high scores do not tie.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.neural_network import MLPClassifier

    fitted = _common.canonical(calibration, part.is_member)
    mean, spread = fitted.features.mean(axis=0), fitted.features.std(axis=0)
    spread = np.where(spread > 1e-12 * (1 + np.abs(mean)), spread, 1.0)
    network = MLPClassifier(
        HIDDEN, solver="lbfgs", alpha=penalty, max_iter=MOST_STEPS, random_state=seed
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        network.fit((fitted.features - mean) / spread, fitted.is_member)
    values = (evaluated - mean) / spread
    for i, (weights, bias) in enumerate(zip(network.coefs_, network.intercepts_, strict=True)):
        values = values @ weights + bias
        if i < len(HIDDEN):
            values = np.maximum(values, 0)
    log_odds: NDArray[np.float64] = values[:, 0]
    return log_odds
