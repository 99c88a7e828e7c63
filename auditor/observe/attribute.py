"""Records with another value in one column, for attribute inference."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from attacks.attributes.cells import cell_of_number
from attacks.errors import InternalError, UsageError, did_you_mean
from attacks.observations import Cells

if TYPE_CHECKING:
    import pandas as pd

    from auditor.records.rows import Table


def column_index(table: Table, name: str) -> int:
    """Position of a column that can be hidden.

    Raises UsageError for an unknown name, and for data without columns.
    """
    names = [column.name for column in table.columns]
    is_whole = isinstance(table.features, np.ndarray) and table.features.ndim > 2
    if is_whole or not names:
        raise UsageError(
            f"the sensitive column '{name}' needs a table with columns, and these records have "
            "none; leave --sensitive out"
        )
    if name not in names:
        raise UsageError(f"the records have no column '{name}'; {did_you_mean(name, names)}")
    return names.index(name)


def known_values(table: Table, name: str, positions: NDArray[np.integer]) -> NDArray:
    """(c,) values of a column in some records, numbers or texts, missing ones left out."""
    column = table.values[name]
    if column.numbers is not None:
        numbers = column.numbers[positions]
        return numbers[~np.isnan(numbers)]
    codes = column.codes[positions]
    return np.array(column.levels, dtype=object)[codes[codes >= 0]].astype(str)


def own_cells(
    table: Table, name: str, cells: Cells, positions: NDArray[np.integer]
) -> NDArray[np.int64]:
    """(n,) cell of some records; -1 where the column holds nothing, or another value."""
    column = table.values[name]
    if column.numbers is not None:
        return cell_of_number(column.numbers[positions], cells)
    place = {value: i for i, value in enumerate(cells.values)}
    of_level = np.array([*(place.get(level, -1) for level in column.levels), -1], np.int64)
    return of_level[column.codes[positions]]  # code -1 takes the last one


def other_columns(table: Table, name: str, positions: NDArray[np.integer]) -> NDArray[np.float64]:
    """(n, d) encoded features of some records, without those of one column."""
    sources = np.asarray(table.encoded_sources)
    return table.encoded(positions)[:, sources != column_index(table, name)]


def with_value(
    table: Table, name: str, value: str | float, positions: NDArray[np.integer]
) -> pd.DataFrame | NDArray:
    """Inputs of some records whose column holds a value, as some record of the table writes it."""
    i, row = column_index(table, name), _row_with(table, name, value)
    inputs, example = table.inputs(positions), table.inputs([row])
    if isinstance(inputs, np.ndarray):
        changed = inputs.copy()
        changed[:, i] = np.asarray(example)[0, i]
        return changed
    assert not isinstance(example, np.ndarray)
    frame = inputs.copy()
    own = frame.columns[i]
    repeated = example[own].take(np.zeros(len(frame), dtype=np.intp))
    frame[own] = repeated.set_axis(frame.index)
    return frame


def _row_with(table: Table, name: str, value: str | float) -> int:
    column = table.values[name]
    if column.numbers is not None:
        rows = np.flatnonzero(column.numbers == value)
    else:
        held = np.array([level == value for level in column.levels] + [False])
        rows = np.flatnonzero(held[column.codes])  # code -1 takes the last one
    if not len(rows):
        raise InternalError("a value was asked for that no record of the table holds")
    return int(rows[0])
