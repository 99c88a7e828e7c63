"""Augmented pictures: each version is another one, and equals a loop over pixels."""

from __future__ import annotations

import numpy as np
import pytest

from auditor.observe.augment import MOST_QUERIES, SHIFTS, augmented

PICTURES = np.arange(2 * 3 * 4 * 5, dtype=np.float32).reshape(2, 3, 4, 5)


@pytest.mark.parametrize("query", range(MOST_QUERIES))
def test_equals_a_loop_over_pixels(query):
    found = augmented(PICTURES, query)
    down, right = SHIFTS[query // 2]
    for y in range(4):
        for x in range(5):
            row, column = np.clip(y - down, 0, 3), np.clip(x - right, 0, 4)
            column = 4 - column if query % 2 else column
            assert found[:, :, y, x].tolist() == PICTURES[:, :, row, column].tolist()
    assert found.shape == PICTURES.shape


def test_the_versions_differ_and_the_first_is_the_picture():
    versions = {augmented(PICTURES, i).tobytes() for i in range(MOST_QUERIES)}
    assert len(versions) == MOST_QUERIES == 18
    assert augmented(PICTURES, 0).tolist() == PICTURES.tolist()
