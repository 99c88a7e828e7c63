"""AMD and MiFID: their definitions, invariances, and the library."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from attacks.errors import ShapeError
from attacks.quality import average_minimum_distance, fid, mifid


class Flat(torch.nn.Module):
    """A feature extractor that gives the first six pixels."""

    num_features = 6

    def forward(self, images):
        return images.flatten(1)[:, :6].double()


def library(training, generated):
    """torchmetrics' MiFID of features; it averages over its real images, which are ours to draw."""
    from torchmetrics.image.mifid import MemorizationInformedFrechetInceptionDistance

    metric = MemorizationInformedFrechetInceptionDistance(feature=Flat(), normalize=True)
    metric.update(as_images(generated), real=True)
    metric.update(as_images(training), real=False)
    return float(metric.compute())


def as_images(features):
    """(n, 3, 2, 2) images whose first six values are the features."""
    padded = np.concatenate([features, np.zeros((len(features), 6))], axis=1)
    return torch.from_numpy(padded.reshape(-1, 3, 2, 2)).float()


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), n=st.integers(1, 8), m=st.integers(1, 8))
def test_equals_its_definition(seed, n, m):
    rng = np.random.default_rng(seed)
    training, generated = rng.normal(size=(n, 3)), rng.normal(size=(m, 3))
    nearest = [
        min(1 - abs(g @ x) / np.linalg.norm(g) / np.linalg.norm(x) for x in training)
        for g in generated
    ]
    assert average_minimum_distance(training, generated) == pytest.approx(np.mean(nearest))


def test_copies_are_at_0_and_no_scale_matters():
    rng = np.random.default_rng(1)
    training, generated = rng.normal(size=(20, 6)), rng.normal(size=(2000, 6))
    assert average_minimum_distance(training, training) == pytest.approx(0, abs=1e-12)
    assert average_minimum_distance(training, -3 * training[:5]) == pytest.approx(0, abs=1e-12)
    found = average_minimum_distance(training, generated)
    assert 0 < found <= 1
    scaled = average_minimum_distance(training * 1e-200, generated * 1e5)
    assert scaled == pytest.approx(found)
    assert average_minimum_distance([[1, 0]], [[0, 1]]) == 1


def test_rows_of_zeros_are_left_out():
    assert average_minimum_distance([[1, 0], [0, 0]], [[0, 0], [0, 2]]) == 1
    with pytest.raises(ShapeError):
        average_minimum_distance([[0, 0]], [[1, 0]])


@pytest.mark.parametrize("spread", [0.1, 3.0])
def test_mifid_equals_torchmetrics_below_and_above_the_limit(spread):
    rng = np.random.default_rng(2)
    training = rng.normal(size=(60, 6))
    generated = training + spread * rng.normal(size=(60, 6))
    training, generated = (one.astype(np.float32) for one in (training, generated))
    distance = fid(training, generated, rng=rng).value
    amd = average_minimum_distance(training, generated)
    assert (amd < 0.1) == (spread < 1)
    assert mifid(distance, amd) == pytest.approx(library(training, generated), rel=1e-5)


def test_mifid_at_its_ends():
    assert mifid(2.0, 0.05) == 40
    assert mifid(2.0, 0.1) == 2
    assert mifid(2.0, 0.0) == float("inf")
    assert mifid(0.0, 0.0) == 0
