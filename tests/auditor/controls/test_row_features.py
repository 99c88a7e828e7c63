"""What the blind control sees of rows: wide arrays are averaged, and a shift still shows."""

from __future__ import annotations

import numpy as np

from auditor.controls.row_features import MOST_COLUMNS, coarse


def test_few_columns_stay_as_they_are() -> None:
    columns = np.arange(12.0).reshape(2, 6)
    assert coarse(columns) is columns


def test_many_columns_become_means_of_neighbours() -> None:
    rng = np.random.default_rng(0)
    columns = rng.normal(size=(3, 10))
    found = coarse(columns, most=4)
    groups = [(0, 2), (2, 5), (5, 7), (7, 10)]
    expected = np.stack([columns[:, a:b].mean(axis=1) for a, b in groups], axis=1)
    np.testing.assert_allclose(found, expected)


def test_the_components_of_pictures_stay_small() -> None:
    pictures = np.zeros((5, 3 * 64 * 64))
    assert coarse(pictures).shape == (5, MOST_COLUMNS)
