"""Cost of suppression by group: a loop, the theorem, a real learner, and estimated coefficients."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.distance import cdist

from attacks.errors import DataError, ShapeError
from attacks.memorization import (
    dp_memorization_limit,
    expected_mass,
    observed_coefficients,
    suppression,
    suppression_cost,
    tail_coefficients,
    zipf,
)


@given(
    st.lists(st.tuples(st.integers(1, 6), st.sampled_from("abc")), min_size=1, max_size=20),
    st.integers(1, 5),
    st.floats(0, 1),
    st.floats(0, 1),
)
def test_equals_an_obvious_loop(clusters, up_to, guess, gamma):
    sizes, groups = map(list, zip(*clusters, strict=True))
    tau = np.linspace(0.01, 0.05, up_to)
    result = suppression_cost(sizes, groups, tau, guess=guess, gamma=gamma)
    expected = dict.fromkeys(groups, 0.0)
    for size, group in clusters:
        if size <= up_to:
            expected[group] += tau[size - 1] * max(0, 1 - guess - size * gamma)
    assert {g.group: g.cost for g in result.groups} == pytest.approx(expected)
    assert result.total == pytest.approx(sum(expected.values()))
    for g in result.groups:
        own = [s for s, name in clusters if name == g.group]
        assert (g.n_clusters, g.n_records) == (len(own), sum(own))
        assert g.n_suppressed == sum(s for s in own if s <= up_to)
        assert g.cost_within == pytest.approx(g.cost * sum(sizes) / sum(own))
    costs = [g.cost_within for g in result.groups]
    assert costs == sorted(costs, reverse=True)
    if len(costs) > 1:
        assert result.disparity == costs[0] - costs[-1]
    else:
        assert result.disparity is None


def draw_sizes(n, rng, n_points=1000):
    """Counts of every point, and which half of the frequencies it belongs to."""
    times = rng.multinomial(n, zipf(n_points))
    return times, np.where(np.arange(n_points) < n_points // 20, "frequent", "rare")


def test_the_total_is_the_mass_that_the_theorem_says():
    rng, n, a = np.random.default_rng(0), 1000, zipf(1000)
    tau = tail_coefficients(a, n, [1, 2])
    totals = []
    for _ in range(300):
        times, groups = draw_sizes(n, rng)
        seen = times > 0
        totals.append(suppression_cost(times[seen], groups[seen], tau, guess=0.1).total)
    expected = 0.9 * expected_mass(a, n, [1, 2]).sum()
    assert np.mean(totals) == pytest.approx(expected, abs=4 * np.std(totals) / 300**0.5)


def test_the_group_of_rare_clusters_pays():
    times, groups = draw_sizes(1000, np.random.default_rng(1))
    seen = times > 0
    tau = tail_coefficients(zipf(1000), 1000)
    result = suppression_cost(times[seen], groups[seen], [tau], guess=0.1)
    assert [g.group for g in result.groups] == ["rare", "frequent"]
    assert result.groups[0].cost_within > 10 * result.groups[1].cost_within
    assert result.disparity > 0.1


def test_a_cap_costs_less_the_laxer_it_is():
    args = [1, 1, 2], ["a", "b", "b"], [0.01, 0.02]
    totals = [suppression_cost(*args, guess=0.1, gamma=g).total for g in (0, 0.2, 0.45, 0.899, 0.9)]
    np.testing.assert_allclose(totals, [0.036, 0.024, 0.009, 2e-5, 0], atol=1e-12)
    by_cluster = suppression_cost(*args, guess=[0.1, 0.5, 1.0]).total
    assert by_cluster == pytest.approx(0.01 * 0.9 + 0.01 * 0.5)


def test_a_real_learner_that_drops_singletons_pays_about_as_much():
    """1-NN on Gaussian subpopulations of Zipf frequencies, with and without those seen once."""
    rng, n, n_points, d, k = np.random.default_rng(2), 500, 500, 128, 10
    a, excess, predicted = zipf(n_points), [], []
    for _ in range(12):
        centres = rng.normal(size=(n_points, d))
        labels = rng.integers(0, k, n_points)
        drawn = rng.choice(n_points, n, p=a)
        points = centres[drawn] + 0.2 * rng.normal(size=(n, d))
        times = np.bincount(drawn, minlength=n_points)
        queries = centres + 0.2 * rng.normal(size=(n_points, d))
        distance, once = cdist(queries, points), times[drawn] == 1
        fitted = labels[drawn[distance.argmin(axis=1)]]
        dropped = labels[drawn[~once][distance[:, ~once].argmin(axis=1)]]
        excess.append(a @ (dropped != labels) - a @ (fitted != labels))
        groups = np.full((times > 0).sum(), "all")
        tau = [tail_coefficients(a, n)]
        predicted.append(suppression_cost(times[times > 0], groups, tau, guess=1 / k).total)
    assert np.mean(predicted) > 0.05
    assert np.mean(excess) == pytest.approx(np.mean(predicted), rel=0.1)


def test_observed_coefficients_find_those_of_the_frequencies():
    rng, n, a = np.random.default_rng(3), 1000, zipf(1000)
    tau = tail_coefficients(a, n, [1, 2, 3])
    estimates, covered = [], []
    for _ in range(300):
        times, _ = draw_sizes(n, rng)
        found = observed_coefficients(times[times > 0], up_to=3)
        estimates.append([e.value for e in found])
        covered.append([e.low <= t <= e.high for e, t in zip(found, tau, strict=True)])
    error = np.abs(np.mean(estimates, axis=0) / tau - 1)
    assert np.all(error < [0.03, 0.03, 0.12])  # few clusters have three records
    assert np.all(np.mean(covered, axis=0) > 0.94)


def test_observed_coefficients_by_hand():
    sizes = [1] * 10 + [2] * 5 + [4]
    one, two, three, four = observed_coefficients(sizes, up_to=4)
    assert one.value == pytest.approx(2 * 5 / (24 * 10))
    assert one.low < one.value < one.high
    assert (two.value, two.low) == (0, 0)
    assert two.high > 0
    assert three.value is None
    assert three.reason == "no cluster has 3 records"
    assert four.value == 0


def test_private_learners_are_limited():
    assert dp_memorization_limit(0) == 0
    assert dp_memorization_limit(0.1, 0.01) == pytest.approx(0.11517, abs=1e-5)
    assert dp_memorization_limit(8) == 1
    assert dp_memorization_limit(1e6) == 1
    with pytest.raises(DataError, match="epsilon"):
        dp_memorization_limit(-1)


def test_randomised_response_keeps_the_limit():
    """A learner that returns the record's label with the probability that its epsilon allows."""
    for epsilon in (0.1, 0.5, 2.0):
        right = np.exp(epsilon) / (
            np.exp(epsilon) + 1
        )  # two classes; a guess is right half the time
        assert right - 0.5 <= dp_memorization_limit(epsilon)


def test_what_is_refused():
    with pytest.raises(ShapeError, match="groups"):
        suppression_cost([1, 2], ["a"], [0.1], guess=0.1)
    with pytest.raises(ShapeError, match="coefficients"):
        suppression_cost([1], ["a"], 0.1, guess=0.1)
    with pytest.raises(DataError, match="frequencies"):
        suppression_cost([1], ["a"], [2], guess=0.1)
    with pytest.raises(DataError, match="guess and gamma"):
        suppression_cost([1], ["a"], [0.1], guess=1.1)
    with pytest.raises(DataError, match="guess and gamma"):
        suppression_cost([1], ["a"], [0.1], guess=0.1, gamma=-0.1)
    with pytest.raises(DataError, match="integers"):
        observed_coefficients([0, 1])
    with pytest.raises(DataError, match="integers"):
        observed_coefficients([1.0])
    with pytest.raises(ShapeError, match=r"\(c,\)"):
        observed_coefficients([])
    with pytest.raises(DataError, match="up_to"):
        observed_coefficients([1], up_to=0)


def test_the_tests_notice_a_stub(monkeypatch):
    def nothing(name, own, sizes, is_rare, cost):
        return suppression.GroupCost(str(name), 1, 1, 0, 0.0, 0.0)

    monkeypatch.setattr(suppression, "_group_cost", nothing)
    with pytest.raises(AssertionError):
        test_the_group_of_rare_clusters_pays()
