"""Corrections for multiplicity against slow twins and scipy."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from attacks.statistics.multiplicity import benjamini_hochberg, holm

p_lists = st.lists(st.floats(0, 1), min_size=1, max_size=9)


@settings(deadline=None)
@given(p_lists)
def test_holm_equals_the_step_down_procedure(p: list[float]) -> None:
    for alpha in (0.01, 0.05, 0.3):
        left, rejected = list(range(len(p))), set()
        while left:
            smallest = min(left, key=lambda i: p[i])
            if p[smallest] * len(left) > alpha:
                break
            rejected.add(smallest)
            left.remove(smallest)
        assert {i for i, q in enumerate(holm(p)) if q <= alpha} == rejected


def test_holm_golden_and_empty() -> None:
    np.testing.assert_allclose(holm([0.01, 0.04, 0.03]), [0.03, 0.06, 0.06])
    assert holm([]).size == 0


@settings(deadline=None)
@given(p_lists, st.sampled_from([0.05, 0.1, 0.5]))
def test_benjamini_hochberg_equals_scipy(p: list[float], q: float) -> None:
    adjusted = stats.false_discovery_control(p)
    clear = np.abs(adjusted - q) > 1e-12
    np.testing.assert_array_equal(benjamini_hochberg(p, q)[clear], (adjusted <= q)[clear])


@pytest.mark.parametrize("q", [0.05, 0.1])
def test_benjamini_hochberg_rejects_some_and_not_all(q: float) -> None:
    assert benjamini_hochberg([0.001, 0.002, 0.9, 0.8], q).tolist() == [True, True, False, False]
    assert benjamini_hochberg([], q).size == 0
