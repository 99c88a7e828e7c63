"""Distances: slow twins, the card's identities, and conventions that travel with the numbers."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from attacks.errors import DataError, ShapeError
from attacks.extraction.distances import (
    calibrated,
    masked_mse,
    rms,
    sum_of_squares_256,
    template_mask,
    tile_rms,
    tiled_rms,
    tiled_rms_matrix,
    unit_pixels,
    webster_label,
)

SEEDS = st.integers(0, 2**32 - 1)
SIDES = st.integers(4, 13)


def pictures(seed, n, h, w, c=3):
    return np.random.default_rng(seed).random((n, h, w, c))


def slow_tiled(a, b, tiles):
    """One pixel at a time."""
    h, w, c = a.shape
    sums, counts = {}, {}
    for y in range(h):
        for x in range(w):
            # the last tile that begins at or before the pixel
            row = max(i for i in range(tiles) if i * h // tiles <= y)
            column = max(i for i in range(tiles) if i * w // tiles <= x)
            for z in range(c):
                key = row, column
                sums[key] = sums.get(key, 0.0) + (a[y, x, z] - b[y, x, z]) ** 2
                counts[key] = counts.get(key, 0) + 1
    return max((sums[key] / counts[key]) ** 0.5 for key in sums)


@settings(max_examples=25, deadline=None)
@given(seed=SEEDS, h=SIDES, w=SIDES, tiles=st.integers(1, 4))
def test_tiled_distance_equals_a_loop_over_pixels(seed, h, w, tiles):
    a, b = pictures(seed, 2, h, w)
    found = tiled_rms(a, b, tiles=tiles)
    assert found.values == pytest.approx(slow_tiled(a, b, tiles), rel=1e-12)
    assert found.convention == f"max_tile_rms_{tiles}x{tiles}"


@settings(max_examples=25, deadline=None)
@given(seed=SEEDS, h=SIDES, w=SIDES)
def test_tile_maximum_is_at_least_the_rms_and_zero_for_equal_pictures(seed, h, w):
    a, b = pictures(seed, 2, h, w)
    assert tiled_rms(a, b).values >= rms(a, b).values - 1e-12
    assert tiled_rms(a, a).values == rms(a, a).values == 0
    assert tiled_rms(a, b, tiles=1).values == pytest.approx(float(rms(a, b).values))


@given(seed=SEEDS)
def test_permuting_tiles_of_both_pictures_changes_nothing(seed):
    a, b = pictures(seed, 2, 16, 16)
    order = np.random.default_rng(seed).permutation(16)

    def shuffled(image):
        tiles = image.reshape(4, 4, 4, 4, 3).swapaxes(1, 2).reshape(16, 4, 4, 3)[order]
        return tiles.reshape(4, 4, 4, 4, 3).swapaxes(1, 2).reshape(16, 16, 3)

    assert tiled_rms(shuffled(a), shuffled(b)).values == pytest.approx(
        float(tiled_rms(a, b).values)
    )
    assert np.sort(tile_rms(shuffled(a), shuffled(b)), axis=None) == pytest.approx(
        np.sort(tile_rms(a, b), axis=None)
    )


@settings(max_examples=20, deadline=None)
@given(seed=SEEDS, n=st.integers(0, 5), m=st.integers(0, 4))
def test_matrix_equals_pairs(seed, n, m):
    a, b = pictures(seed, n, 9, 6), pictures(seed + 1, m, 9, 6)
    found = tiled_rms_matrix(a, b).values
    assert found.shape == (n, m)
    for i in range(n):
        for j in range(m):
            assert found[i, j] == pytest.approx(float(tiled_rms(a[i], b[j]).values), abs=1e-7)
    among = tiled_rms_matrix(a).values
    assert (np.diag(among) == 0).all()
    assert (among == among.T).all()


def test_blank_background_fools_the_mean_but_not_the_tiles():
    """Two different small objects on white: alike on average, different in their tile."""
    a = np.ones((16, 16, 3))
    b = a.copy()
    a[1:3, 1:3] = 0
    b[13:15, 13:15] = 0
    assert rms(a, b).values < 0.2
    assert tiled_rms(a, b).values == pytest.approx(0.5)


def test_planted_noise_is_near_and_strong_noise_is_far():
    rng = np.random.default_rng(0)
    a = 0.25 + 0.5 * rng.random((32, 32, 3))
    near, far = (np.clip(a + s * rng.standard_normal(a.shape), 0, 1) for s in (0.02, 0.5))
    assert tiled_rms(a, near).values < 0.03
    assert tiled_rms(a, far).values > 0.3


def test_conventions_of_one_difference():
    """A difference of 0.1 everywhere, in each convention, by hand."""
    a, b = np.full((256, 256, 3), 0.4), np.full((256, 256, 3), 0.5)
    assert rms(a, b).values == pytest.approx(0.1)
    assert sum_of_squares_256(a, b).values == pytest.approx(256 * 256 * 3 * 0.01)
    # the card: Webster's 2.5e3 is an rms of 0.113
    assert np.sqrt(2.5e3 / (256 * 256 * 3)) == pytest.approx(0.113, abs=5e-4)
    names = {rms(a, b).convention, sum_of_squares_256(a, b).convention}
    assert names == {"rms", "sum_of_squares_256"}


def test_masks():
    rng = np.random.default_rng(1)
    a, b = rng.random((2, 256, 256, 3))
    everywhere = np.ones((256, 256), bool)
    plain = float(((a - b) ** 2).mean())
    assert masked_mse(a, b, everywhere).values == pytest.approx(plain)
    assert sum_of_squares_256(a, b, everywhere).values == pytest.approx(
        float(sum_of_squares_256(a, b).values)
    )
    half = everywhere.copy()
    half[:, 128:] = False
    changed = b.copy()
    changed[:, 128:] = rng.random((256, 128, 3))
    assert masked_mse(a, changed, half).values == masked_mse(a, b, half).values
    assert masked_mse(a, changed, everywhere).values != masked_mse(a, b, everywhere).values
    assert sum_of_squares_256(a, b, half).values == pytest.approx(
        ((a - b) ** 2)[:, :128].sum() / 0.5
    )


def test_template_mask_covers_what_is_shared():
    rng = np.random.default_rng(2)
    base = rng.random((32, 32, 3))
    one, two = base.copy(), base.copy()
    one[12:20, 12:20], two[12:20, 12:20] = rng.random((2, 8, 8, 3))
    two[3, 3] = 1 - base[3, 3]  # a speck that differs
    one[14, 14] = two[14, 14]  # a speck that agrees inside the variable part
    mask = template_mask(one, two)
    assert not mask[12:20, 12:20].any()
    assert mask[24:, 24:].all()
    assert not mask[3, 3]
    assert masked_mse(one, two, mask).values == 0


def test_webster_labels_in_the_order_of_his_code():
    assert webster_label(2e3, 1e3, None) == "TV"
    assert webster_label(None, 2.4e3, 1e3) == "MV"
    assert webster_label(3e3, 2.6e3, 2.9e3) == "RV"
    assert webster_label(2.5e3, 2.5e3, 3.0e3) == "N"
    assert webster_label(None, None, None) == "N"


@settings(max_examples=30, deadline=None)
@given(seed=SEEDS, n=st.integers(1, 4), m=st.integers(1, 9), neighbours=st.integers(1, 12))
def test_calibrated_equals_a_loop_and_ignores_scale(seed, n, m, neighbours):
    distances = np.random.default_rng(seed).random((n, m)) + 0.01
    found = calibrated(distances, alpha=0.5, neighbours=neighbours)
    for i in range(n):
        nearest = sorted(distances[i])[:neighbours]
        assert found.values[i] == pytest.approx(
            nearest[0] / (0.5 * sum(nearest) / len(nearest)), rel=1e-12
        )
    assert calibrated(7 * distances, neighbours=neighbours).values == pytest.approx(found.values)
    assert found.convention == f"calibrated_rms(alpha=0.5,neighbours={min(neighbours, m)})"


def test_calibrated_tells_a_copy_from_a_dense_region():
    copy = np.array([[0.05] + [0.5] * 49])
    dense = np.array([[0.05] + [0.06] * 49])
    assert calibrated(copy).values < 0.3 < 1.5 < calibrated(dense).values
    assert calibrated(np.zeros((1, 3))).values == 0


def test_bytes_floats_and_torch_agree():
    raw = np.random.default_rng(3).integers(0, 256, (2, 8, 8, 3), dtype=np.uint8)
    as_float = raw / 255
    expected = float(tiled_rms(as_float[0], as_float[1]).values)
    assert tiled_rms(raw[0], raw[1]).values == pytest.approx(expected, abs=1e-6)
    tensor = torch.from_numpy(as_float)
    assert tiled_rms(tensor[0], tensor[1]).values == pytest.approx(expected)
    assert unit_pixels(raw).max() <= 1


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (lambda: rms(np.full((4, 4, 3), 3.0), np.zeros((4, 4, 3))), DataError),
        (lambda: rms(np.full((4, 4, 3), np.nan), np.zeros((4, 4, 3))), DataError),
        (lambda: rms(np.zeros((4, 4, 3)), np.zeros((5, 4, 3))), ShapeError),
        (lambda: rms(np.zeros((4, 4)), np.zeros((4, 4))), ShapeError),
        (lambda: tiled_rms(np.zeros((3, 8, 3)), np.zeros((3, 8, 3))), ShapeError),
        (lambda: sum_of_squares_256(np.zeros((8, 8, 3)), np.zeros((8, 8, 3))), ShapeError),
        (lambda: masked_mse(np.zeros((4, 4, 3)), np.zeros((4, 4, 3)), np.zeros((4, 4))), DataError),
        (lambda: masked_mse(np.zeros((4, 4, 3)), np.zeros((4, 4, 3)), np.ones((4, 5))), ShapeError),
        (lambda: calibrated(np.zeros((2, 0))), ShapeError),
    ],
)
def test_what_cannot_be_measured_is_refused(call, error):
    with pytest.raises(error):
        call()
