"""SecMI statistic: twin, convention of steps, call count."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from attacks.errors import UsageError
from attacks.membership import secmi
from attacks.observations import StepError, calls_per_record
from tests.attacks.membership.synthetic import PIXEL, SEEDS, SIZES, observe


@given(seed=SEEDS, n=SIZES, ties=st.booleans())
def test_equals_an_obvious_loop(seed, n, ties):
    config = secmi.SecmiConfig()
    observations = observe(secmi.requests(config), n, np.random.default_rng(seed), ties=ties)
    errors = observations[StepError(t=100, k=10)]
    assert secmi.score(observations, config).tolist() == [-errors[i] for i in range(n)]


@given(steps=st.integers(1, 20), k=st.integers(1, 50))
def test_calls_are_the_steps_and_two_more(steps, k):
    requests = secmi.requests(secmi.SecmiConfig(t=steps * k, k=k))
    assert calls_per_record(requests) == steps + 2


@pytest.mark.parametrize(
    ("n_timesteps", "t", "k"),
    [(1000, 100, 10), (4000, 400, 40), (100, 10, 1), (50, 10, 1), (10, 8, 1)],
)
def test_steps_on_other_schedules_stay_on_them(n_timesteps, t, k):
    capabilities = dataclasses.replace(PIXEL, n_timesteps=n_timesteps)
    config = secmi.default_config(capabilities)
    assert (config.t, config.k) == (t, k)
    assert config.t + config.k < n_timesteps


@pytest.mark.parametrize(("t", "k"), [(95, 10), (0, 10), (100, 0), (5, 10)])
def test_refuses_a_timestep_that_the_steps_do_not_reach(t, k):
    with pytest.raises(UsageError, match="t must be a multiple of k|must be above 0"):
        secmi.SecmiConfig(t=t, k=k)
