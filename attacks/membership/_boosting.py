"""Gradient boosting of a confidence on a record's features and class."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from sklearn.ensemble import HistGradientBoostingRegressor

FOLDS = 5
"""Parts of the fitting records, each of whose residuals come from a model of the other parts."""
MAX_CATEGORIES = 255
"""Most classes that the trees treat as categories; beyond it the class is a number to them."""
FLOOR = 1e-3
"""Least predicted spread, as a share of the spread of all residuals."""


class Settings(NamedTuple):
    """Size of the regression models."""

    max_iter: int
    learning_rate: float
    max_leaf_nodes: int
    min_samples_leaf: int
    seed: int


class Predicted(NamedTuple):
    """What a nonmember's confidence is predicted to be."""

    center: NDArray[np.float64]
    """(n,) mean, or quantile."""
    spread: NDArray[np.float64]
    """(n,) standard deviation; 1 for a quantile."""


def fit_predict(
    inputs: NDArray[np.floating],
    values: NDArray[np.floating],
    asked: NDArray[np.float64],
    *,
    quantile: float | None,
    settings: Settings,
) -> Predicted:
    """Fit (n, d) inputs, the class in their last column, to (n,) values; predict for `asked`.

    quantile: level to predict; None predicts mean and standard deviation. A quantile is moved by
        what it misses on records that its model did not see: trees hug those that they did. The
        standard deviation is the predicted absolute residual on unseen records, times
        sqrt(pi / 2): exact for a Gaussian.
    """
    if len(asked) == 0:
        return Predicted(np.zeros(0), np.zeros(0))
    center = _model(inputs, settings, quantile).fit(inputs, values).predict(asked)
    misses = values - _out_of_fold(inputs, values, settings, quantile)
    if quantile is not None:
        return Predicted(center + np.quantile(misses, quantile), np.ones_like(center))
    residuals = np.abs(misses)
    factor = np.sqrt(np.pi / 2)
    spread = factor * _model(inputs, settings).fit(inputs, residuals).predict(asked)
    overall = factor * float(residuals.mean())
    return Predicted(center, np.maximum(spread, FLOOR * overall if overall > 0 else 1.0))


def _model(
    inputs: NDArray[np.floating], settings: Settings, quantile: float | None = None
) -> HistGradientBoostingRegressor:
    from sklearn.ensemble import HistGradientBoostingRegressor

    n_classes = int(inputs[:, -1].max()) + 1
    return HistGradientBoostingRegressor(
        loss="squared_error" if quantile is None else "quantile",
        quantile=quantile,
        max_iter=settings.max_iter,
        learning_rate=settings.learning_rate,
        max_leaf_nodes=settings.max_leaf_nodes,
        min_samples_leaf=settings.min_samples_leaf,
        early_stopping=False,
        categorical_features=[inputs.shape[1] - 1] if n_classes <= MAX_CATEGORIES else None,
        random_state=settings.seed,
    )


def _out_of_fold(
    inputs: NDArray[np.floating],
    values: NDArray[np.floating],
    settings: Settings,
    quantile: float | None,
) -> NDArray[np.float64]:
    """(n,) predictions by models that did not see the record, whatever order records came in."""
    folds = np.random.default_rng(settings.seed).permutation(len(values)) % FOLDS
    predictions = np.empty_like(values)
    for fold in np.unique(folds):
        own = folds == fold
        model = _model(inputs, settings, quantile).fit(inputs[~own], values[~own])
        predictions[own] = model.predict(inputs[own])
    return predictions
