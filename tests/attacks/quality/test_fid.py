"""FID: closed form, the textbook formula, the library, and what it says about its bias."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import linalg

from attacks.errors import ShapeError
from attacks.quality import fid


def rng(seed=0):
    return np.random.default_rng(seed)


def textbook(x, y):
    """The formula as it is written, with a matrix square root."""
    s, t = np.cov(x.T), np.cov(y.T)
    root = linalg.sqrtm(s @ t)
    return float(
        ((x.mean(0) - y.mean(0)) ** 2).sum() + np.trace(s) + np.trace(t) - 2 * np.trace(root.real)
    )


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), d=st.integers(2, 6), n=st.integers(12, 40))
def test_equals_the_textbook_formula(seed, d, n):
    draw = rng(seed)
    x, y = draw.normal(size=(n, d)), draw.normal(0.5, 2, size=(n + 5, d)) @ draw.normal(size=(d, d))
    assert fid(x, y, rng=rng()).value == pytest.approx(textbook(x, y), rel=1e-6, abs=1e-8)


def test_agrees_with_torchmetrics():
    from torchmetrics.image.fid import _compute_fid

    draw = rng(3)
    x, y = draw.normal(size=(50, 6)), draw.normal(0.2, 1.5, size=(70, 6))
    moments = [torch.from_numpy(m) for m in (x.mean(0), np.cov(x.T), y.mean(0), np.cov(y.T))]
    assert fid(x, y, rng=rng()).value == pytest.approx(float(_compute_fid(*moments)), rel=1e-9)


def test_shift_and_scale_have_a_closed_form():
    """For y = a x + b the distance is |mean_y - mean_x|^2 + (a - 1)^2 Tr S."""
    x = rng(4).normal(size=(200, 5))
    trace = np.trace(np.cov(x.T))
    assert fid(x, x, rng=rng()).value == pytest.approx(0, abs=1e-9)
    assert fid(x, x + 2, rng=rng()).value == pytest.approx(20, rel=1e-9)
    centred = x - x.mean(0)
    assert fid(centred, 3 * centred, rng=rng()).value == pytest.approx(4 * trace, rel=1e-9)


def test_fewer_images_than_dimensions_are_computed_and_said():
    draw = rng(5)
    x, y = draw.normal(size=(10, 30)), draw.normal(size=(12, 30))
    found = fid(x, y, rng=rng())
    assert found.is_singular
    assert found.value == pytest.approx(textbook(x, y), rel=1e-4)
    assert not fid(draw.normal(size=(64, 3)), draw.normal(size=(64, 3)), rng=rng()).is_singular


def test_the_bias_is_the_whole_value_where_distributions_are_equal():
    draw, values, left = rng(6), [], []
    for _ in range(40):
        found = fid(draw.normal(size=(100, 8)), draw.normal(size=(100, 8)), rng=draw)
        values.append(found.value)
        left.append(found.value - found.bias)
    assert np.mean(values) > 0.3
    assert abs(np.mean(left)) < 0.25 * np.mean(values)


def test_the_bias_is_reproducible_and_missing_for_a_handful_of_images():
    draw = rng(7)
    x, y = draw.normal(size=(20, 2)), draw.normal(size=(20, 2))
    assert fid(x, y, rng=rng(1)) == fid(x, y, rng=rng(1))
    assert fid(x[:7], y, rng=rng(1)).bias is None
    with pytest.raises(ShapeError):
        fid(x[:1], y, rng=rng())
