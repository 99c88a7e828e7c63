"""PFAMI: twin, clamped denominators, and its card's checks on arrays."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from attacks.errors import UsageError
from attacks.membership import loss, pfami
from attacks.observations import NoiseError, calls_per_record
from tests.attacks.membership.synthetic import PIXEL, SEEDS, SIZES, observe


@given(
    seed=SEEDS,
    n=SIZES,
    crops=st.lists(st.sampled_from([0.7, 0.8, 0.9]), min_size=1, max_size=3, unique=True),
    floor=st.sampled_from([1e-6, 0.9]),
    ties=st.booleans(),
)
def test_equals_an_obvious_loop(seed, n, crops, floor, ties):
    config = pfami.PfamiConfig(timesteps=(0, 50, 100), crops=tuple(crops), floor=floor)
    observations = observe(pfami.requests(config), n, np.random.default_rng(seed), ties=ties)
    expected = []
    for i in range(n):
        rises = []
        for t in (0, 50, 100):
            error = observations[NoiseError(t=t)][i]
            for crop in crops:
                cropped = observations[NoiseError(t=t, crop=crop)][i]
                rises.append((cropped - error) / max(error, floor))
        expected.append(sum(rises) / len(rises))
    np.testing.assert_allclose(pfami.score(observations, config), expected, rtol=1e-9, atol=1e-12)


def test_a_crop_of_everything_is_no_fluctuation():
    config = pfami.PfamiConfig(crops=(1.0,))
    requests = pfami.requests(config)
    assert calls_per_record(requests) == 10
    observations = observe(requests, 5, np.random.default_rng(0))
    assert np.array_equal(pfami.score(observations, config), np.zeros(5))


@given(seed=SEEDS, factor=st.floats(0.01, 100))
def test_is_free_of_scale(seed, factor):
    config = pfami.PfamiConfig()
    observations = observe(pfami.requests(config), 4, np.random.default_rng(seed))
    scaled = {request: factor * errors for request, errors in observations.items()}
    np.testing.assert_allclose(
        pfami.score(scaled, config), pfami.score(observations, config), rtol=1e-9
    )


def test_swapping_record_and_crop_turns_the_sign():
    config = pfami.PfamiConfig(timesteps=(100,))
    whole, cropped = pfami.requests(config)
    low, high = np.array([0.5, 0.8]), np.array([0.9, 1.0])
    assert np.all(pfami.score({whole: low, cropped: high}, config) > 0)
    assert np.all(pfami.score({whole: high, cropped: low}, config) < 0)


def test_an_error_of_zero_gives_a_finite_score():
    config = pfami.PfamiConfig(timesteps=(0,), floor=1e-3)
    whole, cropped = pfami.requests(config)
    scores = pfami.score({whole: np.zeros(1), cropped: np.ones(1)}, config)
    assert scores == pytest.approx([1000])


def test_defaults_of_the_code():
    config = pfami.default_config(PIXEL)
    assert config.timesteps == (0, 50, 100, 150, 200, 250, 300, 350, 400, 450)
    assert config.crops == pytest.approx([np.linspace(0.95, 0.70, 10)[5]])
    requests = pfami.requests(config)
    assert calls_per_record(requests) == 20
    curve = loss.requests(loss.default_config(PIXEL))
    assert calls_per_record((*requests, *curve)) == 20 + 10 - 5


@pytest.mark.parametrize("options", [{"crops": ()}, {"crops": (1.1,)}, {"floor": 0.0}])
def test_refuses_a_wrong_configuration(options):
    with pytest.raises(UsageError):
        pfami.PfamiConfig(**options)
