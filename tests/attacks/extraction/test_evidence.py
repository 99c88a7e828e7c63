"""The threshold for copies: how often it claims what is none, and what it finds."""

from __future__ import annotations

import numpy as np
import pytest

from attacks.errors import DataError
from attacks.extraction.evidence import copy_threshold, critical_ratio, smallest_by_record


@pytest.mark.parametrize("k", [1, 2, 4, 10, 30])
@pytest.mark.parametrize(("n1", "n0"), [(100, 100), (400, 100), (100, 400)])
def test_a_model_that_knows_neither_side_is_rarely_accused(k, n1, n0):
    rng = np.random.default_rng(k * n1)
    false = 0
    for _ in range(1000):
        members, others = rng.random(n1) ** (1 / k), rng.random(n0) ** (1 / k)
        false += members.min() <= copy_threshold(others, n1).distance
    assert false <= 1000 * (0.01 + 3 * np.sqrt(0.01 * 0.99 / 1000))


@pytest.mark.parametrize("dimension", [2, 8])
def test_nearest_neighbours_of_real_geometry_are_rarely_accused(dimension):
    rng = np.random.default_rng(dimension)
    false = 0
    for _ in range(300):
        images = rng.normal(size=(60, dimension))
        records = rng.normal(size=(240, dimension))
        nearest = np.linalg.norm(images[:, None] - records[None], axis=2).min(0)
        false += nearest[:120].min() <= copy_threshold(nearest[120:], 120).distance
    assert false <= 300 * (0.01 + 3 * np.sqrt(0.01 * 0.99 / 300))


def test_a_planted_copy_is_below_and_the_threshold_above_zero():
    rng = np.random.default_rng(0)
    others = 0.1 + 0.2 * rng.random(200)
    found = copy_threshold(others, 200)
    assert 0.01 < found.distance <= 0.5 * others.min()


def test_low_dimension_and_many_members_make_it_stricter():
    rng = np.random.default_rng(1)
    line, cube = rng.random(200), rng.random(200) ** (1 / 9)
    assert copy_threshold(line, 200).distance / line.min() < 0.03
    assert copy_threshold(cube, 200).distance / cube.min() > 0.3
    assert copy_threshold(line, 2000).distance < copy_threshold(line, 200).distance


def test_a_nonmember_that_was_copied_leaves_no_threshold():
    assert copy_threshold(np.r_[0.0, np.linspace(0.1, 1, 50)], 50).distance == 0


def test_the_critical_ratio_does_not_depend_on_the_dimension():
    rng = np.random.default_rng(2)
    for k in (1, 7):
        ratios = []
        for _ in range(4000):
            others = np.sort(rng.random(300) ** (1 / k))
            excess = np.log(others[20] / others[:20]).mean()
            ratios.append(np.log(others[0] / (rng.random(600) ** (1 / k)).min()) / excess)
        assert np.mean(np.array(ratios) > critical_ratio(20, 2.0, 0.05)) == pytest.approx(
            0.05, abs=0.011
        )


def test_fewer_nonmembers_are_trusted_less():
    assert critical_ratio(4, 1.0, 0.01) > critical_ratio(20, 1.0, 0.01) > np.log(99)


def test_too_few_nonmembers_are_refused():
    with pytest.raises(DataError, match="20"):
        copy_threshold(np.ones(19), 10)


def test_smallest_by_record():
    found = smallest_by_record(np.array([0, 2, 0]), np.array([3.0, 1.0, 2.0]), 3)
    assert found.tolist() == [2.0, np.inf, 1.0]
