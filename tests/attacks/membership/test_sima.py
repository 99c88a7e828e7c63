"""SimA: twin, exponents, and the call that it shares."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from attacks.errors import UsageError
from attacks.membership import pia, sima
from attacks.observations import NORMS, calls_per_record
from tests.attacks.membership.synthetic import LARGE_TEXT, PIXEL, SEEDS, SIZES, observe


@given(seed=SEEDS, n=SIZES, p=st.sampled_from(NORMS), ties=st.booleans())
def test_equals_an_obvious_loop(seed, n, p, ties):
    config = sima.SimaConfig(t=30, p=p)
    (request,) = sima.requests(config)
    observations = observe([request], n, np.random.default_rng(seed), ties=ties)
    column = {1: 0, 2: 1, 4: 2, 5: 3}[p]
    expected = [-observations[request][i][column] for i in range(n)]
    assert sima.score(observations, config).tolist() == expected


@pytest.mark.parametrize("capabilities", [PIXEL, LARGE_TEXT])
def test_is_free_beside_pia(capabilities):
    own = sima.requests(sima.default_config(capabilities))
    others = pia.requests(pia.default_config(capabilities))
    assert calls_per_record(own) == 1
    assert calls_per_record((*own, *others)) == calls_per_record(others) == 2


def test_a_call_at_another_timestep_is_not_shared():
    own = sima.requests(sima.SimaConfig(t=100))
    assert calls_per_record((*own, *pia.requests(pia.PiaConfig()))) == 3


def test_refuses_an_exponent_that_is_not_kept():
    with pytest.raises(UsageError, match="p must be one of 1, 2, 4, 5, got 3"):
        sima.SimaConfig(p=3)
