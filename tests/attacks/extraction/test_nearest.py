"""The search for nearest partners equals all pairs."""

from __future__ import annotations

import numpy as np
import pytest

from attacks.errors import ShapeError
from attacks.extraction import nearest as module
from attacks.extraction.distances import tiled_rms
from attacks.extraction.nearest import nearest


@pytest.fixture
def pictures():
    return np.random.default_rng(0).integers(0, 256, (40, 8, 12, 3), dtype=np.uint8)


def test_search_equals_all_pairs(pictures, monkeypatch):
    monkeypatch.setattr(module, "CHUNK", 7)
    images, records = pictures[:11], pictures[11:]
    found = nearest(images, records)
    every = tiled_rms(images[:, None], records[None]).values
    np.testing.assert_allclose(found.of_image, every.min(1), rtol=1e-6)
    np.testing.assert_allclose(found.of_record, every.min(0), rtol=1e-6)
    assert (found.record == every.argmin(1)).all()
    assert (found.image == every.argmin(0)).all()


def test_a_noisy_copy_is_found(pictures):
    rng = np.random.default_rng(1)
    copy = np.clip(pictures[17].astype(float) + rng.normal(0, 5, pictures[17].shape), 0, 255)
    found = nearest(copy.astype(np.uint8)[None], pictures)
    assert found.record[0] == 17
    assert 0 < found.of_image[0] < 0.05
    assert nearest(pictures[17][None], pictures).of_image[0] < 1e-6


def test_other_shapes_are_refused(pictures):
    with pytest.raises(ShapeError, match="compare"):
        nearest(pictures, pictures[:, :4])
    with pytest.raises(ShapeError, match="compare"):
        nearest(pictures[:0], pictures)
