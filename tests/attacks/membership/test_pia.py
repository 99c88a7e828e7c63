"""PIA: twin, exponents, and its card's checks on arrays."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from attacks.errors import UsageError
from attacks.membership import pia
from attacks.observations import NORMS, CleanNorms, ProximalError, calls_per_record
from tests.attacks.membership.synthetic import LARGE_TEXT, PIXEL, SEEDS, SIZES, observe


@given(seed=SEEDS, n=SIZES, p=st.sampled_from(NORMS), ties=st.booleans())
def test_equals_an_obvious_loop(seed, n, p, ties):
    config = pia.PiaConfig(t=150, p=p)
    (request,) = pia.requests(config)
    observations = observe([request], n, np.random.default_rng(seed), ties=ties)
    column = {1: 0, 2: 1, 4: 2, 5: 3}[p]
    expected = [-observations[request][i][column] for i in range(n)]
    assert pia.score(observations, config).tolist() == expected


def test_defaults_of_the_paper():
    config = pia.default_config(PIXEL)
    assert (config.t, config.p) == (200, 4)
    assert pia.default_config(LARGE_TEXT).t == 500


def test_makes_two_calls_and_shares_the_clean_one():
    requests = pia.requests(pia.default_config(PIXEL))
    assert calls_per_record(requests) == 2
    assert requests[0].requires == (CleanNorms(t=0),)
    several = [ProximalError(t=t) for t in (50, 100, 200)]
    assert calls_per_record(several) == 1 + 3


def test_a_prediction_that_never_changes_gives_zero():
    config = pia.default_config(PIXEL)
    observations = {request: np.zeros((2, 4)) for request in pia.requests(config)}
    assert np.array_equal(pia.score(observations, config), [0, 0])


@pytest.mark.parametrize("p", [0, 3, 6])
def test_refuses_an_exponent_that_is_not_kept(p):
    with pytest.raises(UsageError, match=f"p must be one of 1, 2, 4, 5, got {p}"):
        pia.PiaConfig(p=p)
