"""Figures of pictures: twins in plain loops, and what must hold of any picture."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image, ImageFilter

from attacks.observations import QUALITIES
from auditor.observe.pictures import GREY, distances, qualities


def noisy(seed, side=16):
    return np.random.default_rng(seed).integers(0, 256, (side, side, 3), dtype=np.uint8)


def named(picture):
    return dict(zip(QUALITIES, qualities(picture), strict=True))


def test_simple_figures_equal_obvious_loops():
    picture = noisy(0, 5)
    grey = [
        [sum(w * v / 255 for w, v in zip(GREY, p, strict=True)) for p in row] for row in picture
    ]
    flat = [value for row in grey for value in row]
    mean = sum(flat) / 25
    found = named(picture)
    assert found["mean"] == pytest.approx(mean)
    assert found["contrast"] == pytest.approx((sum((v - mean) ** 2 for v in flat) / 25) ** 0.5)
    spreads = [(int(max(p)) - int(min(p))) / 255 for row in picture for p in row]
    assert found["colourfulness"] == pytest.approx(sum(spreads) / 25)
    steps = [abs(grey[i][j] - grey[i + 1][j]) for i in range(4) for j in range(5)]
    steps += [abs(grey[i][j] - grey[i][j + 1]) for i in range(5) for j in range(4)]
    assert found["total variation"] == pytest.approx(sum(steps) / 40)


def test_blurring_lowers_what_measures_detail():
    sharp = noisy(1, 32)
    blurred = np.asarray(Image.fromarray(sharp).filter(ImageFilter.GaussianBlur(2)))
    before, after = named(sharp), named(blurred)
    for name in ("contrast", "total variation", "sharpness", "compressed size"):
        assert after[name] < before[name], name
    assert after["neighbours"] > before["neighbours"]


@pytest.mark.parametrize("shape", [(1, 1, 3), (8, 1, 3), (16, 16, 3)])
def test_a_picture_of_one_colour_has_finite_figures(shape):
    assert np.isfinite(qualities(np.full(shape, 77, dtype=np.uint8))).all()


def test_a_picture_is_at_no_distance_from_itself_and_distances_are_symmetric():
    first, second = np.stack([noisy(2), noisy(3)]), np.stack([noisy(2), noisy(4)])
    found = distances(first, second)
    np.testing.assert_allclose(found[0], 0, atol=1e-12)
    assert (found[1] > 0).all()
    np.testing.assert_allclose(distances(second, first), found)
    mean = np.mean(
        [((int(a) - int(b)) / 255) ** 2 for a, b in zip(noisy(3).flat, noisy(4).flat, strict=True)]
    )
    assert found[1, 0] == pytest.approx(mean)
