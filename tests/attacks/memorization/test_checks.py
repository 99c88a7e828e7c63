"""Identities between estimates, and agreement of split halves."""

from __future__ import annotations

import numpy as np
import pytest

from attacks.errors import ShapeError
from attacks.memorization import influence_matrix, memorization, self_check, split_half
from tests.attacks.memorization.synthetic import (
    coin_design,
    flipped_digits,
    monte_carlo,
    nearest_neighbour_answers,
    paired_halves,
)


def test_mean_memorization_is_the_accuracy_gap_when_counts_are_equal():
    digits = flipped_digits()
    keep = paired_halves(16, 300, np.random.default_rng(0))
    answers = nearest_neighbour_answers(digits.points[:300], digits.labels[:300], keep)
    check = self_check(keep, answers)
    assert check.is_balanced
    assert check.mean_memorization == pytest.approx(check.accuracy_gap, abs=1e-14)
    assert check.accuracy_gap == pytest.approx(answers[keep].mean() - answers[~keep].mean())
    assert check.accuracy_gap > 0.1
    assert check.holds()


def test_unequal_counts_are_noticed():
    keep, answers = monte_carlo()
    check = self_check(keep, answers)
    assert not check.is_balanced
    assert check.mean_memorization != check.accuracy_gap
    assert check.diagonal_error == 0
    assert check.holds()


@pytest.mark.parametrize("soft", [False, True])
def test_influence_on_itself_is_memorization(soft):
    rng = np.random.default_rng(1)
    keep = coin_design(50, 600, 0.4, rng)
    answers = rng.random(keep.shape) if soft else rng.random(keep.shape) < 0.5
    diagonal = np.diagonal(influence_matrix(keep, answers, soft=soft))
    np.testing.assert_allclose(diagonal, memorization(keep, answers, soft=soft).value, atol=1e-6)
    check = self_check(keep, answers, soft=soft)
    assert check.diagonal_error < 1e-6
    assert check.holds()


def test_the_check_fails_where_the_two_paths_differ(monkeypatch):
    keep = paired_halves(32, 10, np.random.default_rng(0))
    monkeypatch.setattr(
        "attacks.memorization.checks.self_influence", lambda keep, answers: np.zeros(10)
    )
    assert not self_check(keep, keep).holds()


def test_records_without_enough_models_are_left_out():
    keep = paired_halves(32, 6, np.random.default_rng(0))
    keep[:, 2] = False
    check = self_check(keep, keep)
    assert check == (1.0, 1.0, True, 0.0)


def test_split_halves_of_a_real_learner_agree():
    keep, answers = monte_carlo()
    result = split_half(keep, answers, np.arange(400) < 200)
    assert 0.9 < result.correlation.value < 1
    assert result.correlation.low > 0.9
    assert 0.7 < result.jaccard < 1
    assert result.n_records == 1797
    few = split_half(keep[:64], answers[:64], np.arange(64) < 32)
    assert few.correlation.value < result.correlation.value
    rng = np.random.default_rng(0)
    nothing = split_half(keep, rng.random(answers.shape) < 0.5, np.arange(400) < 200)
    assert abs(nothing.correlation.value) < 0.08


def test_split_halves_of_what_cannot_be_compared():
    keep = paired_halves(32, 20, np.random.default_rng(0))
    constant = split_half(keep, np.zeros_like(keep), np.arange(32) < 16)
    assert constant.correlation.value is None
    assert constant.jaccard is None
    one_sided = keep.copy()
    one_sided[:16, :10] = False  # the first half knows records 10 to 19 only
    one_sided[16:, 10:] = False
    result = split_half(one_sided, one_sided, np.arange(32) < 16)
    assert result.n_records == 0
    assert "both halves" in result.correlation.reason
    with pytest.raises(ShapeError, match="is_first"):
        split_half(keep, keep, np.ones(5))
