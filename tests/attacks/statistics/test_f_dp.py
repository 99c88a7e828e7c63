"""The one-run audit under a Gaussian curve: golden values, a slow twin, validity."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from attacks.errors import DataError, UsageError
from attacks.statistics import (
    audit_one_run,
    audit_one_run_gaussian,
    correct_guesses,
    epsilon_of_mu,
    f_dp_mu,
    one_run_epsilon,
)
from attacks.statistics.f_dp import f_dp_excess
from attacks.statistics.gaussian_dp import mu_of_epsilon, stated_epsilon
from tests.attacks.statistics.draws import at_most


@pytest.mark.parametrize(
    ("m", "guesses", "correct", "delta", "expected"),
    [
        (1000, 100, 75, 1e-5, 1.00592),
        (1000, 100, 75, 1e-4, 0.84172),
        (1000, 100, 100, 1e-5, 5.54903),
        (1000, 1000, 600, 1e-5, 0.58354),
        (1000, 1000, 750, 1e-5, 1.81890),
        (100_000, 1510, 1439, 1e-5, 3.30908),
        (1000, 100, 50, 1e-5, 0.0),
    ],
)
def test_golden(m: int, guesses: int, correct: int, delta: float, expected: float) -> None:
    epsilon = stated_epsilon(f_dp_mu(m, guesses, correct), delta).value
    assert epsilon == pytest.approx(expected, abs=6e-6)
    assert epsilon is not None
    # The card's comparison; what makes it so is the assumed curve.
    assert epsilon >= one_run_epsilon(m, guesses, correct, delta=delta)


def slow_refuted(mu: float, m: int, guesses: int, correct: int, alpha: float) -> bool:
    """The recursion with all its terms in lists, as the paper states it."""
    r, h = [0.0] * (correct + 1), [0.0] * (correct + 1)
    r[correct] = alpha * correct / m
    h[correct] = alpha * (guesses - correct) / m
    for i in reversed(range(correct)):
        h[i] = max(h[i + 1], stats.norm.cdf(stats.norm.ppf(r[i + 1]) - mu))
        r[i] = min(1.0, r[i + 1] + i / (guesses - i) * (h[i] - h[i + 1]))
    return bool(r[0] + h[0] > guesses / m)


@settings(max_examples=40)
@given(data=st.data(), alpha=st.sampled_from([0.01, 0.05, 0.2]))
def test_equals_the_recursion_spelt_out(data: st.DataObject, alpha: float) -> None:
    m = data.draw(st.integers(1, 50))
    guesses = data.draw(st.integers(1, m))
    correct = data.draw(st.integers(0, guesses))
    bound = f_dp_mu(m, guesses, correct, alpha=alpha)
    if bound > 1e-6:
        assert slow_refuted(bound - 1e-6, m, guesses, correct, alpha)
    assert not slow_refuted(bound + 1e-6, m, guesses, correct, alpha)


def test_the_excess_falls_with_mu() -> None:
    for correct in (20, 70, 75, 100):
        excess = [
            f_dp_excess(mu, n_canaries=1000, n_guesses=100, n_correct=correct, alpha=0.05)
            for mu in np.linspace(0, 4, 60)
        ]
        assert (np.diff(excess) <= 1e-15).all()


def test_order_of_the_bound() -> None:
    bounds = [f_dp_mu(300, 60, c) for c in range(61)]
    assert bounds == sorted(bounds)
    assert bounds[0] == bounds[30] == 0
    assert 1 < bounds[-1] < np.inf
    stricter = [f_dp_mu(300, 60, c, alpha=0.05 / 12) for c in range(61)]
    assert all(s <= b for s, b in zip(stricter, bounds, strict=True))
    assert f_dp_mu(2000, 2000, 2000) > 2  # the bracket grows until it holds the root


def test_the_bound_in_epsilon_may_be_searched_on_either_scale() -> None:
    """Bisecting on epsilon, with the mu of each epsilon, arrives at the same bound."""
    low, high = 0.0, 10.0
    for _ in range(40):
        middle = (low + high) / 2
        refuted = slow_refuted(mu_of_epsilon(middle, 1e-5), 500, 80, 70, 0.05)
        low, high = (middle, high) if refuted else (low, middle)
    assert stated_epsilon(f_dp_mu(500, 80, 70), 1e-5).value == pytest.approx(low, abs=1e-6)


def coins_and_scores(rng: np.random.Generator, m: int, mu: float) -> tuple[np.ndarray, np.ndarray]:
    coins = rng.random(m) < 0.5
    return rng.normal(size=m) + mu * coins, coins


@pytest.mark.parametrize("pair", [(40, 40), (20, 0), (5, 5), (200, 200)])
@pytest.mark.parametrize("mu", [0.0, 0.5, 1.5])
def test_the_bound_holds_for_the_gaussian_mechanism(pair: tuple[int, int], mu: float) -> None:
    rng, runs, m = np.random.default_rng(41), 1000, 400
    found = []
    for _ in range(runs):
        scores, coins = coins_and_scores(rng, m, mu)
        (correct,) = correct_guesses(scores, coins, [pair])  # type: ignore[list-item]
        found.append(f_dp_mu(m, sum(pair), int(correct)))
    assert np.mean(np.array(found) > mu) <= at_most(0.05, runs)


def test_the_audit_holds_and_sees() -> None:
    rng, runs, delta, grid = np.random.default_rng(42), 200, 1e-5, [(40, 40), (15, 15), (20, 0)]
    for mu in (0.0, 1.5):
        audits = [
            audit_one_run_gaussian(*coins_and_scores(rng, 400, mu), delta=delta, grid=grid)
            for _ in range(runs)
        ]
        truth = epsilon_of_mu(mu, delta)
        missed = [audit.lower > truth for audit in audits]  # type: ignore[operator]
        assert np.mean(missed) <= at_most(0.05, runs)
        assert mu == 0 or np.median([audit.mu_lower for audit in audits]) > 0.4


def test_it_shows_more_than_the_bound_without_a_curve() -> None:
    scores, coins = coins_and_scores(np.random.default_rng(43), 600, 2.0)
    gaussian = audit_one_run_gaussian(scores, coins, delta=1e-5)
    without = audit_one_run(scores, coins, delta=1e-5)
    assert gaussian.lower is not None
    assert gaussian.lower > without.lower > 0


def test_the_assumption_matters() -> None:
    """Randomised response is not Gaussian: the assumed curve claims more than its epsilon."""
    rng, epsilon, m = np.random.default_rng(44), 1.0, 4000
    coins = rng.random(m) < 0.5
    answers = coins ^ (rng.random(m) > 1 / (1 + np.exp(-epsilon)))
    scores = answers + 1e-6 * rng.random(m)
    grid = [(m // 2, m // 2)]
    assert audit_one_run(scores, coins, delta=1e-5, grid=grid).lower < epsilon
    assert audit_one_run_gaussian(scores, coins, delta=1e-5, grid=grid).lower > epsilon  # type: ignore[operator]


def test_the_result_says_what_it_rests_on() -> None:
    scores, coins = coins_and_scores(np.random.default_rng(45), 500, 1.5)
    audit = audit_one_run_gaussian(scores, coins, delta=1e-5, grid=[(50, 50), (20, 0)])
    assert "trade-off curve of the mechanism is assumed" in audit.assumption
    assert "fair coin" in audit.assumption
    assert (audit.n_pairs, audit.n_canaries, audit.unit) == (2, 500, "nats")
    assert audit.n_guesses == sum(audit.pair)
    assert audit.mu_lower == f_dp_mu(500, audit.n_guesses, audit.n_correct, alpha=0.025) > 0
    assert audit.mu_ceiling == max(f_dp_mu(500, k, k, alpha=0.025) for k in (100, 20))
    assert audit.mu_lower <= audit.mu_ceiling
    assert audit.lower == epsilon_of_mu(audit.mu_lower, 1e-5)
    assert audit.ceiling == epsilon_of_mu(audit.mu_ceiling, 1e-5)
    assert audit.reason is None
    with pytest.raises(dataclasses.FrozenInstanceError):
        audit.mu_lower = 9.0  # type: ignore[misc]


def test_no_finite_epsilon_at_delta_zero() -> None:
    scores, coins = coins_and_scores(np.random.default_rng(46), 500, 1.5)
    audit = audit_one_run_gaussian(scores, coins, delta=0)
    assert audit.mu_lower > 0
    assert audit.lower is None
    assert audit.ceiling is None
    assert "no finite epsilon" in (audit.reason or "")


@pytest.mark.parametrize("coin", [0, 1])
def test_one_canary(coin: int) -> None:
    audit = audit_one_run_gaussian([0.3], [coin], delta=1e-5)
    assert (audit.mu_lower, audit.lower, audit.ceiling) == (0.0, 0.0, 0.0)


def test_what_cannot_be_audited_is_refused() -> None:
    with pytest.raises(DataError, match="900 of 1000 canaries are in"):
        audit_one_run_gaussian(np.arange(1000.0), np.arange(1000) < 900, delta=1e-5)
    with pytest.raises(UsageError, match="alpha"):
        f_dp_mu(10, 5, 5, alpha=0)
    with pytest.raises(DataError, match="n_correct must be between 0 and 5, got 6"):
        f_dp_mu(10, 5, 6)
    with pytest.raises(DataError, match="n_guesses must be between 1 and 10, got 11"):
        f_dp_mu(10, 11, 6)
