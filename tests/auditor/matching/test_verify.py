"""Verification: equal to the public distance, and copies under every registration."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from attacks.extraction.distances import tiled_rms
from auditor.demo.digits import demo_splits
from auditor.images.controls import WAYS, planted
from auditor.matching import Prepared, best_match
from auditor.matching.verify import HOPELESS

RNG = np.random.default_rng(0)


@pytest.fixture(scope="module")
def digits_as_pictures():
    splits = demo_splits()
    return [Image.fromarray(image) for image in splits.members.images[:30]]


@pytest.fixture(scope="module")
def candidates(digits_as_pictures):
    return [Prepared.of(picture) for picture in digits_as_pictures]


def test_equal_pictures_have_no_distance(digits_as_pictures, candidates):
    for i in range(5):
        found = best_match(Prepared.of(digits_as_pictures[i]), candidates)
        assert (found.candidate, found.distance, found.registration) == (i, 0, "as it is")


def test_without_a_better_placement_it_is_the_public_distance(monkeypatch):
    """Noise has no better crop than itself, so that only the two plain placements are left."""
    monkeypatch.setattr("auditor.matching.verify.HOPELESS", 0.0)
    a, b = RNG.integers(0, 256, (2, 64, 64, 3), dtype=np.uint8)
    one, two = Prepared.of(Image.fromarray(a)), Prepared.of(Image.fromarray(b))
    expected = min(
        float(tiled_rms(a, b).values), float(tiled_rms(np.ascontiguousarray(a[:, ::-1]), b).values)
    )
    assert best_match(one, [two]).distance == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("way", WAYS)
def test_planted_copies_are_near_their_own_record(way, digits_as_pictures, candidates):
    rng = np.random.default_rng(1)
    found = [
        best_match(Prepared.of(planted(p, way, rng)), candidates) for p in digits_as_pictures[:10]
    ]
    assert [one.candidate for one in found] == list(range(10))
    assert max(one.distance for one in found) < 0.04
    if way == "crop":
        assert all(one.registration == "cropped" for one in found)


def test_mirrored_copies(digits_as_pictures, candidates):
    mirrored = digits_as_pictures[3].transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    found = best_match(Prepared.of(mirrored), candidates)
    assert (found.candidate, found.registration) == (3, "mirrored")
    crop = planted(mirrored, "crop", np.random.default_rng(5))
    found = best_match(Prepared.of(crop), candidates)
    assert (found.candidate, found.registration) == (3, "mirrored and cropped")
    assert found.distance < 0.04


def test_other_pictures_and_strong_noise_are_far(digits_as_pictures, candidates):
    other = Image.fromarray(demo_splits().nonmembers.images[0])
    assert best_match(Prepared.of(other), candidates).distance > 0.06
    pixels = np.asarray(digits_as_pictures[0]) / 255
    noisy = np.clip(pixels + 0.5 * np.random.default_rng(2).standard_normal(pixels.shape), 0, 1)
    spoiled = Image.fromarray((255 * noisy).astype(np.uint8))
    assert best_match(Prepared.of(spoiled), candidates).distance > 0.15
    assert HOPELESS < 0.5
