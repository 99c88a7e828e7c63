"""Imputation: what a column holds, guessed from the other columns, without any model under audit."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

FLOOR = 1e-6
"""Least probability of a value, so that logarithms stay finite."""
FOLDS = 3
"""Parts for the choice between the models."""


def inputs(others: NDArray[np.floating], classes: NDArray[np.integer], k: int) -> NDArray:
    """(n, d + k) the other columns (n, d), then the true class as one of k."""
    return np.hstack([others, np.eye(k)[classes]])


def log_probabilities(
    known: NDArray[np.floating],
    cells: NDArray[np.integer],
    asked: NDArray[np.floating],
    n_cells: int,
    *,
    seed: int,
) -> NDArray[np.float64]:
    """(n, v) log-probability of each of v cells for the rows that are asked about.

    known: (c, d) rows whose cells (c,) are known; nothing else is learnt from. The model is the one
        of several (logistic regressions, boosted trees) with the least log loss on rows that were
        left out of its fit.
    """
    folds = np.random.default_rng(seed).permutation(len(known)) % min(FOLDS, len(known))
    models = [*_logistic(), _boosting(seed)]
    losses = [_left_out_loss(model, known, cells, folds, n_cells) for model in models]
    best = models[int(np.argmin(losses))]
    return _fitted_log_p(best, known, cells, asked, n_cells)


def _logistic() -> list[Any]:
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    return [
        make_pipeline(StandardScaler(), LogisticRegression(C=c, max_iter=500))
        for c in (0.01, 0.1, 1.0)
    ]


def _boosting(seed: int) -> Any:
    from sklearn.ensemble import HistGradientBoostingClassifier

    return HistGradientBoostingClassifier(
        max_iter=50, max_leaf_nodes=8, min_samples_leaf=10, early_stopping=False, random_state=seed
    )


def _left_out_loss(
    model: Any, known: NDArray, cells: NDArray, folds: NDArray[np.integer], n_cells: int
) -> float:
    """Mean of minus the log-probability that a model gives to the cells of rows it did not see."""
    losses = np.empty(len(known))
    for fold in np.unique(folds):
        own = folds == fold
        log_p = _fitted_log_p(model, known[~own], cells[~own], known[own], n_cells)
        losses[own] = -log_p[np.arange(own.sum()), cells[own]]
    return float(losses.mean())


def _fitted_log_p(
    model: Any, known: NDArray, cells: NDArray, asked: NDArray, n_cells: int
) -> NDArray[np.float64]:
    """(n, v) log-probabilities after a fit; a cell that never occurred gets the floor."""
    from sklearn.base import clone

    found = np.full((len(asked), n_cells), FLOOR)
    seen = np.unique(cells)
    if len(seen) == 1:
        found[:, seen[0]] = 1.0
    elif len(asked):
        fitted = clone(model).fit(known, cells)
        found[:, fitted.classes_] = np.maximum(fitted.predict_proba(asked), FLOOR)
    return np.log(found / found.sum(axis=1, keepdims=True))
