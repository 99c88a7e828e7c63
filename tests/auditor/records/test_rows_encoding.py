"""The encoding of features as numbers: golden values, a slow twin, and what it must not see."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.datasets import load_digits

from attacks.errors import DataError
from auditor.records.rows.canonical import array_hashes, column_values, row_hashes
from auditor.records.rows.encode import MAX_LEVELS
from auditor.records.rows.table import Table


def test_golden_values():
    frame = pd.DataFrame(
        {
            "age": [10.0, 20.0, np.nan, 60.0],  # median 20; filled mean 27.5, deviation 19.2029
            "smoker": [True, False, True, True],
            "ward": ["b", "a", None, "b"],
            "same": [5, 5, 5, 5],
        }
    )
    table = Table(frame, ["x", "y", "x", "y"])
    deviation = np.std([10, 20, 20, 60])
    age = (np.array([10, 20, 20, 60]) - 27.5) / deviation
    expected = np.array(
        [
            # age, missing; smoker; b, a, missing; same
            [age[0], 0, 1, 1, 0, 0, 0],
            [age[1], 0, 0, 0, 1, 0, 0],
            [age[2], 1, 1, 0, 0, 1, 0],
            [age[3], 0, 1, 1, 0, 0, 0],
        ]
    )
    np.testing.assert_allclose(table.encoded(), expected)
    np.testing.assert_allclose(table.encoded([3, 0]), expected[[3, 0]])
    assert table.encoded_sources == (0, 0, 1, 2, 2, 2, 3)
    assert [c.kind for c in table.columns] == ["numeric", "binary", "category", "numeric"]


CELLS = st.one_of(st.none(), st.sampled_from([f"t{i:02d}" for i in range(50)]))


def slow_category(cells):
    """One list for each cell, by an obvious loop."""
    known = [c for c in cells if c is not None]
    levels = sorted(set(known), key=lambda t: (-known.count(t), t))
    own, rest = levels[:MAX_LEVELS], levels[MAX_LEVELS:]
    rows = []
    for cell in cells:
        row = [float(cell == level) for level in own]
        row += [float(cell in rest)] if rest else []
        row += [float(cell is None)] if None in cells else []
        rows.append(row)
    return rows


@settings(max_examples=40, deadline=None)
@given(st.lists(CELLS, min_size=1, max_size=120))
def test_categories_equal_an_obvious_loop(cells):
    table = Table(pd.DataFrame({"c": pd.Series(cells, dtype=object)}), ["y"] * len(cells))
    assert table.encoded().tolist() == slow_category(cells)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.one_of(st.none(), st.integers(-50, 50)), min_size=1, max_size=30))
def test_numbers_equal_an_obvious_loop(cells):
    series = pd.Series([np.nan if c is None else float(c) for c in cells])
    known = [c for c in cells if c is not None]
    middle = float(np.median(known)) if known else 0.0
    filled = [middle if c is None else float(c) for c in cells]
    if not known or set(known) - {0, 1}:
        deviation = np.std(filled) or 1.0
        filled = [(value - np.mean(filled)) / deviation for value in filled]
    flags = [[float(c is None)] if None in cells else [] for c in cells]
    expected = [[value, *flag] for value, flag in zip(filled, flags, strict=True)]
    encoded = Table(pd.DataFrame({"v": series}), ["y"] * len(cells)).encoded()
    np.testing.assert_allclose(encoded, expected, atol=1e-12)


def test_labels_and_predictions_are_not_seen():
    from auditor.records.rows.model import SavedPredictions

    frame = pd.DataFrame({"a": np.arange(9.0), "b": list("abcabcabc")})
    first = Table(frame, ["0"] * 9).encoded()
    saved = SavedPredictions(np.random.default_rng(0).random((9, 2)), None, "logits", ())
    np.testing.assert_array_equal(first, Table(frame, list("012345678")).encoded())
    np.testing.assert_array_equal(first, Table(frame, ["0"] * 9, predictions=saved).encoded())


def test_arrays_are_flattened():
    images = load_digits().images
    encoded = Table(images, ["0"] * len(images)).encoded()
    flat = images.reshape(len(images), -1)
    np.testing.assert_allclose(encoded, (flat - flat.mean()) / flat.std())
    matrix = Table(flat, ["0"] * len(images))
    assert len(matrix.columns) == 64
    assert matrix.columns[0].kind == "binary"  # the corner pixel is always 0
    np.testing.assert_allclose(
        matrix.encoded()[:, 30], (flat[:, 30] - flat[:, 30].mean()) / flat[:, 30].std()
    )
    holes = images.copy()
    holes[3, 2, 2] = np.nan
    assert np.isfinite(Table(holes, ["0"] * len(images)).encoded()).all()


def test_hashes_of_arrays_do_not_depend_on_the_chunk(monkeypatch):
    from auditor.records.rows import canonical

    images = load_digits().images[:50]
    whole = array_hashes(images)
    monkeypatch.setattr(canonical, "_HASHED_BYTES", 700)
    assert array_hashes(images) == whole
    assert array_hashes(images.astype(np.float32)) == whole
    assert array_hashes(images.reshape(50, 64)) != whole
    assert len(set(whole)) == 50


TEXTS = st.text(alphabet="ab\0\1", max_size=3)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(TEXTS, TEXTS, st.sampled_from([0.0, 1.0, np.nan])), max_size=30))
def test_equal_hashes_mean_equal_rows(rows):
    frame = pd.DataFrame(rows, columns=["a", "b", "c"]).astype({"c": float})
    frame = frame.astype({"a": object, "b": object})
    hashes = row_hashes({n: column_values(frame[n], n) for n in frame.columns})
    keys = [(a, b, None if np.isnan(c) else c) for a, b, c in rows]
    for i, one in enumerate(keys):
        for j, other in enumerate(keys):
            assert (hashes[i] == hashes[j]) == (one == other)


@pytest.mark.parametrize(
    ("cells", "message"),
    [([b"x", b"y"], "holds bytes"), (["x", 3], "numbers and texts"), ([[1], [2]], "several or")],
)
def test_what_has_no_canonical_form_is_refused(cells, message):
    with pytest.raises(DataError, match=message):
        column_values(pd.Series(cells, dtype=object), "column 'a'")
    with pytest.raises(DataError, match="complex"):
        column_values(pd.Series([1j]), "column 'a'")
