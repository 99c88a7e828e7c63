"""From the labels of records to the columns of a model."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from attacks.errors import DataError, TargetError
from auditor.records.rows.canonical import text_of

_TRUTH = {"0": "False", "1": "True", "False": "0", "True": "1"}


def class_texts(classes: Sequence[object]) -> tuple[str, ...]:
    """Classes as text, as labels are read: 3 and 3.0 are "3".

    Raises TargetError if two are equal or one is blank.
    """
    found = tuple(text_of(value) or "" for value in classes)
    if len(set(found)) < len(found) or "" in found:
        raise TargetError(
            f"the {len(found)} classes are not distinct names; list each class once, in the order "
            "of the model's outputs"
        )
    return found


def columns_of(
    own: tuple[str, ...] | None, wanted: tuple[str, ...] | None, n_columns: int, name: str
) -> tuple[tuple[str, ...], NDArray[np.int64]]:
    """All classes, and the position of each of the model's columns among them.

    own: what the model calls its columns; wanted: what the user calls them, maybe with classes
        that the model has never seen. Without either they are 0 to k - 1.
    Raises TargetError if they do not fit each other or the number of columns.
    """
    if own is not None and len(own) != n_columns:
        raise TargetError(
            f"{name} answers with {n_columns} columns for its {len(own)} classes; it is no "
            "classifier of one label for each record"
        )
    if own is None:
        classes = wanted or tuple(str(i) for i in range(n_columns))
        if len(classes) != n_columns:
            raise TargetError(
                f"{name} answers with {n_columns} columns, but {len(classes)} classes are listed; "
                "list one class for each column, in their order"
            )
        return classes, np.arange(n_columns)
    if wanted is None:
        return own, np.arange(n_columns)
    position = {label: i for i, label in enumerate(wanted)}
    n_unknown = sum(label not in position for label in own)
    if n_unknown:
        raise TargetError(
            f"{n_unknown} of the {len(own)} classes of {name} are not among the {len(wanted)} "
            "classes that are listed; list them all, or leave the list out"
        )
    return wanted, np.array([position[label] for label in own], np.int64)


def class_indices(
    labels: Sequence[object] | NDArray, classes: tuple[str, ...], *, is_numbered: bool
) -> NDArray[np.int64]:
    """(n,) position of each label among the classes.

    is_numbered: whether the classes are but numbers of columns, for the error. 0 and 1 match False
    and True if nothing matches otherwise. Raises DataError with counts, never labels.
    """
    position = {label: i for i, label in enumerate(classes)}
    found = [text_of(label) or "" for label in labels]
    distinct = set(found)
    if not distinct & set(position) and distinct <= set(_TRUTH):
        found = [_TRUTH[label] for label in found]
        distinct = set(found)
    unknown = distinct - set(position)
    if unknown:
        n_records = sum(label in unknown for label in found)
        advice = (
            "its outputs have no names: list the labels in their order with `classes`"
            if is_numbered
            else "correct these labels, or leave the records out"
        )
        raise DataError(
            f"{n_records} of {len(found)} records have labels that are none of the model's "
            f"{len(classes)} classes ({len(unknown)} of {len(distinct)} distinct labels); {advice}"
        )
    return np.array([position[label] for label in found], np.int64)
