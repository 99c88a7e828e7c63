"""Features of pixels: fitted, fixed, and able to tell pictures apart."""

from __future__ import annotations

import numpy as np
import pytest

from attacks.errors import ShapeError
from attacks.quality import fit_pixel_features, kid


def pictures(n, seed, centre=0.5, side=32):
    """Smooth noise around a gray."""
    rng = np.random.default_rng(seed)
    coarse = rng.normal(centre, 0.15, size=(n, 3, 4, 4))
    return np.clip(coarse.repeat(side // 4, axis=2).repeat(side // 4, axis=3), 0, 1)


def test_fitted_features_have_unit_variance_on_average_and_no_correlation():
    images = pictures(100, 0)
    features = fit_pixel_features(images)(images)
    covariance = features.T @ features / 100
    assert features.shape == (100, 16)
    assert np.trace(covariance) / 16 == pytest.approx(1)
    assert np.allclose(covariance, np.diag(np.diag(covariance)), atol=1e-9)
    assert fit_pixel_features(images[:10])(images).shape == (100, 5)


def test_pictures_are_averaged_over_boxes():
    features = fit_pixel_features(pictures(40, 0), side=4)
    images = pictures(9, 3)
    small = images.reshape(9, 3, 4, 8, 4, 8).mean((3, 5)).reshape(9, -1)
    assert np.allclose(features(images), (small - features.mean) @ features.components.T)
    odd = fit_pixel_features(np.random.default_rng(0).random((20, 1, 20, 17)))
    assert len(odd.mean) == 16 * 16


def test_brighter_pictures_are_found():
    features = fit_pixel_features(pictures(64, 0))
    real = features(pictures(64, 1))
    like, unlike = features(pictures(64, 2)), features(pictures(64, 3, centre=0.6))
    assert kid(real, unlike).estimate.low > max(kid(real, like).estimate.high, 0)


def test_what_cannot_be_fitted_or_compared_is_refused():
    with pytest.raises(ShapeError, match="4 images"):
        fit_pixel_features(pictures(3, 0))
    with pytest.raises(ShapeError, match="equal"):
        fit_pixel_features(np.full((8, 1, 8, 8), 0.3))
    with pytest.raises(ShapeError, match="one size"):
        fit_pixel_features(pictures(8, 0))(pictures(8, 0, side=8))
