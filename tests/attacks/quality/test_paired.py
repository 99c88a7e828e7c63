"""The paired change of the kernel distance."""

from __future__ import annotations

import numpy as np
import pytest

from attacks.errors import ShapeError
from attacks.quality import kid, kid_change


def sets(rng, n=120, d=4, shift=0.0):
    """Real images, and images of two models that share most of what they draw."""
    common = rng.normal(size=(n, d))
    before = common + 0.2 * rng.normal(size=(n, d))
    after = common + 0.2 * rng.normal(size=(n, d)) + shift
    return rng.normal(size=(n, d)) * np.sqrt(1.04), before, after


def test_it_is_the_difference_of_two_kernel_distances():
    real, before, after = sets(np.random.default_rng(0), shift=0.3)
    expected = kid(real, after).estimate.value - kid(real, before).estimate.value
    assert kid_change(real, before, after).value == pytest.approx(expected)


def test_the_same_images_change_nothing():
    real, before, _ = sets(np.random.default_rng(1))
    change = kid_change(real, before, before)
    assert (change.value, change.low, change.high) == (0, 0, 0)


def test_swapping_the_models_turns_the_sign():
    real, before, after = sets(np.random.default_rng(2), shift=0.2)
    one, other = kid_change(real, before, after), kid_change(real, after, before)
    assert (one.value, one.low) == pytest.approx((-other.value, -other.high))


def test_a_worse_model_is_shown_worse_and_pairing_helps():
    """The interval of the change is narrower than those of the two distances together."""
    real, before, after = sets(np.random.default_rng(3), shift=0.4)
    change = kid_change(real, before, after)
    assert change.low > 0
    first, second = kid(real, before).estimate, kid(real, after).estimate
    apart = np.hypot(first.high - first.low, second.high - second.low)
    assert change.high - change.low < apart


def test_intervals_of_equal_models_cover_zero():
    """At 95 % nominal, over 200 draws, at least 90 %."""
    rng = np.random.default_rng(4)
    covered = 0
    for _ in range(200):
        change = kid_change(*sets(rng, n=60))
        covered += change.low <= 0 <= change.high
    assert covered >= 180


def test_few_images_have_no_interval():
    rng = np.random.default_rng(5)
    change = kid_change(*sets(rng, n=10))
    assert change.low is None
    assert "16 images" in change.reason


def test_images_that_do_not_pair_are_refused():
    real, before, after = sets(np.random.default_rng(6))
    with pytest.raises(ShapeError, match="do not pair"):
        kid_change(real, before, after[:-1])
