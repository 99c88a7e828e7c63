"""Log ratios of paired figures: reference, sign, and why not plain ratios."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from attacks.errors import ShapeError
from attacks.statistics.paired import log_ratio_test


@given(seed=st.integers(0, 999), n=st.integers(2, 30), t=st.integers(1, 5))
def test_equals_an_obvious_loop_and_scipy(seed, n, t):
    rng = np.random.default_rng(seed)
    one, two = np.exp(rng.normal(size=(2, n, t)))
    found = log_ratio_test(one, two)
    ratios = [sum(math.log(two[i, j] / one[i, j]) for j in range(t)) / t for i in range(n)]
    expected = stats.ttest_1samp(ratios, 0, alternative="greater")
    assert found.mean_log_ratio == pytest.approx(sum(ratios) / n)
    assert found.p_greater == pytest.approx(expected.pvalue)
    back = log_ratio_test(two, one)
    assert back.mean_log_ratio == pytest.approx(-found.mean_log_ratio)
    assert back.p_greater == pytest.approx(1 - found.p_greater)


def test_exchangeable_figures_are_rejected_at_the_level_although_their_mean_ratio_is_above_one():
    rng = np.random.default_rng(0)
    pairs = np.exp(rng.normal(size=(2, 400, 64, 4)))
    p_values = [log_ratio_test(*pairs[:, i]).p_greater for i in range(400)]
    assert np.mean(np.array(p_values) <= 0.05) < 0.09
    assert (pairs[1] / pairs[0]).mean() > 1.5


def test_equal_figures_show_nothing_and_bad_ones_are_refused():
    assert log_ratio_test(np.ones((5, 2)), np.ones((5, 2))).p_greater == 1
    assert log_ratio_test(np.ones((5, 2)), np.full((5, 2), 2.0)).p_greater == 0
    for one, two in (
        (np.ones((1, 2)), np.ones((1, 2))),
        (np.ones((3, 2)), np.ones((3, 1))),
        (np.ones((3, 0)), np.ones((3, 0))),
        (np.ones((3, 2)), np.zeros((3, 2))),
    ):
        with pytest.raises(ShapeError):
            log_ratio_test(one, two)
