"""The long tail: golden values, total mass, simulation, and a tail that is none."""

from __future__ import annotations

from math import comb

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from attacks.errors import DataError, ShapeError
from attacks.memorization import (
    describe_tail,
    draw_prior,
    expected_mass,
    expected_points,
    long_tail,
    normalised,
    simulate_errors,
    tail_coefficients,
    tau_1_floor,
    uniform,
    zipf,
)

LISTS = st.lists(st.integers(1, 50), min_size=1, max_size=12).map(normalised)


@given(LISTS, st.integers(1, 20), st.data())
def test_equals_the_formula_term_by_term(a, n, data):
    times = data.draw(st.integers(0, n))
    points = sum(comb(n, times) * x**times * (1 - x) ** (n - times) for x in a)
    mass = sum(comb(n, times) * x ** (times + 1) * (1 - x) ** (n - times) for x in a)
    assert expected_points(a, n, times) == pytest.approx(points, rel=1e-9)
    assert expected_mass(a, n, times) == pytest.approx(mass, rel=1e-9)
    if points > 0:
        assert tail_coefficients(a, n, times) == pytest.approx(mass / points, rel=1e-9)


def test_golden_zipf_of_fifty_thousand():
    n = 50_000
    tail, a = describe_tail(zipf(n), n, 10), zipf(n)
    tau = n * tail_coefficients(a, n, [1, 2, 3, 4, 5])
    np.testing.assert_allclose(tau, [0.4717, 1.0877, 2.0071, 3.0003, 4.0000], atol=5e-5)
    assert n * tail.tau_1 == pytest.approx(0.4717, abs=5e-5)
    assert n * tail.smallest == pytest.approx(0.08774, abs=5e-6)
    assert tail.singleton_share == pytest.approx(0.17040, abs=5e-6)
    assert tail.singleton_mass == pytest.approx(0.08037, abs=5e-6)
    assert tail.excess_error == pytest.approx(0.0723, abs=5e-5)
    assert tail.unseen_mass == pytest.approx(0.17039, abs=5e-6)
    assert tail.optimal_error == pytest.approx(0.1534, abs=5e-5)
    assert n * tau_1_floor(a, n) == pytest.approx(0.0314, abs=5e-5)
    # As the paper rounds it: 0.47/n, 0.09/n, 17 %, 7 % on an optimal error of 15 %.
    assert (round(n * tail.tau_1, 2), round(n * tail.smallest, 2)) == (0.47, 0.09)
    assert round(tail.singleton_share, 2) == 0.17
    assert (round(tail.excess_error, 2), round(tail.optimal_error, 2)) == (0.07, 0.15)


@pytest.mark.parametrize(
    ("n_points", "n", "tau", "singletons"),
    [
        (1000, 1000, 0.558809, 0.209182),
        (500, 500, 0.582382, 0.218204),
        (2000, 1000, 0.412896, 0.278578),
    ],
)
def test_golden_small_zipf(n_points, n, tau, singletons):
    a = zipf(n_points)
    assert n * tail_coefficients(a, n) == pytest.approx(tau, abs=5e-7)
    assert expected_points(a, n) / n == pytest.approx(singletons, abs=5e-7)


def test_golden_errors_of_both_learners_and_their_simulation():
    a = zipf(1000)
    tail = describe_tail(a, 1000, 10)
    assert tail.optimal_error == pytest.approx(0.18816, abs=5e-6)
    assert tail.excess_error == pytest.approx(0.10520, abs=5e-6)
    errors = simulate_errors(a, 1000, 10, np.random.default_rng(0))
    assert errors.fitting.shape == (2000,)
    assert errors.fitting.mean() == pytest.approx(0.18816, abs=8e-4)
    assert errors.excess.mean() == pytest.approx(0.10520, abs=8e-4)
    assert errors.excess.std() / 2000**0.5 == pytest.approx(0.0002, abs=5e-5)
    assert np.all(errors.excess >= 0)


def test_a_tail_that_is_none_costs_nothing():
    """Every point is seen about a hundred times: there is nothing to memorize."""
    a = uniform(10)
    assert describe_tail(a, 1000, 10).excess_error < 1e-3
    errors = simulate_errors(a, 1000, 10, np.random.default_rng(0), draws=200)
    assert errors.excess.mean() < 1e-3
    assert errors.fitting.mean() < 1e-3


@given(st.integers(1, 3000), st.integers(1, 3000), st.data())
def test_of_equal_frequencies_nothing_is_learned(n_points, n, data):
    times = data.draw(st.integers(0, n))
    if n_points == 1 and times < n:
        return
    assert tail_coefficients(uniform(n_points), n, times) == pytest.approx(1 / n_points, rel=1e-9)


@given(LISTS, st.integers(1, 40))
def test_coefficients_grow_stay_below_the_largest_and_add_up(a, n):
    times = np.arange(n + 1)
    if a.size == 1:
        assert expected_mass(a, n, n) == 1
        return
    tau = tail_coefficients(a, n, times)
    assert np.all(np.diff(tau) >= -1e-12)
    assert np.all((tau > 0) & (tau <= a.max() * (1 + 1e-12)))
    assert np.sum(tau * expected_points(a, n, times)) == pytest.approx(1)
    assert np.sum(expected_mass(a, n, times)) == pytest.approx(1)
    assert np.sum(expected_points(a, n, times)) == pytest.approx(a.size)
    assert np.sum(times * expected_points(a, n, times)) == pytest.approx(n)


def test_the_papers_prior_draws_and_normalises():
    """Golden: n tau_1 = .568; and the singleton mass is tau_1 times the singletons."""
    rng = np.random.default_rng(1)
    drawn = draw_prior(zipf(1000), 1000, rng, draws=2000)
    assert drawn.shape == (2000, 1000)
    np.testing.assert_allclose(drawn.sum(axis=1), 1)
    tau = tail_coefficients(drawn, 1000)
    assert 1000 * tau == pytest.approx(0.568, abs=2e-3)
    singletons = expected_points(drawn, 1000)
    assert tau * singletons == pytest.approx(0.1194, abs=1e-3)
    errors = simulate_errors(drawn, 1000, 10, rng)
    mass = errors.excess / 0.9
    assert mass.std() / len(mass) ** 0.5 == pytest.approx(0.0005, abs=1.5e-4)
    assert mass.mean() == pytest.approx(float(tau * singletons), abs=0.002)
    assert mass.mean() == pytest.approx(0.1191, abs=0.002)


def test_one_draw_is_a_known_list():
    a = draw_prior([3, 1, 1], 50, np.random.default_rng(0))
    assert tail_coefficients(a, 30, 2) == tail_coefficients(a[0], 30, 2)
    again = draw_prior([3, 1, 1], 50, np.random.default_rng(0))
    assert np.array_equal(a, again)
    assert set(np.round(a[0] / a.min(), 9)) <= {1.0, 3.0}


def test_suppressing_more_costs_more():
    a, rng = zipf(300), np.random.default_rng(2)
    once = simulate_errors(a, 300, 2, rng, draws=500)
    thrice = simulate_errors(a, 300, 2, rng, draws=500, suppressed_up_to=3)
    expected = 0.5 * expected_mass(a, 300, [1, 2, 3]).sum()
    assert thrice.excess.mean() == pytest.approx(expected, abs=3e-3)
    assert thrice.excess.mean() > once.excess.mean() + 0.05


@given(LISTS, st.integers(3, 400))
def test_the_floor_is_below(a, n):
    if a.size > 1:
        assert tau_1_floor(a, n) <= tail_coefficients(a, n) * (1 + 1e-9)


def test_good_and_turing():
    """The mass of points seen l times is (l + 1)/(n + 1) times the points seen l + 1 in n + 1."""
    a, n, times = zipf(700), 400, np.arange(6)
    np.testing.assert_allclose(
        expected_mass(a, n, times), (times + 1) / (n + 1) * expected_points(a, n + 1, times + 1)
    )


def test_what_is_refused():
    a = zipf(5)
    for bad in (-1, 11, 1.5):
        with pytest.raises(DataError, match="0 to 10 times"):
            tail_coefficients(a, 10, bad)
    with pytest.raises(DataError, match="sum to 1"):
        tail_coefficients([0.5, 0.4], 10)
    with pytest.raises(DataError, match="positive"):
        normalised([1, 0])
    with pytest.raises(ShapeError, match=r"\(N,\)"):
        normalised([])
    with pytest.raises(ShapeError, match="frequencies"):
        expected_mass(np.full((1, 1, 1), 1.0), 5)
    with pytest.raises(DataError, match="not defined"):
        tail_coefficients([1.0], 10, 1)
    with pytest.raises(DataError, match="n_points"):
        zipf(0)
    with pytest.raises(DataError, match="at least 3"):
        tau_1_floor(a, 2)
    with pytest.raises(ShapeError, match=r"\(7, N\)"):
        simulate_errors(np.tile(a, (3, 1)), 5, 2, np.random.default_rng(0), draws=7)


def test_the_tests_notice_a_stub(monkeypatch):
    monkeypatch.setattr(long_tail, "_log_moment", lambda a, power, rest: np.zeros(power.shape))
    for check in (
        test_golden_zipf_of_fifty_thousand,
        test_golden_errors_of_both_learners_and_their_simulation,
        test_a_tail_that_is_none_costs_nothing,
    ):
        with pytest.raises(AssertionError):
            check()
