"""ReDiffuse: twin, both distances, call count."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from attacks.errors import UsageError
from attacks.manifest import Access
from attacks.membership import rediffuse
from attacks.observations import calls_per_record
from tests.attacks.membership.synthetic import LARGE_TEXT, PIXEL, SEEDS, SIZES, observe


@given(seed=SEEDS, n=SIZES, distance=st.sampled_from(["ssim", "mse"]), ties=st.booleans())
def test_equals_an_obvious_loop(seed, n, distance, ties):
    config = rediffuse.RediffuseConfig(distance=distance)
    (request,) = rediffuse.requests(config)
    observations = observe([request], n, np.random.default_rng(seed), ties=ties)
    expected = []
    for similarity, squared_error in observations[request]:
        expected.append(similarity if distance == "ssim" else -squared_error)
    assert rediffuse.score(observations, config).tolist() == expected


@pytest.mark.parametrize("distance", ["ssim", "mse"])
def test_a_record_that_comes_back_unchanged_has_the_highest_score(distance):
    config = rediffuse.RediffuseConfig(distance=distance)
    (request,) = rediffuse.requests(config)
    answers = np.array([[0.4, 0.2], [1.0, 0.0], [0.9, 0.01]])
    assert np.argmax(rediffuse.score({request: answers}, config)) == 1


def test_defaults_for_small_and_large_models():
    small, large = rediffuse.default_config(PIXEL), rediffuse.default_config(LARGE_TEXT)
    assert (small.t, small.k, small.n, small.distance) == (200, 100, 10, "mse")
    assert (large.t, large.k, large.n, large.distance) == (10, 10, 10, "ssim")
    assert calls_per_record(rediffuse.requests(small)) == 20
    assert calls_per_record(rediffuse.requests(large)) == 10


@given(t=st.integers(1, 300), k=st.integers(1, 300), n=st.integers(1, 12))
def test_calls_count_the_last_short_step(t, k, n):
    steps, reached = 0, t
    while reached > 0:
        reached -= k
        steps += 1
    requests = rediffuse.requests(rediffuse.RediffuseConfig(t=t, k=k, n=n))
    assert calls_per_record(requests) == n * steps


@pytest.mark.parametrize("n_timesteps", [10, 50, 4000])
def test_keeps_two_steps_on_other_schedules(n_timesteps):
    config = rediffuse.default_config(dataclasses.replace(PIXEL, n_timesteps=n_timesteps))
    assert (config.t, config.k) == (n_timesteps // 5, n_timesteps // 10)


def test_needs_answers_only():
    assert rediffuse.MANIFEST.access is Access.BLACK_BOX


@pytest.mark.parametrize("options", [{"n": 0}, {"t": 0}, {"distance": "l2"}])
def test_refuses_a_wrong_configuration(options):
    with pytest.raises(UsageError):
        rediffuse.RediffuseConfig(**options)
