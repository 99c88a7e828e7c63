from __future__ import annotations

import numpy as np
import pytest

from attacks.results import ControlStatus
from auditor.controls.competence import competence
from auditor.controls.negative import random_half, separates
from auditor.controls.positive import is_caught, n_above
from auditor.controls.sampling import draw


def test_fourteen_of_eighteen_is_caught_and_thirteen_is_not():
    assert is_caught(14)
    assert not is_caught(13)


def test_the_threshold_is_the_order_statistic_of_the_pass_bound():
    """With 110 others at 0.1 % the rank is 2: one outlier among them is forgiven."""
    others = np.arange(110.0)
    injected = np.array([108.5] * 14 + [0.0] * 4)
    assert n_above(injected, others, 0.001) == 14
    assert n_above(np.full(18, 108.0), others, 0.001) == 0


def test_an_attack_with_low_sensitivity_is_not_caught():
    rng = np.random.default_rng(0)
    caught = {0.2: 0, 0.95: 0}
    for sensitivity in caught:
        for _ in range(300):
            others, injected = rng.normal(size=110), rng.normal(size=18)
            injected[rng.random(18) < sensitivity] += 10
            caught[sensitivity] += is_caught(n_above(injected, others, 0.001))
    assert caught[0.2] <= 0.03 * 300
    assert caught[0.95] >= 0.95 * 300


def losses(mean, n=128, seed=0):
    return np.random.default_rng(seed).normal(mean, 0.05, (n, 9))


def test_competence_needs_to_beat_both_predictors():
    assert competence(losses(0.3), losses(1.1), losses(1.0)).status is ControlStatus.PASSED
    assert competence(losses(1.3), losses(1.1), losses(1.0)).status is ControlStatus.FAILED
    assert competence(losses(1.05), losses(1.1), losses(1.0)).status is ControlStatus.FAILED
    assert competence(losses(0.9), losses(0.8), losses(1.0)).status is ControlStatus.FAILED


def test_negative_control_notices_a_separation_and_only_that():
    rng = np.random.default_rng(0)
    is_first = np.arange(200) < 100
    shifted = {"a": rng.normal(size=200), "b": rng.normal(size=200) + 2 * is_first}
    assert separates("negative", "x", shifted, is_first, 0).status is ControlStatus.FAILED
    plain = {"a": rng.normal(size=200), "b": rng.normal(size=200)}
    assert separates("negative", "x", plain, is_first, 0).status is ControlStatus.PASSED
    assert separates("negative", "x", {}, is_first, 0).status is ControlStatus.NOT_RUN


def test_negative_control_fails_in_about_one_per_cent_of_clean_scans():
    rng = np.random.default_rng(1)
    is_first = np.arange(120) < 60
    failed = 0
    for seed in range(60):
        common = rng.normal(size=120)
        scores = {str(i): common + rng.normal(size=120) for i in range(5)}
        failed += separates("n", "x", scores, is_first, seed).status is ControlStatus.FAILED
    assert failed <= 4


def test_halves_and_draws_ignore_order():
    ids = [f"id{i}" for i in range(101)]
    half = random_half(ids, 0)
    assert half.sum() == 50
    again = random_half(ids[::-1], 0)
    assert np.array_equal(half, again[::-1])
    assert not np.array_equal(half, random_half(ids, 1))


class Named:
    def __init__(self, name):
        self.id = name


@pytest.mark.parametrize("n", [0, 3, 500])
def test_draw_is_a_function_of_seed_purpose_and_id(n):
    records = [Named(f"r{i}") for i in range(40)]
    first = [r.id for r in draw(records, n, 0, "a")]
    assert first == [r.id for r in draw(records[::-1], n, 0, "a")]
    assert len(first) == min(n, 40)
    if n == 3:
        assert first != [r.id for r in draw(records, n, 0, "b")]
