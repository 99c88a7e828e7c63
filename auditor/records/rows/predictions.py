"""Saved predictions: columns or arrays of logits or probabilities, one for each class."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from attacks.errors import DataError
from auditor.records.identity import nfc
from auditor.records.sources import printable

if TYPE_CHECKING:
    import pandas as pd

Kind = Literal["logits", "probabilities"]
PREFIXES: dict[str, Kind] = {
    "logit_": "logits",
    "p_": "probabilities",
    "prob_": "probabilities",
    "proba_": "probabilities",
}
"""Prefix of a column, before the class -> what it holds; the first one that occurs is read."""
ARRAYS: dict[str, Kind] = {
    "logits": "logits",
    "probabilities": "probabilities",
    "probs": "probabilities",
    "p": "probabilities",
}
"""Array of an NPZ file -> what it holds; the first one that occurs is read."""


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class Answers:
    """What one file holds of predictions."""

    values: NDArray[np.float64]
    """(n, k) in the order of `classes`."""
    classes: tuple[str, ...] | None
    """Names of the columns as labels, None for an array."""
    kind: Kind
    """Logits or probabilities."""
    columns: tuple[str, ...]
    """Every column or array of predictions, also those that are not read: none is a feature."""

    def rows(self, chosen: NDArray[np.int64]) -> Answers:
        """The answers about some rows."""
        return Answers(self.values[chosen], self.classes, self.kind, self.columns)


def read_answers(path: Path) -> Answers:
    """The predictions in a file of their own. Raises DataError if there are none."""
    from auditor.records.model import ReadOptions
    from auditor.records.rows.arrays import read_arrays
    from auditor.records.rows.reading import read_frame

    shown = printable(path.name)
    if not path.exists():
        raise DataError(f"predictions: {printable(path)} does not exist; check the path")
    if path.suffix.lower() == ".npz":
        return answers_of_arrays(read_arrays(path), shown)
    return answers_of_frame(read_frame(path, ReadOptions())[0], shown)


def answers_of_frame(frame: pd.DataFrame, shown: str) -> Answers:
    """The predictions among the columns of a table. Raises DataError if there are none."""
    names = [str(name) for name in frame.columns]
    by_prefix = {
        prefix: [n for n in names if n.startswith(prefix) and n != prefix] for prefix in PREFIXES
    }
    found = next((prefix for prefix, columns in by_prefix.items() if len(columns) > 1), None)
    if found is None:
        raise DataError(
            f"{shown} has no columns of predictions; call them p_0, p_1 ... (probabilities) or "
            "logit_0, logit_1 ... (logits), one for each class, with the label after the prefix"
        )
    classes = [nfc(name.removeprefix(found)) for name in by_prefix[found]]
    order = _class_order(classes)
    columns = [by_prefix[found][i] for i in order]
    values = _numbers(frame, columns, shown)
    every = tuple(name for names in by_prefix.values() for name in names)
    return Answers(values, tuple(classes[i] for i in order), PREFIXES[found], every)


def _class_order(classes: Sequence[str]) -> list[int]:
    """By number if all classes are numbers, else as they come."""
    if all(name.isdecimal() for name in classes):
        return sorted(range(len(classes)), key=lambda i: int(classes[i]))
    return list(range(len(classes)))


def _numbers(frame: pd.DataFrame, columns: Sequence[str], shown: str) -> NDArray[np.float64]:
    try:
        return frame[list(columns)].to_numpy(dtype=np.float64, na_value=np.nan)
    except (ValueError, TypeError):
        raise DataError(
            f"{shown}: columns of predictions ({printable(columns[0])} ...) hold something else "
            "than numbers; save them again"
        ) from None


def answers_of_arrays(arrays: dict[str, NDArray], shown: str) -> Answers:
    """The predictions among the arrays of an NPZ file. Raises DataError if there are none."""
    found = next((name for name in ARRAYS if name in arrays), None)
    if found is None:
        raise DataError(
            f"{shown} has no array of predictions; call it logits or probabilities, (n, k) with "
            "a column for each class"
        )
    array = arrays[found]
    if array.ndim != 2 or array.shape[1] < 2 or array.dtype.kind not in "iuf":
        raise DataError(
            f"{shown}: array '{found}' is {array.dtype} of shape {array.shape}; "
            "save numbers of shape (n, k) with a column for each of at least two classes"
        )
    every = tuple(name for name in ARRAYS if name in arrays)
    return Answers(array.astype(np.float64), None, ARRAYS[found], every)
