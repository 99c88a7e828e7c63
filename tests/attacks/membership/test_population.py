"""Shares of a population: the table of all pairs, ties, and their order."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from attacks.membership import _population
from tests.attacks.membership.synthetic import SEEDS, SIZES

VALUES = st.lists(st.integers(-3, 3).map(float), min_size=1, max_size=8).map(np.array)


@given(values=VALUES, population=VALUES, gap=st.sampled_from([-1.0, 0.0, 0.5, 1.0]))
def test_equals_the_table_of_all_pairs(values, population, gap):
    table = values[:, None] - gap >= population[None, :]
    found = _population.share_below(values, population, gap=gap)
    assert found.tolist() == table.mean(axis=1).tolist()
    table = values[:, None] - gap > population[None, :]
    found = _population.share_below(values, population, gap=gap, strict=True)
    assert found.tolist() == table.mean(axis=1).tolist()


@given(seed=SEEDS, n=SIZES)
def test_the_order_of_the_population_does_not_matter(seed, n):
    rng = np.random.default_rng(seed)
    values, population = rng.normal(size=n), rng.normal(size=9)
    for share in (_population.share_below, _population.share_below_without_ties):
        expected = share(values, population).tolist()
        assert share(values, rng.permutation(population)).tolist() == expected


@given(values=VALUES, population=VALUES, strict=st.booleans())
def test_without_ties_the_order_is_that_of_the_values(values, population, strict):
    found = _population.share_below_without_ties(values, population, strict=strict)
    assert np.all((found > 0) & (found < 1))
    differences = np.sign(found[:, None] - found[None, :])
    assert np.array_equal(differences, np.sign(values[:, None] - values[None, :]))
    share = _population.share_below(values, population, strict=strict)
    z = len(population)
    np.testing.assert_array_equal(np.floor(found * (z + 1)), np.rint(share * z))


def test_squash_keeps_order_far_out():
    values = np.array([-1e4, -9.9e3, -50.0, -40.0, 0.0, 40.0, 50.0, 9.9e3, 1e4])
    squashed = _population.squash(values)
    assert np.all(np.diff(squashed) > 0)
    assert squashed[0] > 0
    assert squashed[-1] < 1
