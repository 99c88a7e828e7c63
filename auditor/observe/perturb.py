"""Noisy copies of labelled rows, for attacks that see labels alone."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr

if TYPE_CHECKING:
    import pandas as pd

    from auditor.records.rows import Table


def draws_per_record(table: Table) -> tuple[int, ...]:
    """Shape of the standard normal numbers that one noisy copy of a record takes."""
    inputs = table.inputs([0])
    if isinstance(inputs, np.ndarray) and inputs.ndim > 2:
        return inputs.shape[1:]
    return len(table.columns), 3


def scales_of(table: Table) -> str:
    """A hash of all that `perturbed` takes from the rest of a table: spreads, and what is drawn."""
    everything = table.inputs()
    if isinstance(everything, np.ndarray) and everything.ndim > 2:
        return hashlib.sha256(repr(float(np.std(everything))).encode()).hexdigest()
    columns = (
        everything.T
        if isinstance(everything, np.ndarray)
        else [everything[name].to_numpy() for name in everything.columns]
    )
    digest = hashlib.sha256()
    for column, values in zip(table.columns, columns, strict=True):
        used = (
            float(np.nanstd(values.astype(float))) if column.kind == "numeric" else values.tolist()
        )
        digest.update(repr((column.kind, used)).encode())
    return digest.hexdigest()


def perturbed(
    table: Table,
    positions: NDArray[np.integer],
    draws: NDArray[np.floating],
    sigma: float,
    flip: float,
) -> pd.DataFrame | NDArray:
    """Inputs of some records under noise, in the form that the model takes.

    draws: (n, *draws_per_record) standard normal numbers.
    sigma: standard deviation of Gaussian noise on numbers, in standard deviations of that column
        over the whole table (of all pixels for arrays with more axes); flip: probability that a
        binary value flips and that a category is drawn anew from the table.
    """
    inputs, everything = table.inputs(positions), table.inputs()
    if isinstance(inputs, np.ndarray) and inputs.ndim > 2:
        return (inputs + sigma * float(np.std(everything)) * draws).astype(inputs.dtype)
    kinds = [column.kind for column in table.columns]
    if isinstance(inputs, np.ndarray):
        columns = [
            _noisy(inputs[:, i], np.asarray(everything)[:, i], kind, draws[:, i], sigma, flip)
            for i, kind in enumerate(kinds)
        ]
        noisy = np.column_stack(columns)
        return noisy.astype(inputs.dtype) if inputs.dtype.kind == "f" else noisy
    assert not isinstance(everything, np.ndarray)
    frame = inputs.copy()
    for i, (name, kind) in enumerate(zip(frame.columns, kinds, strict=True)):
        column, whole = frame[name], everything[name].to_numpy()
        values = _noisy(column.to_numpy(), whole, kind, draws[:, i], sigma, flip)
        series = type(column)(values, index=frame.index)
        frame[name] = series if kind == "numeric" else series.astype(column.dtype)
    return frame


def _noisy(
    values: NDArray,
    column: NDArray,
    kind: str,
    draws: NDArray[np.floating],
    sigma: float,
    flip: float,
) -> Any:
    """One column of some records under noise; draws: (n, 3)."""
    if kind == "numeric":
        return values.astype(float) + sigma * float(np.nanstd(column.astype(float))) * draws[:, 0]
    is_redrawn = ndtr(draws[:, 1]) < flip
    drawn = column[np.minimum((ndtr(draws[:, 2]) * len(column)).astype(int), len(column) - 1)]
    if kind == "binary":
        levels = np.unique(column[~_missing(column)])
        if len(levels) == 2:
            drawn = np.where(values == levels[0], levels[1], levels[0])
    return np.where(is_redrawn, drawn, values)


def _missing(column: NDArray) -> NDArray[np.bool_]:
    import pandas as pd

    return np.asarray(pd.isna(column), dtype=bool)
