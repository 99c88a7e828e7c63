"""Records as points that can be moved, and how far they are from another label."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from attacks.boundary import Effort, boundary_distances
from attacks.observations import BoundaryDistance
from auditor.observe.noise import noise
from auditor.records.identity import keyed_rank
from auditor.records.rows import RowRecord, Table

MOST_NUMBERS = 2**23
"""Numbers in the directions of the records that are searched at once."""
_PURPOSE = 0xB0
"""Added to the iteration, so that no other observation draws the same noise."""


def movable_columns(table: Table) -> list[int]:
    """Positions of the columns of a table that hold numbers; empty for arrays with more axes."""
    if isinstance(table.features, np.ndarray) and table.features.ndim > 2:
        return []
    return [i for i, column in enumerate(table.columns) if column.kind == "numeric"]


def has_numbers(table: Table) -> bool:
    """Whether anything in the records can be moved."""
    is_whole = isinstance(table.features, np.ndarray) and table.features.ndim > 2
    return is_whole or bool(movable_columns(table))


class Movable:
    """The numbers of all records, each column (or all pixels) in its standard deviations."""

    def __init__(self, table: Table) -> None:
        self.table = table
        self.columns = movable_columns(table)
        everything = table.inputs()
        self.is_whole = isinstance(everything, np.ndarray) and everything.ndim > 2
        numbers = self._numbers(everything)
        axis = None if self.is_whole else 0
        spread = np.nanstd(numbers, axis=axis)
        self.scale: Any = np.where(spread > 0, spread, 1.0)

    def points(self, positions: NDArray[np.integer]) -> NDArray[np.float64]:
        """(n, d) of some records; missing numbers are 0 and stay missing in `inputs`."""
        return np.nan_to_num(self._numbers(self.table.inputs(positions)) / self.scale)

    def inputs(self, positions: NDArray[np.integer], points: NDArray[np.float64]) -> Any:
        """What the model is asked with when records lie at points (n, d); pixels stay in [0, 1]."""
        given = self.table.inputs(positions)
        numbers = points * self.scale
        if self.is_whole:
            moved = numbers.reshape(given.shape)
            return (np.clip(moved, 0, 1) if self.table.is_pictures else moved).astype(given.dtype)
        numbers = np.where(np.isnan(self._numbers(given)), np.nan, numbers)
        if isinstance(given, np.ndarray):
            changed = given.astype(np.result_type(given.dtype, np.float32))
            changed[:, self.columns] = numbers
            return changed
        frame = given.copy()
        for j, i in enumerate(self.columns):
            name = frame.columns[i]
            frame[name] = type(frame[name])(numbers[:, j], index=frame.index)
        return frame

    def _numbers(self, inputs: Any) -> NDArray[np.float64]:
        if self.is_whole:
            return np.asarray(inputs, dtype=np.float64).reshape(len(inputs), -1)
        chosen = inputs[:, self.columns] if isinstance(inputs, np.ndarray) else None
        if chosen is None:
            chosen = inputs.iloc[:, self.columns].to_numpy(dtype=np.float64, na_value=np.nan)
        return np.asarray(chosen, dtype=np.float64)


def distances(
    table: Table,
    records: Sequence[RowRecord],
    classes: NDArray[np.int64],
    labels_of: Callable[[Any], NDArray[np.int64]],
    request: BoundaryDistance,
    seed: int,
) -> NDArray[np.float64]:
    """(n,) distance of each record to a wrong label; 0 where its own label is wrong.

    classes: (n,) true classes; labels_of: predicted labels of inputs. A record for which no
    start has a wrong label gets the distance of the farthest one.
    """
    movable = Movable(table)
    positions = np.array([record.position for record in records], dtype=np.int64)
    d = movable.points(positions[:1]).shape[1] if len(records) else 1
    step = max(1, MOST_NUMBERS // (request.directions * d))
    found = np.zeros(len(records))
    for low in range(0, len(records), step):
        part = slice(low, low + step)
        found[part] = _of_part(
            movable, records[part], positions[part], classes[part], labels_of, request, seed
        )
    return found


def _of_part(
    movable: Movable,
    records: Sequence[RowRecord],
    positions: NDArray[np.int64],
    classes: NDArray[np.int64],
    labels_of: Callable[[Any], NDArray[np.int64]],
    request: BoundaryDistance,
    seed: int,
) -> NDArray[np.float64]:
    def is_other(rows: NDArray[np.intp], points: NDArray[np.float64]) -> NDArray[np.bool_]:
        return labels_of(movable.inputs(positions[rows], points)) != classes[rows]

    points = movable.points(positions)
    distance = np.zeros(len(points))
    open_rows = np.flatnonzero(~is_other(np.arange(len(points)), points))
    starts, has_start = points.copy(), np.zeros(len(points), dtype=bool)
    n_table = len(movable.table)
    for i in range(request.starts):
        if not len(open_rows):
            break
        drawn = [keyed_rank(f"start {i}", seed, records[int(r)].id) % n_table for r in open_rows]
        tried = movable.points(np.array(drawn, dtype=np.int64))
        gone = np.sqrt(np.square(tried - points[open_rows]).sum(axis=1))
        distance[open_rows] = np.maximum(distance[open_rows], gone)
        crossed = is_other(open_rows, tried)
        starts[open_rows[crossed]], has_start[open_rows[crossed]] = tried[crossed], True
        open_rows = open_rows[~crossed]
    rows = np.flatnonzero(has_start)
    if not len(rows):
        return distance
    shape = request.directions, points.shape[1]
    ids = np.array([record.id for record in records], dtype=str)[rows]

    def draw(own: NDArray[np.intp], iteration: int) -> NDArray[np.float64]:
        t = _PURPOSE + iteration
        return np.stack([noise(seed, name, t, 0, shape) for name in ids[own].tolist()])

    distance[rows] = boundary_distances(
        points[rows],
        starts[rows],
        lambda own, asked: is_other(rows[own], asked),
        draw,
        Effort(request.iterations, request.directions, request.searches),
    )
    return distance
