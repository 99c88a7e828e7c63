"""Gaussian differential privacy: golden table, round trips, and a mu bound that holds."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import integrate, stats

from attacks.errors import UsageError
from attacks.statistics import (
    Confusion,
    auc_of_mu,
    balanced_accuracy_of_mu,
    delta_of_epsilon,
    epsilon_lower_bound,
    epsilon_of_mu,
    mu_limit,
    mu_lower_bound,
    mu_of_epsilon,
    tpr_of_mu,
)
from attacks.statistics.gaussian_dp import stated_epsilon
from tests.attacks.statistics.draws import at_most


@pytest.mark.parametrize(
    ("mu", "eps6", "eps5", "auc", "tpr_strict", "tpr", "accuracy"),
    [
        (0.5, 2.254085, 1.993091, 0.638163, 0.004796, 0.033899, 0.598706),
        (1.0, 4.886554, 4.377178, 0.760250, 0.018298, 0.092362, 0.691462),
        (2.0, 10.997151, 9.997256, 0.921350, 0.137805, 0.372081, 0.841345),
        (4.0, 26.356964, 24.381611, 0.997661, 0.818527, 0.952901, 0.977250),
    ],
)
def test_golden_table(
    mu: float,
    eps6: float,
    eps5: float,
    auc: float,
    tpr_strict: float,
    tpr: float,
    accuracy: float,
) -> None:
    found = [
        epsilon_of_mu(mu, 1e-6),
        epsilon_of_mu(mu, 1e-5),
        auc_of_mu(mu),
        *tpr_of_mu(mu, [0.001, 0.01]),
        balanced_accuracy_of_mu(mu),
    ]
    np.testing.assert_allclose(found, [eps6, eps5, auc, tpr_strict, tpr, accuracy], atol=6e-7)


@pytest.mark.parametrize(
    ("counts", "mu", "epsilon"),
    [((400, 100, 100, 400), 1.426847, 6.642927), ((90, 910, 1, 999), 1.085098, 4.812578)],
)
def test_golden_bounds(counts: tuple[int, int, int, int], mu: float, epsilon: float) -> None:
    bound = mu_lower_bound(Confusion(*counts), delta=1e-5)
    np.testing.assert_allclose([bound.mu_lower, bound.lower], [mu, epsilon], atol=6e-7)
    assert bound.mu_lower == float(mu_limit(counts[0], sum(counts[:2]), counts[2], sum(counts[2:])))


@given(mu=st.floats(0.05, 6), epsilon=st.floats(0, 20))
def test_delta_equals_the_difference_of_two_tails(mu: float, epsilon: float) -> None:
    a, b = stats.norm.logcdf([-epsilon / mu + mu / 2, -epsilon / mu - mu / 2])
    expected = math.exp(a) - math.exp(epsilon + b)
    assert float(delta_of_epsilon(mu, epsilon)) == pytest.approx(expected, rel=1e-6, abs=1e-15)


@given(mu=st.floats(0, 30))
def test_delta_at_zero_and_its_order(mu: float) -> None:
    grid = delta_of_epsilon(mu, np.linspace(0, 60, 200))
    assert float(grid[0]) == pytest.approx(2 * stats.norm.cdf(mu / 2) - 1, abs=1e-15)
    # Equal or falling: near 1 the values of a huge mu round to 1.
    assert (np.diff(grid) <= 1e-15).all()
    assert ((grid >= 0) & (grid <= 1)).all()


@given(mu=st.floats(0.01, 60), delta=st.floats(-14, -0.5).map(lambda x: 10**x))
def test_round_trip(mu: float, delta: float) -> None:
    epsilon = epsilon_of_mu(mu, delta)
    if delta >= float(delta_of_epsilon(mu, 0.0)):
        assert epsilon == 0.0
        assert mu_of_epsilon(0.0, delta) >= mu - 1e-12
    else:
        assert float(delta_of_epsilon(mu, epsilon)) == pytest.approx(delta, rel=1e-7)
        assert mu_of_epsilon(epsilon, delta) == pytest.approx(mu, abs=1e-8)


@pytest.mark.parametrize("delta", [1e-9, 1e-5, 0.01, 0.4, 0.6, 0.9])
def test_mu_of_epsilon_for_any_delta(delta: float) -> None:
    grid = [mu_of_epsilon(epsilon, delta) for epsilon in (0.0, 1e-6, 0.3, 1.0, 8.0, 400.0)]
    assert grid == sorted(grid)
    found = delta_of_epsilon(grid, [0.0, 1e-6, 0.3, 1.0, 8.0, 400.0])
    np.testing.assert_allclose(found, delta, rtol=1e-6)


def test_far_tails_neither_overflow_nor_vanish() -> None:
    assert epsilon_of_mu(1000.0, 1e-300) > 500_000
    assert epsilon_of_mu(1e-3, 1e-300) > 0.03
    assert epsilon_of_mu(2.0, 1e-300) > 70


@pytest.mark.parametrize("delta", [1e-5, 0.3, 0.5])
@pytest.mark.parametrize("mu", [1e7, 1e8, 1e9, 1e12, 1e17])
def test_a_huge_mu_is_its_leading_terms(mu: float, delta: float) -> None:
    """There the second tail is below rounding, and so is the distance of the root to its bracket."""
    epsilon = epsilon_of_mu(mu, delta)
    assert epsilon == pytest.approx(mu * (mu / 2 - float(stats.norm.ppf(delta))), rel=1e-7)
    assert mu_of_epsilon(epsilon, delta) == pytest.approx(mu, rel=1e-7)


@pytest.mark.parametrize("delta", [1e-12, 1e-5, 0.01, 0.3, 0.7, 0.999])
@pytest.mark.parametrize("epsilon", [1e-300, 1e-30, 1e-17])
def test_a_vanishing_epsilon_is_none(epsilon: float, delta: float) -> None:
    assert mu_of_epsilon(epsilon, delta) == pytest.approx(mu_of_epsilon(0.0, delta), rel=1e-2)


@given(mu=st.floats(0, 5))
def test_auc_and_accuracy_follow_from_the_curve(mu: float) -> None:
    area, _ = integrate.quad(lambda fpr: float(tpr_of_mu(mu, fpr)), 0, 1)
    assert float(auc_of_mu(mu)) == pytest.approx(area, abs=1e-6)
    fpr = np.linspace(0, 1, 4001)
    best = ((tpr_of_mu(mu, fpr) + 1 - fpr) / 2).max()
    assert float(balanced_accuracy_of_mu(mu)) == pytest.approx(best, abs=2e-4)


def test_arrays_equal_a_loop() -> None:
    mus, epsilons = np.array([0.0, 0.3, 2.0, 9.0]), np.linspace(0, 30, 13)
    together = delta_of_epsilon(mus[:, None], epsilons)
    assert together.tolist() == [
        [float(delta_of_epsilon(mu, epsilon)) for epsilon in epsilons] for mu in mus
    ]
    assert (together[0] == 0).all()
    assert float(together[-1, 0]) > 0.99
    bounds = mu_limit(np.arange(21)[:, None], 20, np.arange(11), 10)
    assert bounds.tolist() == [
        [float(mu_limit(k1, 20, k0, 10)) for k0 in range(11)] for k1 in range(21)
    ]
    assert bounds.max() == bounds[20, 0] > 1


def test_the_bound_holds_for_the_gaussian_mechanism() -> None:
    rng, runs, n = np.random.default_rng(21), 4000, 500
    for mu in (0.0, 0.5, 2.0):
        for threshold in (mu / 2, 1.5):
            hits = rng.binomial(n, stats.norm.sf(threshold - mu), runs)
            alarms = rng.binomial(n, stats.norm.sf(threshold), runs)
            bounds = mu_limit(hits, n, alarms, n)
            assert np.mean(bounds > mu) <= at_most(0.05, runs)
            assert mu < 2 or np.median(bounds) > 1.6
    truth = epsilon_of_mu(2.0, 1e-5)
    assert truth - 3 < mu_lower_bound(Confusion(421, 79, 79, 421), delta=1e-5).lower < truth  # type: ignore[operator]


def test_the_assumption_matters_and_is_printed() -> None:
    """Randomised response at epsilon 1 is not Gaussian: the assumed curve claims far more."""
    share = math.e / (1 + math.e)
    k = round(100_000 * share)
    counts = Confusion(k, 100_000 - k, 100_000 - k, k)
    gaussian = mu_lower_bound(counts, delta=1e-5)
    assert gaussian.lower is not None
    assert gaussian.lower > 4
    assert epsilon_lower_bound(counts, delta=1e-5).lower < 1
    assert "assumed" in gaussian.assumption
    assert "training of its own" in gaussian.assumption


@given(counts=st.tuples(*[st.integers(0, 30)] * 4).filter(lambda c: c[0] + c[1] and c[2] + c[3]))
def test_bounds_are_finite_and_below_the_ceiling(counts: tuple[int, int, int, int]) -> None:
    bound = mu_lower_bound(Confusion(*counts), delta=1e-5)
    stricter = mu_lower_bound(Confusion(*counts), delta=1e-5, alpha=0.05 / 20)
    assert 0 <= stricter.mu_lower <= bound.mu_lower <= bound.mu_ceiling < math.inf
    assert bound.lower is not None
    assert bound.ceiling is not None
    assert 0 <= bound.lower <= bound.ceiling < math.inf
    assert bound.reason is None


def test_no_finite_epsilon_at_delta_zero() -> None:
    bound = mu_lower_bound(Confusion(400, 100, 100, 400), delta=0)
    assert bound.mu_lower > 1
    assert bound.lower is None
    assert bound.ceiling is None
    assert "no finite epsilon at delta 0" in (bound.reason or "")
    nothing = mu_lower_bound(Confusion(1, 99, 1, 99), delta=0)
    assert (nothing.mu_lower, nothing.lower, nothing.ceiling) == (0.0, 0.0, None)
    assert nothing.reason is not None
    assert stated_epsilon(0.0, 0.0) == (0.0, None)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: delta_of_epsilon(-1.0, 1.0), "mu must be finite"),
        (lambda: delta_of_epsilon(1.0, [-1.0, 0.0]), "epsilon must be finite"),
        (lambda: epsilon_of_mu(float("nan"), 1e-5), "mu must be finite"),
        (lambda: epsilon_of_mu(1.0, 0.0), "delta must lie inside"),
        (lambda: mu_of_epsilon(1.0, 1.0), "delta must lie inside"),
        (lambda: mu_of_epsilon(float("inf"), 0.1), "epsilon must be finite"),
        (lambda: tpr_of_mu(1.0, 5.0), "share of at most 1"),
        (lambda: auc_of_mu(-1.0), "mu must be finite"),
    ],
)
def test_what_has_no_meaning_is_refused(call, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        call()
