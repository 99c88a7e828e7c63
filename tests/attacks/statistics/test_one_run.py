"""The one-run audit: golden values, exact validity, ties, grid, refusals."""

from __future__ import annotations

import dataclasses
import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from attacks.errors import DataError, ShapeError, UsageError
from attacks.statistics import (
    GuessPair,
    audit_one_run,
    correct_guesses,
    epsilon_of_mu,
    guess_grid,
    one_run_epsilon,
    one_run_p_value,
)
from tests.attacks.statistics.draws import at_most, tied_scores


@pytest.mark.parametrize(
    ("m", "r", "v", "delta", "expected", "digits"),
    [
        (1000, 100, 75, 1e-4, 0.673, 5e-4),  # printed in the paper
        (100_000, 1510, 1439, 1e-5, 2.675, 1e-3),  # printed in the paper, cut off
        (1000, 100, 75, 1e-4, 0.67298, 6e-6),
        (100_000, 1510, 1439, 1e-5, 2.67585, 6e-6),
        (1000, 1000, 500, 1e-5, 0.0, 0.0),
        (1000, 1000, 550, 0.0, 0.09422, 6e-6),
        (1000, 1000, 600, 0.0, 0.29747, 6e-6),
        (1000, 100, 100, 0.0, 3.49297, 6e-6),
        (1000, 100, 100, 1e-5, 3.46538, 6e-6),
        (1000, 1000, 1000, 1e-5, 5.78228, 6e-6),
        (1000, 50, 50, 0.0, 2.78473, 6e-6),
        (1000, 10, 10, 0.0, 1.05187, 6e-6),
        (1000, 1000, 1000, 0.0, 5.80907, 6e-6),
    ],
)
def test_golden(m: int, r: int, v: int, delta: float, expected: float, digits: float) -> None:
    assert one_run_epsilon(m, r, v, delta=delta) == pytest.approx(expected, abs=digits)


@pytest.mark.parametrize(("delta", "expected"), [(1e-4, 0.0145872), (0.0, 0.0048047)])
def test_golden_p_value(delta: float, expected: float) -> None:
    p = one_run_p_value(0.5, n_canaries=1000, n_guesses=100, n_correct=75, delta=delta)
    assert float(p) == pytest.approx(expected, abs=6e-8)


@pytest.mark.parametrize(
    ("epsilon", "accuracy"), [(1, 0.731059), (2, 0.880797), (4, 0.982014), (8, 0.999665)]
)
def test_one_guess_is_right_as_often_as_randomised_response(epsilon: int, accuracy: float) -> None:
    p = one_run_p_value(epsilon, n_canaries=1, n_guesses=1, n_correct=1, delta=0)
    assert float(p) == pytest.approx(accuracy, abs=6e-7)


def slow_p_value(m: int, r: int, v: int, epsilon: float, delta: float) -> float:
    """The p-value spelt out, term by term."""
    q = 1 / (1 + math.exp(-epsilon))
    terms = [math.comb(r, k) * q**k * (1 - q) ** (r - k) for k in range(r + 1)]
    steepest = max((sum(terms[v - i : v]) / i for i in range(1, v + 1)), default=0.0)
    return min(1.0, sum(terms[v:]) + 2 * m * delta * steepest)


@st.composite
def counts(draw: st.DrawFn) -> tuple[int, int, int]:
    m = draw(st.integers(1, 60))
    r = draw(st.integers(1, m))
    return m, r, draw(st.integers(0, r))


@given(c=counts(), epsilon=st.floats(0, 8), delta=st.sampled_from([0.0, 1e-6, 1e-3, 0.5]))
def test_p_value_equals_the_formula_spelt_out(
    c: tuple[int, int, int], epsilon: float, delta: float
) -> None:
    m, r, v = c
    p = one_run_p_value(epsilon, n_canaries=m, n_guesses=r, n_correct=v, delta=delta)
    assert float(p) == pytest.approx(slow_p_value(m, r, v, epsilon, delta), rel=1e-9, abs=1e-14)


@pytest.mark.parametrize(("r", "v"), [(9000, 8950), (9000, 4501), (12_000, 12_000), (9000, 100)])
def test_stopping_early_changes_nothing(r: int, v: int) -> None:
    """Every i up to v, beyond the first stretch that is read."""
    grid = np.array([0.0, 0.05, 1.0, 4.0, 5.5, 7.0])
    found = one_run_p_value(grid, n_canaries=r, n_guesses=r, n_correct=v, delta=1e-7)
    for p, epsilon in zip(found, grid, strict=True):
        q = 1 / (1 + math.exp(-epsilon))
        i = np.arange(1, v + 1)
        terms = np.cumsum(stats.binom.pmf(v - i, r, q)) / i
        slow = stats.binom.sf(v - 1, r, q) + 2 * r * 1e-7 * terms.max()
        assert float(p) == pytest.approx(min(1, slow), rel=1e-8)


def test_arrays_equal_a_loop() -> None:
    grid = np.linspace(0, 6, 24).reshape(4, 6)
    together = one_run_p_value(grid, n_canaries=500, n_guesses=200, n_correct=150, delta=1e-4)
    alone = [
        [
            float(one_run_p_value(e, n_canaries=500, n_guesses=200, n_correct=150, delta=1e-4))
            for e in row
        ]
        for row in grid
    ]
    np.testing.assert_allclose(together, alone, rtol=1e-13)
    assert together.shape == (4, 6)
    none = one_run_p_value(grid, n_canaries=5, n_guesses=5, n_correct=0, delta=0.1)
    assert (none == 1).all()


@pytest.mark.parametrize("delta", [0.0, 1e-6, 1e-4])
@pytest.mark.parametrize(("m", "r", "v"), [(1000, 100, 75), (1000, 1000, 990), (50, 20, 20)])
def test_order_of_the_p_value(m: int, r: int, v: int, delta: float) -> None:
    """What the bisection rests on: one crossing of alpha. And more evidence never hurts."""
    root = one_run_epsilon(m, r, v, delta=delta)
    assert root > 0
    grid = np.concatenate([np.linspace(0, 2 * root, 400), root + np.linspace(-0.01, 0.01, 101)])
    grid.sort()
    p = one_run_p_value(grid, n_canaries=m, n_guesses=r, n_correct=v, delta=delta)
    below = grid < root - 1e-9
    assert (p[below] < 0.05).all()
    assert (p[grid > root + 1e-9] >= 0.05).all()
    assert (np.diff(p[below]) >= 0).all()
    fewer = one_run_p_value(grid[below], n_canaries=m, n_guesses=r, n_correct=v - 1, delta=delta)
    assert (fewer >= p[below]).all()
    laxer = one_run_p_value(grid, n_canaries=m, n_guesses=r, n_correct=v, delta=delta + 1e-5)
    assert (laxer >= p).all()


@pytest.mark.parametrize("delta", [0.0, 1e-5, 1e-3])
def test_more_correct_guesses_never_lower_the_bound(delta: float) -> None:
    bounds = [one_run_epsilon(400, 60, v, delta=delta) for v in range(61)]
    assert bounds == sorted(bounds)
    assert bounds[0] == bounds[30] == 0 < bounds[-1]
    stricter = [one_run_epsilon(400, 60, v, delta=delta, alpha=0.05 / 12) for v in range(61)]
    assert all(s <= b for s, b in zip(stricter, bounds, strict=True))
    more_delta = [one_run_epsilon(400, 60, v, delta=2 * delta + 1e-6) for v in range(61)]
    assert all(s <= b for s, b in zip(more_delta, bounds, strict=True))


@pytest.mark.parametrize(("r", "v"), [(30, 25), (200, 140), (7, 7)])
def test_pure_dp_bound_is_the_root_of_the_tail(r: int, v: int) -> None:
    bound = one_run_epsilon(r, r, v, delta=0)
    assert stats.binom.sf(v - 1, r, 1 / (1 + math.exp(-bound))) == pytest.approx(0.05, rel=1e-9)
    # Bisection with a vanishing delta arrives at the same place.
    assert one_run_epsilon(r, r, v, delta=1e-300) == pytest.approx(bound, abs=1e-9)


@pytest.mark.parametrize("r", [10, 50, 100, 1000])
def test_ceiling_formula(r: int) -> None:
    b = 0.05 ** (1 / r)
    assert one_run_epsilon(r, r, r, delta=0) == pytest.approx(math.log(b / (1 - b)), rel=1e-9)


@pytest.mark.parametrize("epsilon", [0.0, 0.5, 2.0, 4.0])
@pytest.mark.parametrize("r", [12, 60, 300])
@pytest.mark.parametrize("delta", [0.0, 1e-3])
def test_randomised_response_is_covered_exactly(epsilon: float, r: int, delta: float) -> None:
    """Over all outcomes; with delta, every canary is revealed with that probability."""
    q = 1 / (1 + math.exp(-epsilon))
    v = np.arange(r + 1)
    chance = stats.binom.pmf(v, r, delta + (1 - delta) * q)
    bounds = np.array([one_run_epsilon(r, r, int(k), delta=delta) for k in v])
    missed = chance[bounds > epsilon].sum()
    assert missed <= 0.05
    if r == 300 and delta == 0 and epsilon < 4:
        assert missed > 0.02  # tight: a bound of 0 whatever happens would not be


def coins_and_scores(rng: np.random.Generator, m: int, mu: float) -> tuple[np.ndarray, np.ndarray]:
    coins = rng.random(m) < 0.5
    return rng.normal(size=m) + mu * coins, coins


def test_gaussian_mechanism_stays_below_its_epsilon() -> None:
    rng, runs, delta = np.random.default_rng(31), 300, 1e-5
    for mu in (0.5, 2.0):
        truth = epsilon_of_mu(mu, delta)
        found = [
            audit_one_run(*coins_and_scores(rng, 400, mu), delta=delta).lower for _ in range(runs)
        ]
        assert np.mean(np.array(found) > truth) <= at_most(0.05, runs)
        assert mu < 2 or np.median(found) > 1


def test_nothing_is_found_where_nothing_leaks() -> None:
    rng, runs = np.random.default_rng(32), 600
    audits = [audit_one_run(*coins_and_scores(rng, 300, 0.0), delta=0) for _ in range(runs)]
    assert np.mean([audit.lower > 0 for audit in audits]) <= at_most(0.05, runs)
    assert np.mean([audit.p_value <= 0.05 for audit in audits]) <= at_most(0.05, runs)
    assert np.mean([audit.p_value < 1 for audit in audits]) > 0.1


def test_permuted_coins_of_a_leaking_model_show_nothing() -> None:
    rng, runs = np.random.default_rng(33), 1000
    scores, coins = coins_and_scores(rng, 400, 3.0)
    assert audit_one_run(scores, coins, delta=1e-6).lower > 1.5
    fired = [audit_one_run(scores, rng.permutation(coins), delta=0).lower > 0 for _ in range(runs)]
    assert np.mean(fired) <= 0.05


def test_choosing_the_best_pair_needs_its_correction() -> None:
    """One pair at a time, the largest bound kept at full alpha: it fires far too often."""
    rng, runs, fired = np.random.default_rng(34), 300, 0
    for _ in range(runs):
        scores, coins = coins_and_scores(rng, 300, 0.0)
        alone = (audit_one_run(scores, coins, delta=0, grid=[pair]) for pair in guess_grid(300))
        fired += any(audit.lower > 0 for audit in alone)
    assert fired / runs > at_most(0.05, runs)


def test_few_leaking_canaries_are_found_at_the_top() -> None:
    rng = np.random.default_rng(35)
    coins = rng.random(2000) < 0.5
    scores = rng.normal(size=2000) + 20 * (coins & (rng.random(2000) < 0.06))
    audit = audit_one_run(scores, coins, delta=1e-6)
    assert audit.pair.k_minus == 0
    assert audit.pair.k_plus < 100
    assert audit.n_correct >= audit.n_guesses - 1
    assert 1 < audit.lower <= audit.ceiling
    assert audit.p_value < 1e-3  # 2 m delta / v of it is delta's share
    assert audit_one_run(scores, coins, delta=0).p_value < 1e-12


def smallest_count(scores: np.ndarray, coins: np.ndarray, k_plus: int, k_minus: int) -> int:
    """Fewest correct guesses over every order of the canaries that sorts the scores."""
    orders = itertools.permutations(range(scores.size))
    counts = [
        int(sum(coins[i] for i in order[:k_plus]))
        + int(sum(not coins[i] for i in order[scores.size - k_minus :]))
        for order in orders
        if all(scores[a] >= scores[b] for a, b in itertools.pairwise(order))
    ]
    return min(counts)


@settings(max_examples=60)
@given(scores=tied_scores(6), data=st.data())
def test_ties_count_as_badly_as_any_order_allows(scores: np.ndarray, data: st.DataObject) -> None:
    m = scores.size
    coins = np.array(data.draw(st.lists(st.booleans(), min_size=m, max_size=m)))
    pairs = [GuessPair(a, b) for a in range(m + 1) for b in range(m + 1 - a) if a + b]
    found = correct_guesses(scores, coins, pairs)
    assert found.tolist() == [smallest_count(scores, coins, *pair) for pair in pairs]
    order = np.random.default_rng(1).permutation(m)
    assert correct_guesses(scores[order], coins[order], pairs).tolist() == found.tolist()


def test_equal_scores_show_nothing_in_any_order() -> None:
    coins = np.arange(200) < 100
    for order in (np.arange(200), np.arange(200)[::-1]):
        audit = audit_one_run(np.zeros(200), coins[order], delta=0)
        assert (audit.lower, audit.p_value, audit.n_correct) == (0.0, 1.0, 0)
    # The same coins with scores that follow them are seen, so the zero above is the ties' doing.
    assert audit_one_run(coins.astype(float), coins, delta=0).lower > 2


def test_higher_means_in() -> None:
    coins = np.random.default_rng(36).random(200) < 0.5
    assert audit_one_run(coins * 1.0, coins, delta=0).lower > 2
    assert audit_one_run(coins * -1.0, coins, delta=0).lower == 0


def test_the_default_grid() -> None:
    assert guess_grid(1000) == (
        *((k, k) for k in (500, 250, 100, 50, 20, 10)),
        *((k, 0) for k in (500, 250, 100, 50, 20, 10)),
    )
    assert guess_grid(1) == ((1, 0),)
    assert guess_grid(2) == ((1, 1), (1, 0))
    for m in range(1, 300):
        pairs = guess_grid(m)
        assert len(set(pairs)) == len(pairs) <= 12
        assert all(1 <= sum(pair) <= m for pair in pairs)


def test_the_result_says_what_it_rests_on() -> None:
    scores, coins = coins_and_scores(np.random.default_rng(37), 500, 2.0)
    grid = [(50, 50), (100, 0), (50, 50)]
    audit = audit_one_run(scores, coins.astype(int), delta=1e-5, grid=grid)
    assert audit.n_pairs == 2  # a repeated pair is one look
    assert audit.pair in {(50, 50), (100, 0)}
    assert audit.n_guesses == sum(audit.pair)
    expected = [
        one_run_epsilon(500, 100, int(v), delta=1e-5, alpha=0.025)
        for v in correct_guesses(scores, coins, [GuessPair(50, 50), GuessPair(100, 0)])
    ]
    assert audit.lower == max(expected) > 0
    assert audit.ceiling == one_run_epsilon(500, 100, 100, delta=1e-5, alpha=0.025)
    assert (audit.n_canaries, audit.delta, audit.alpha, audit.unit) == (500, 1e-5, 0.05, "nats")
    assert "fair coin" in audit.assumption
    assert "grid of 2" in audit.assumption
    assert "Bonferroni" in audit.assumption
    with pytest.raises(dataclasses.FrozenInstanceError):
        audit.lower = 9.0  # type: ignore[misc]
    assert audit_one_run(scores, coins, delta=1e-5, grid=grid) == audit


@pytest.mark.parametrize("coin", [0, 1])
def test_one_canary_and_coins_that_agree(coin: int) -> None:
    audit = audit_one_run([0.3], [coin], delta=1e-5)
    assert (audit.lower, audit.ceiling, audit.n_correct) == (0.0, 0.0, coin)
    agreed = audit_one_run(np.arange(30.0), np.full(30, coin), delta=0)
    assert math.isfinite(agreed.lower)


@pytest.mark.parametrize("n_in", [0, 300, 900, 1000])
def test_coins_that_were_not_fair_are_refused(n_in: int) -> None:
    """900 in, 100 out: calling everything "in" would be right nine times of ten."""
    with pytest.raises(DataError, match=f"{n_in} of 1000 canaries are in"):
        audit_one_run(np.arange(1000.0), np.arange(1000) < n_in, delta=0)


@pytest.mark.parametrize(
    ("scores", "coins", "error", "message"),
    [
        ([], [], ShapeError, "canary scores of shape"),
        ([1.0, np.nan], [0, 1], DataError, "1 of 2 canary scores are NaN"),
        ([1.0, np.inf], [0, 1], DataError, "NaN or infinite"),
        ([1.0, 2.0], [0], ShapeError, "2 canary scores but coins of shape"),
        ([1.0, 2.0], [0, 2], DataError, "other than 0 and 1"),
        ([1.0, 2.0], [0.0, np.nan], DataError, "other than 0 and 1"),
        ([1.0, 2.0], ["in", "out"], DataError, "other than 0 and 1"),
    ],
)
def test_canaries_that_cannot_be_audited(scores, coins, error, message: str) -> None:
    with pytest.raises(error, match=message):
        audit_one_run(scores, coins, delta=0)


@pytest.mark.parametrize(
    ("grid", "error", "message"),
    [
        ([], UsageError, "1 to 20 different pairs, got 0"),
        ([(k, 0) for k in range(1, 22)], UsageError, "got 21"),
        ([(0, 0)], DataError, "k_plus \\+ k_minus must be between 1 and 40, got 0"),
        ([(30, 11)], DataError, "between 1 and 40, got 41"),
        ([(-1, 5)], DataError, "k_plus must be at least 0"),
        ([(5, -1)], DataError, "k_minus must be at least 0"),
        ([(1.5, 1)], DataError, "k_plus must be a whole number"),
    ],
)
def test_grids_that_are_refused(grid, error, message: str) -> None:
    with pytest.raises(error, match=message):
        audit_one_run(np.arange(40.0), np.arange(40) % 2, delta=0, grid=grid)


@pytest.mark.parametrize("bad", [(0, 0, 0), (5, 6, 1), (5, 0, 0), (5, 5, 6), (5, 5, -1)])
def test_impossible_counts_are_refused(bad: tuple[int, int, int]) -> None:
    with pytest.raises(DataError, match="n_"):
        one_run_epsilon(*bad, delta=0)


def test_impossible_levels_are_refused() -> None:
    with pytest.raises(UsageError, match="delta"):
        audit_one_run([1.0], [1], delta=2)
    with pytest.raises(UsageError, match="alpha"):
        one_run_epsilon(1, 1, 1, delta=0, alpha=0.9)
