"""The credible interval of epsilon: published values, a sampled twin, what it is not."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from attacks.errors import UsageError
from attacks.statistics import (
    Confusion,
    epsilon_limit,
    epsilon_posterior,
    posterior_probability,
)


def test_published_interval() -> None:
    interval = epsilon_posterior(Confusion(487, 0, 512, 1), delta=1e-5, alpha=0.1)
    np.testing.assert_allclose([interval.low, interval.high], [0.145, 6.399], atol=0.02)
    np.testing.assert_allclose([interval.low, interval.high], [0.1439, 6.4156], atol=1e-4)


@pytest.mark.parametrize(
    ("counts", "low", "high"),
    [
        ((500, 0, 0, 500), 6.513, 13.808),
        ((400, 100, 100, 400), 1.2849, 1.5690),
        ((250, 250, 250, 250), 0.0040, 0.1271),
        ((90, 910, 1, 999), 3.1259, 6.2434),
    ],
)
def test_golden(counts: tuple[int, int, int, int], low: float, high: float) -> None:
    interval = epsilon_posterior(Confusion(*counts), delta=1e-5, alpha=0.1)
    assert interval.low == pytest.approx(low, abs=6e-4 if low > 6 else 6e-5)
    assert interval.high == pytest.approx(high, abs=6e-4 if low > 6 else 6e-5)


def in_region(fnr: np.ndarray, fpr: np.ndarray, epsilon: float, delta: float) -> np.ndarray:
    """The privacy region as printed."""
    e = np.exp(epsilon)
    low = np.maximum(0, np.maximum(1 - delta - e * fnr, (1 - delta - fnr) / e))
    high = np.minimum(1, np.minimum(1 + (delta - fnr) / e, delta + e * (1 - fnr)))
    return (low <= fpr) & (fpr <= high)


@settings(max_examples=40)
@given(
    counts=st.tuples(*[st.integers(0, 30)] * 4).filter(lambda c: c[0] + c[1] and c[2] + c[3]),
    epsilon=st.floats(0, 6),
    delta=st.sampled_from([0.0, 1e-3, 0.3]),
)
def test_equals_the_share_of_draws_in_the_region(
    counts: tuple[int, int, int, int], epsilon: float, delta: float
) -> None:
    tp, fn, fp, tn = counts
    rng, draws = np.random.default_rng(5), 40_000
    fnr, fpr = rng.beta(fn + 0.5, tp + 0.5, draws), rng.beta(fp + 0.5, tn + 0.5, draws)
    expected = in_region(fnr, fpr, epsilon, delta).mean()
    found = posterior_probability(Confusion(*counts), epsilon, delta=delta)
    assert found == pytest.approx(expected, abs=4.5 * np.sqrt(0.25 / draws))


@pytest.mark.parametrize("counts", [(487, 0, 512, 1), (7, 3, 300_000, 700_000), (1, 0, 0, 1)])
def test_quantiles_invert_the_probability(counts: tuple[int, int, int, int]) -> None:
    for alpha in (0.1, 0.02):
        interval = epsilon_posterior(Confusion(*counts), delta=1e-6, alpha=alpha)
        assert 0 < interval.low < interval.high
        for limit, level in ((interval.low, alpha / 2), (interval.high, 1 - alpha / 2)):
            found = posterior_probability(Confusion(*counts), limit, delta=1e-6)
            assert found == pytest.approx(level, abs=1e-7)


@given(counts=st.tuples(*[st.integers(1, 30)] * 4), delta=st.sampled_from([0.0, 0.1]))
@settings(max_examples=15)
def test_order_ceiling_and_symmetry(counts: tuple[int, int, int, int], delta: float) -> None:
    tp, fn, fp, tn = counts
    interval = epsilon_posterior(Confusion(*counts), delta=delta)
    assert 0 <= interval.low <= interval.high < np.inf
    assert interval.low <= interval.ceiling
    exchanged = epsilon_posterior(Confusion(tn, fp, fn, tp), delta=delta)
    assert exchanged.low == pytest.approx(interval.low, abs=2e-3)
    assert exchanged.high == pytest.approx(interval.high, abs=2e-3)
    grid = [posterior_probability(Confusion(*counts), e, delta=delta) for e in (0, 0.3, 1, 4, 1e4)]
    assert grid == sorted(grid)
    assert grid[-1] == pytest.approx(1)


def test_mass_at_zero_gives_a_low_end_of_zero() -> None:
    none = epsilon_posterior(Confusion(50, 50, 50, 50), delta=0.3)
    assert none.low == none.high == 0.0
    assert none.ceiling > 1


def test_it_says_that_it_is_no_guarantee() -> None:
    interval = epsilon_posterior(Confusion(5, 5, 5, 5), delta=0)
    assert "not a frequentist guarantee" in interval.method
    assert "priors" in interval.assumption
    assert (interval.unit, interval.alpha, interval.delta) == ("nats", 0.05, 0.0)
    assert (interval.n_members, interval.n_nonmembers) == (10, 10)


def test_it_is_no_guarantee() -> None:
    """Rare events, no leak: the interval excludes 0 in more than alpha / 2 of the samples."""
    n, counts = 30, np.arange(8)
    chance = np.outer(*[stats.binom.pmf(counts, n, 0.02)] * 2)
    excluded = np.array(
        [
            [
                posterior_probability(Confusion(i, n - i, j, n - j), 0.0, delta=0.0) <= 0.025
                for j in counts
            ]
            for i in counts
        ]
    )
    exact = epsilon_limit(counts[:, None], n, counts, n, delta=0, alpha=0.05) > 0
    assert chance[exact].sum() <= 0.05
    assert chance[excluded].sum() > 0.9  # a continuous law of two sides has no mass at 0


@pytest.mark.parametrize("epsilon", [-1.0, np.inf, np.nan])
def test_impossible_epsilon_is_refused(epsilon: float) -> None:
    with pytest.raises(UsageError, match="epsilon must be finite"):
        posterior_probability(Confusion(1, 1, 1, 1), epsilon, delta=0)
