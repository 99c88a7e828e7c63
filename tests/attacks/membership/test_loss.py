"""Loss threshold: twin, curve, and its card's checks on arrays."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from attacks.errors import UsageError
from attacks.membership import loss
from attacks.observations import NoiseError, calls_per_record
from tests.attacks.membership.synthetic import (
    LARGE_TEXT,
    PIXEL,
    SEEDS,
    SIZES,
    UNCAPTIONED,
    observe,
)


@given(seed=SEEDS, n=SIZES, repetitions=st.integers(1, 3), ties=st.booleans())
def test_equals_an_obvious_loop(seed, n, repetitions, ties):
    config = loss.LossConfig(timesteps=(100, 250), repetitions=repetitions)
    rng = np.random.default_rng(seed)
    observations = observe(loss.requests(config), n, rng, ties=ties)
    expected = []
    for i in range(n):
        total = 0.0
        for t in (100, 250):
            for r in range(repetitions):
                total += observations[NoiseError(t=t, repetition=r)][i]
        expected.append(-total / (2 * repetitions))
    np.testing.assert_allclose(loss.score(observations, config), expected, rtol=1e-12)


def test_curve_has_a_column_for_each_timestep():
    config = loss.default_config(PIXEL)
    observations = observe(loss.requests(config), 3, np.random.default_rng(0))
    curve = loss.curve(observations, config)
    assert curve.shape == (3, 10)
    assert np.array_equal(curve[:, 4], observations[NoiseError(t=400)])
    no_curve = loss.LossConfig(timesteps=(100,), curve_timesteps=(0,))
    assert loss.curve({NoiseError(t=0): np.ones(2)}, no_curve).shape == (2, 1)


def test_scored_timesteps_are_part_of_the_curve():
    assert loss.default_config(PIXEL).timesteps == (100, 200)
    assert loss.default_config(LARGE_TEXT).timesteps == (400, 500)
    for capabilities in (PIXEL, LARGE_TEXT):
        assert calls_per_record(loss.requests(loss.default_config(capabilities))) == 10


def test_a_perfect_predictor_gives_zero():
    config = loss.default_config(PIXEL)
    observations = {request: np.zeros(2) for request in loss.requests(config)}
    assert np.array_equal(loss.score(observations, config), [0, 0])


def test_averaging_noises_divides_the_variance():
    rng = np.random.default_rng(0)

    def variance(repetitions):
        config = loss.LossConfig(timesteps=(100,), repetitions=repetitions)
        return loss.score(observe(loss.requests(config), 20_000, rng), config).var()

    assert variance(1) / variance(8) == pytest.approx(8, rel=0.1)


def test_a_text_model_without_captions_is_asked_with_the_empty_text():
    assert loss.default_config(UNCAPTIONED).condition == "null"
    assert loss.default_config(PIXEL).condition == "caption"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"timesteps": ()}, "timesteps needs at least one"),
        ({"timesteps": (-1,)}, "counts from 0, got -1"),
        ({"curve_timesteps": (0, -5)}, "curve_timesteps counts from 0"),
        ({"repetitions": 0}, "repetitions must be above 0"),
        ({"condition": "captoin"}, "did you mean 'caption'"),
    ],
)
def test_refuses_a_wrong_configuration(options, message):
    with pytest.raises(UsageError, match=message):
        loss.LossConfig(**options)


def test_the_curve_can_be_left_out():
    config = loss.LossConfig(curve_timesteps=())
    assert calls_per_record(loss.requests(config)) == 2
