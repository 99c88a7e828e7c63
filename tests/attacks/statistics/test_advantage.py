"""Paired advantages: golden values by hand, coverage by simulation, symmetry."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from attacks.errors import ShapeError
from attacks.results import Estimate
from attacks.statistics.advantage import difference, paired_advantage

FLAGS = st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=40)


@given(pairs=FLAGS)
def test_value_is_the_difference_of_accuracies_inside_its_limits(pairs):
    first, second = np.array(pairs, dtype=bool).T
    found = paired_advantage(first, second)
    assert found.value == pytest.approx(first.mean() - second.mean())
    assert -1 <= found.low <= found.value <= found.high <= 1
    turned = paired_advantage(second, first)
    assert (turned.low, turned.high) == pytest.approx((-found.high, -found.low))


def test_guesses_that_never_differ_keep_a_width():
    right = np.arange(100) % 3 == 0
    found = paired_advantage(right, right)
    # Wilson's limit of 0 of 100: z^2 / (n + z^2)
    assert found.high == pytest.approx(3.8415 / 103.8415, rel=1e-4)
    assert found.low == -found.high < 0


@pytest.mark.parametrize("shares", [(0.0, 0.0), (0.05, 0.05), (0.3, 0.1), (0.01, 0.1)])
def test_limits_cover(shares):
    rng = np.random.default_rng(0)
    n, runs, covered = 120, 400, 0
    b, c = shares
    for _ in range(runs):
        counts = rng.multinomial(n, [b, c, 1 - b - c])
        first, second = np.zeros(n, bool), np.zeros(n, bool)
        first[: counts[0]] = True
        second[counts[0] : counts[0] + counts[1]] = True
        found = paired_advantage(first, second)
        covered += found.low <= b - c <= found.high
    assert covered >= 0.92 * runs


def test_the_difference_of_two_groups_combines_their_limits():
    one, other = Estimate(0.3, 0.1, 0.4), Estimate(0.1, 0.0, 0.4)
    found = difference(one, other)
    assert found.value == pytest.approx(0.2)
    assert found.low == pytest.approx(0.2 - np.hypot(0.2, 0.3))
    assert found.high == pytest.approx(0.2 + np.hypot(0.1, 0.1))


def test_what_cannot_be_compared_is_refused():
    with pytest.raises(ShapeError):
        paired_advantage(np.ones(3, bool), np.ones(2, bool))
    with pytest.raises(ShapeError):
        paired_advantage(np.ones(0, bool), np.ones(0, bool))
    with pytest.raises(ShapeError):
        difference(Estimate(0.1, None, None), Estimate(0.1, 0.0, 0.2))
