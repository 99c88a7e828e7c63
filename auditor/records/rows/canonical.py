"""What a row holds, whatever the format and types that it was stored in.

Numbers, times and booleans are float64 with NaN for missing; everything else is NFC text. So a row
of a CSV file and the same row of a Parquet file are one record. What the model is asked with keeps
its own types; only hashes and encodings look at this form.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from attacks.errors import DataError
from auditor.records.identity import nfc
from auditor.records.listing import normal_text
from auditor.records.sources import printable

if TYPE_CHECKING:
    import pandas as pd

Kind: TypeAlias = Literal["numeric", "binary", "category"]

_HASHED_BYTES = 64 * 2**20


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class ColumnValues:
    """One column in canonical form: numbers, or codes into texts."""

    kind: Kind
    """Binary: numbers that are 0, 1 or missing, and not all missing."""
    numbers: NDArray[np.float64] | None
    """(n,) values, NaN where missing; None for a category."""
    codes: NDArray[np.int64]
    """(n,) positions in `levels`, -1 where missing; empty for numbers."""
    levels: tuple[str, ...]
    """Distinct NFC texts, ascending; empty for numbers."""

    @property
    def is_missing(self) -> NDArray[np.bool_]:
        """(n,) which cells hold nothing."""
        return np.isnan(self.numbers) if self.numbers is not None else self.codes < 0


def column_values(series: pd.Series, where: str) -> ColumnValues:
    """The canonical form of a column.

    where: the file and column, for the error. Raises DataError for bytes, lists and mixtures.
    """
    import pandas as pd
    from pandas.api import types

    dtype = series.dtype
    if isinstance(dtype, pd.CategoricalDtype):
        return _category(series.astype(object))
    if types.is_complex_dtype(dtype):
        raise DataError(f"{where} holds complex numbers; split them into two columns")
    if types.is_numeric_dtype(dtype):  # booleans included
        return _numeric(series.to_numpy(dtype=np.float64, na_value=np.nan))
    if types.is_datetime64_any_dtype(dtype) or types.is_timedelta64_dtype(dtype):
        return _numeric(_seconds(series))
    found = types.infer_dtype(series, skipna=True)
    if found in ("string", "empty"):
        return _category(series.astype(object))
    if found in ("boolean", "integer", "floating", "mixed-integer-float", "decimal"):
        return _numeric(pd.to_numeric(series.astype(object), errors="coerce").to_numpy(np.float64))
    if found in ("date", "datetime", "datetime64"):
        return _numeric(_seconds(pd.to_datetime(series)))
    raise DataError(
        f"{where} holds {_plain(found)}; give one number or one text in each cell, or leave the "
        "column out with drop_columns"
    )


def _plain(inferred: str) -> str:
    names = {"bytes": "bytes", "mixed-integer": "numbers and texts"}
    return names.get(inferred, "values of several or unknown types")


def _numeric(values: NDArray[np.float64]) -> ColumnValues:
    numbers = values + 0.0  # no negative zero
    known = numbers[~np.isnan(numbers)]
    is_binary = len(known) > 0 and bool(np.isin(known, (0.0, 1.0)).all())
    return ColumnValues("binary" if is_binary else "numeric", numbers, np.empty(0, np.int64), ())


def _seconds(series: pd.Series) -> NDArray[np.float64]:
    """(n,) seconds since 1970, or of a duration; NaN where missing."""
    import pandas as pd

    if isinstance(series.dtype, pd.DatetimeTZDtype):
        series = series.dt.tz_convert("UTC").dt.tz_localize(None)
    unit = "timedelta64[ns]" if series.dtype.kind == "m" else "datetime64[ns]"
    stamps = series.to_numpy(unit)
    return np.where(np.isnat(stamps), np.nan, stamps.astype(np.int64) / 1e9)


def _category(series: pd.Series) -> ColumnValues:
    import pandas as pd

    codes, uniques = pd.factorize(series)
    texts = [nfc(str(value)) for value in uniques]
    levels = sorted(set(texts))
    position = {text: i for i, text in enumerate(levels)}
    mapping = np.array([*(position[text] for text in texts), -1], np.int64)
    return ColumnValues("category", None, mapping[codes], tuple(levels))


def row_hashes(columns: Mapping[str, ColumnValues]) -> list[str]:
    """32 hex digits of every row; the order of the columns does not matter."""
    numeric = sorted(name for name, c in columns.items() if c.numbers is not None)
    texts = sorted(name for name, c in columns.items() if c.numbers is None)
    start = _start(["table", numeric, texts])
    cells: list[list[bytes]] = []
    if numeric:
        block = np.stack([_canonical_nan(columns[name].numbers) for name in numeric], axis=1)
        cells.append([row.tobytes() for row in block.astype("<f8")])
    for name in texts:
        known = [_framed(level) for level in columns[name].levels]
        known.append(b"\0")  # code -1: missing
        cells.append([known[code] for code in columns[name].codes.tolist()])
    return [_hexdigest(start, *row) for row in zip(*cells, strict=True)]


def array_hashes(array: NDArray) -> list[str]:
    """32 hex digits of every item on axis 0, as float64 numbers with their shape."""
    start = _start(["array", list(array.shape[1:])])
    per_row = max(8 * int(np.prod(array.shape[1:])), 1)
    step = max(_HASHED_BYTES // per_row, 1)
    hashes: list[str] = []
    for low in range(0, len(array), step):
        block = _canonical_nan(array[low : low + step].astype(np.float64)).astype("<f8")
        hashes += [_hexdigest(start, row.tobytes()) for row in block]
    return hashes


def unique_hashes(values: Sequence[object]) -> list[str]:
    """32 hex digits for values that name a row by its place: equal rows stay apart."""
    start = _start(["place"])
    return [_hexdigest(start, _framed(json.dumps(value))) for value in values]


def _start(header: object) -> Any:
    digest = blake2b(digest_size=16, person=b"auditor-features")
    digest.update(_framed(json.dumps(header)))
    return digest


def _hexdigest(start: Any, *parts: bytes) -> str:
    digest = start.copy()
    for part in parts:
        digest.update(part)
    return digest.hexdigest()


def _framed(text: str) -> bytes:
    """The text after its length: no two sequences of texts have the same bytes."""
    encoded = text.encode()
    return b"\1" + len(encoded).to_bytes(4, "big") + encoded


def _canonical_nan(values: NDArray[np.float64] | None) -> NDArray[np.float64]:
    assert values is not None
    return np.where(np.isnan(values), np.nan, values + 0.0)


def texts(values: pd.Series | NDArray) -> list[str | None]:
    """Every cell as text, None where missing or blank; 3 and 3.0 are "3"."""
    import pandas as pd

    codes, uniques = pd.factorize(pd.Series(values).astype(object))
    known: list[str | None] = [text_of(value) for value in uniques]
    known.append(None)
    return [known[code] for code in codes.tolist()]


def text_of(value: object) -> str | None:
    """One value as text: whole numbers without a fraction, NFC; None for a blank text."""
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return normal_text(str(value))


def label_texts(values: pd.Series | NDArray, where: str) -> list[str]:
    """Every label as text.

    where: the file and column, for the error. Raises DataError for missing labels and for numbers
    with a fraction.
    """
    found = texts(values)
    n_missing = sum(text is None for text in found)
    if n_missing:
        raise DataError(
            f"{where} has no label in {n_missing} of {len(found)} rows; "
            "label them or leave them out"
        )
    import pandas as pd

    kind = pd.api.types.infer_dtype(pd.Series(values), skipna=True)
    if kind in ("floating", "mixed-integer-float", "decimal"):
        numbers = np.asarray(values, np.float64)
        if not np.array_equal(numbers, np.floor(numbers)):
            raise DataError(
                f"{where} holds numbers with a fraction, which are no classes; name the column of "
                "the classes with label_column"
            )
    return [text for text in found if text is not None]


def shown_names(names: Sequence[str]) -> str:
    """Column names as they may be printed, the first eight of them."""
    listed = ", ".join(printable(name) for name in names[:8])
    return listed if len(names) <= 8 else f"{listed} and {len(names) - 8} more"
