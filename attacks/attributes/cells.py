"""The values that a column can hold, as an attacker would list them from records of their own."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from attacks.errors import DataError
from attacks.observations import Cells


def cells_of(values: NDArray, *, bins: int, max_values: int) -> Cells:
    """The cells of a column, from known values (c,): texts, or numbers; missing ones left out.

    Texts: the most frequent ones, at most max_values. Numbers: each of them if they are no more
    than max_values, else ranges between quantiles, asked about with the lower median inside.
    Raises DataError if there is but one value.
    """
    distinct, counts = np.unique(values, return_counts=True)
    if len(distinct) < 2:
        raise DataError(
            f"a column with {len(distinct)} value among the calibration records leaves nothing to "
            "infer; name another one"
        )
    if values.dtype.kind not in "fiu":
        most = np.sort(np.argsort(-counts, kind="stable")[:max_values])
        return Cells(tuple(str(value) for value in distinct[most]))
    if len(distinct) <= max_values:
        return Cells(tuple(float(value) for value in distinct))
    edges = np.unique(np.quantile(values, np.arange(1, bins) / bins, method="higher"))
    edges = edges[edges > distinct[0]]
    ranges = np.searchsorted(edges, values, side="right")
    middles = [np.quantile(values[ranges == i], 0.5, method="lower") for i in range(len(edges) + 1)]
    return Cells(tuple(float(m) for m in middles), tuple(float(edge) for edge in edges))


def cell_of_number(values: NDArray[np.float64], cells: Cells) -> NDArray[np.int64]:
    """(n,) cell of each number; -1 for NaN and for a number that is none of the values."""
    if cells.edges is not None:
        found = np.searchsorted(np.asarray(cells.edges), values, side="right")
        return np.where(np.isnan(values), -1, found).astype(np.int64)
    known = np.asarray(cells.values, dtype=np.float64)
    place = np.minimum(np.searchsorted(known, values), len(known) - 1)
    return np.where(known[place] == values, place, -1).astype(np.int64)


def cell_names(cells: Cells) -> tuple[str, ...]:
    """A different name for each cell, for a report; edges are rounded, as they are people's values."""
    if cells.edges is None:
        names = [v if isinstance(v, str) else f"{v:.6g}" for v in cells.values]
    else:
        shown = [f"{edge:.3g}" for edge in cells.edges]
        between = [f"{low} to below {high}" for low, high in zip(shown, shown[1:], strict=False)]
        names = [f"below {shown[0]}", *between, f"{shown[-1]} and more"]
    if len(set(names)) == len(names):
        return tuple(names)
    return tuple(f"{name} ({i + 1})" for i, name in enumerate(names))
