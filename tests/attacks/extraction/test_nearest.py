"""The tiled distance and the search by it."""

from __future__ import annotations

import numpy as np
import pytest

from attacks.errors import ShapeError
from attacks.extraction import nearest as module
from attacks.extraction.nearest import nearest, tiled_distance


@pytest.fixture
def pictures():
    return np.random.default_rng(0).integers(0, 256, (40, 8, 12, 3), dtype=np.uint8)


def _slow(first, second):
    found = 0.0
    for i in range(4):
        for j in range(4):
            a = first[i * 2 : i * 2 + 2, j * 3 : j * 3 + 3] / 255
            b = second[i * 2 : i * 2 + 2, j * 3 : j * 3 + 3] / 255
            found = max(found, float(np.sqrt(np.mean((a - b) ** 2))))
    return found


def test_distance_is_that_of_a_slow_twin(pictures):
    found = tiled_distance(pictures[:5] / 255, pictures[5:10] / 255)
    slow = [_slow(a, b) for a, b in zip(pictures[:5], pictures[5:10], strict=True)]
    np.testing.assert_allclose(found, slow, rtol=1e-12)


def test_zero_to_itself_and_at_least_the_global_rms(pictures):
    scaled = pictures / 255
    assert (tiled_distance(scaled, scaled) == 0).all()
    rms = np.sqrt(np.square(scaled[1:] - scaled[:-1]).mean(axis=(1, 2, 3)))
    assert (tiled_distance(scaled[1:], scaled[:-1]) >= rms).all()


def test_moving_tiles_together_changes_nothing(pictures):
    first, second = pictures[0] / 255, pictures[1] / 255
    turned = tiled_distance(first[::-1, ::-1], second[::-1, ::-1])
    np.testing.assert_allclose(turned, tiled_distance(first, second))


def test_a_shared_background_does_not_make_images_near():
    one, other = np.zeros((8, 8, 1)), np.zeros((8, 8, 1))
    one[:2, :2] = 1
    assert tiled_distance(one, other) == 1
    assert np.sqrt(np.square(one - other).mean()) == 0.25


def test_search_equals_all_pairs(pictures, monkeypatch):
    monkeypatch.setattr(module, "CHUNK", 7)
    images, records = pictures[:11], pictures[11:]
    found = nearest(images, records)
    every = np.array([[_slow(a, b) for b in records] for a in images])
    np.testing.assert_allclose(found.of_image, every.min(1), rtol=1e-9)
    np.testing.assert_allclose(found.of_record, every.min(0), rtol=1e-9)
    assert (found.record == every.argmin(1)).all()
    assert (found.image == every.argmin(0)).all()


def test_a_noisy_copy_is_found_and_its_distance_is_exact(pictures):
    rng = np.random.default_rng(1)
    copy = np.clip(pictures[17].astype(float) + rng.normal(0, 5, pictures[17].shape), 0, 255)
    copy = copy.astype(np.uint8)[None]
    found = nearest(copy, pictures)
    assert found.record[0] == 17
    np.testing.assert_allclose(found.of_image[0], _slow(copy[0], pictures[17]), rtol=1e-12)
    assert nearest(pictures[17][None], pictures).of_image[0] == 0


def test_sides_and_shapes_are_checked(pictures):
    with pytest.raises(ShapeError, match="multiples"):
        tiled_distance(np.zeros((6, 8, 1)), np.zeros((6, 8, 1)))
    with pytest.raises(ShapeError, match="records"):
        nearest(pictures, pictures[:, :4])
