"""Influence: a loop, a learner with a known answer, blocks, limits and counts of pairs."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from attacks.errors import DataError, ShapeError, UnderPowered
from attacks.memorization import influence, influence_matrix, influence_pairs
from tests.attacks.memorization.synthetic import (
    coin_design,
    flipped_digits,
    nearest_neighbour_answers,
    paired_halves,
    random_subsets,
)


def slow_influence(keep, answers):
    out = np.empty((answers.shape[1], keep.shape[1]))
    for j in range(answers.shape[1]):
        for i in range(keep.shape[1]):
            out[j, i] = answers[keep[:, i], j].mean() - answers[~keep[:, i], j].mean()
    return out


def design(seed, n_models=48, n=9, n_test=7, soft=False):
    rng = np.random.default_rng(seed)
    keep = random_subsets(n_models, n, n // 2, rng)
    keep[:8] = True
    keep[8:16] = False
    answers = rng.random((n_models, n_test))
    return keep, answers if soft else answers < 0.5, rng


@given(st.integers(0, 10**6), st.booleans())
def test_matrix_equals_an_obvious_loop(seed, soft):
    keep, answers, _ = design(seed, soft=soft)
    expected = slow_influence(keep, answers)
    result = influence_matrix(keep, answers, soft=soft)
    np.testing.assert_allclose(result, expected, atol=1e-6 if soft else 1e-14)


@given(st.integers(0, 10**6), st.booleans(), st.sampled_from([1, 2, 3, 2048]))
def test_pairs_equal_an_obvious_loop(seed, soft, block):
    keep, answers, rng = design(seed, soft=soft)
    labels, test_labels = rng.integers(0, 3, 9), rng.integers(0, 3, 7)
    values = slow_influence(keep, answers)
    expected = sorted(
        (-values[j, i], j, i)
        for j in range(7)
        for i in range(9)
        if labels[i] == test_labels[j] and values[j, i] >= 0.15
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(influence, "_BLOCK", block)
        result = influence_pairs(keep, answers, labels, test_labels, soft=soft)
    assert list(zip(result.test, result.train, strict=True)) == [pair[1:] for pair in expected]
    np.testing.assert_allclose(result.value, [-pair[0] for pair in expected], atol=1e-12)
    assert result.n_found == len(expected)
    assert result.n_compared == sum(labels[i] == c for c in test_labels for i in range(9))
    per_test = [sum(pair[1] == j for pair in expected) for j in range(7)]
    assert result.pairs_per_test.tolist() == per_test
    assert result.n_test_affected == sum(c > 0 for c in per_test)
    assert result.n_test_affected_by_one == sum(c == 1 for c in per_test)
    for r, (i, j) in enumerate(zip(result.train, result.test, strict=True)):
        inside, outside = answers[keep[:, i], j], answers[~keep[:, i], j]
        error = (np.var(inside) / inside.size + np.var(outside) / outside.size) ** 0.5
        assert result.standard_error[r] == pytest.approx(error)
        assert result.low[r] < result.value[r] < result.high[r]


def test_the_only_neighbour_decides():
    """Each test point is nearest to one record of its class, all others are of another class."""
    n = 12
    train = np.column_stack([10.0 * np.arange(n), np.zeros(n)])
    labels = np.arange(n) % 6
    queries = train[:6] + [0.0, 1.0]
    rng = np.random.default_rng(0)
    keep = paired_halves(256, n, rng)
    answers = nearest_neighbour_answers(train, labels, keep, queries, labels[:6])
    result = influence_pairs(keep, answers, labels, labels[:6])
    strongest = dict(zip(result.test[::-1], result.train[::-1], strict=True))
    assert strongest == {j: j for j in range(6)}
    own = influence_matrix(keep, answers)[np.arange(6), np.arange(6)]
    assert np.all(own > 0.9)
    assert result.is_sure[result.train == result.test].all()


def test_influence_on_real_digits_is_that_of_near_and_equal_records():
    """Influential records lie nearer to the test record than most of its class do."""
    points, labels, flipped = flipped_digits()
    train, test = slice(0, 300), slice(900, 1100)
    keep = paired_halves(128, 300, np.random.default_rng(3))
    answers = nearest_neighbour_answers(
        points[train], labels[train], keep, points[test], labels[test]
    )
    result = influence_pairs(keep, answers, labels[train], labels[test], threshold=0.3)
    assert result.n_found > 20
    assert result.is_sure.mean() > 0.3
    nearer = []
    for i, j in zip(result.train[result.is_sure], result.test[result.is_sure], strict=True):
        same = np.flatnonzero(labels[train] == labels[test][j])
        distance = np.linalg.norm(points[train] - points[test][j], axis=1)
        nearer.append(np.mean(distance[same] < distance[i]))
    assert np.mean(nearer) < 0.1


@pytest.mark.parametrize("twins", [True, False])
def test_pairs_without_influence_are_never_sure(twins):
    """A test record that one training record decides alone says nothing about the others."""
    rng, alarms, estimates, errors = np.random.default_rng(4), 0, [], []
    for _ in range(30):
        keep = paired_halves(64, 60, rng) if twins else coin_design(64, 60, 0.5, rng)
        answers = keep[:, :20]
        labels = np.zeros(60, dtype=int)
        result = influence_pairs(keep, answers, labels, labels[:20])
        real = result.train == result.test
        assert real.sum() == 20
        assert result.is_sure[real].all()
        alarms += bool(result.is_sure[~real].any())
        # Judge the standard error on all pairs, not on those selected for being large.
        everything = influence_pairs(keep, answers, labels, labels[:20], threshold=1e-9)
        half = everything.train >= 20
        estimates.extend(everything.value[half])
        errors.extend(everything.standard_error[half])
    assert alarms <= 6
    spread = np.sqrt(np.mean(np.square(estimates)))
    assert np.sqrt(np.mean(np.square(errors))) == pytest.approx(spread, rel=0.1)
    assert spread == pytest.approx((2 if twins else 1) ** 0.5 * 0.125, rel=0.1)


def test_the_strongest_pairs_are_kept_and_all_are_counted():
    keep, answers, rng = design(1)
    labels = np.zeros(9, dtype=int)
    everything = influence_pairs(keep, answers, labels, labels[:7], threshold=0.01)
    few = influence_pairs(keep, answers, labels, labels[:7], threshold=0.01, max_pairs=3)
    assert everything.n_found == few.n_found > 3
    assert few.value.tolist() == everything.value[:3].tolist()
    assert few.train.tolist() == everything.train[:3].tolist()
    assert few.pairs_per_test.tolist() == everything.pairs_per_test.tolist()
    columns = rng.permutation(9)
    moved = influence_pairs(keep[:, columns], answers, labels, labels[:7], threshold=0.01)
    pairs = set(zip(columns[moved.train], moved.test, strict=True))
    assert pairs == set(zip(everything.train, everything.test, strict=True))


def test_records_with_few_models_are_left_out():
    keep, answers, _ = design(2)
    keep[:, 4] = np.arange(48) < 3
    labels = np.zeros(9, dtype=int)
    result = influence_pairs(keep, answers, labels, labels[:7], threshold=0.01)
    assert 4 not in result.train
    assert (result.n_train_refused, result.n_compared) == (1, 7 * 8)
    matrix = influence_matrix(keep, answers)
    assert matrix.mask[:, 4].all()
    assert not matrix.mask[:, :4].any()


def test_nothing_is_found_in_other_classes_or_constant_answers():
    keep = paired_halves(32, 6, np.random.default_rng(0))
    labels = np.zeros(6, dtype=int)
    other = influence_pairs(keep, keep, labels, labels + 1)
    assert (other.n_found, other.n_compared, other.n_test_affected) == (0, 0, 0)
    constant = influence_pairs(keep, np.ones_like(keep), labels, labels)
    assert (constant.n_found, constant.n_compared) == (0, 36)
    assert np.all(influence_matrix(keep, np.ones_like(keep)) == 0)
    assert other.value.shape == other.low.shape == other.is_sure.shape == (0,)


def test_swapping_sides_flips_the_sign():
    keep, answers, _ = design(3)
    np.testing.assert_allclose(
        influence_matrix(~keep, answers), -influence_matrix(keep, answers), atol=1e-15
    )


def test_what_is_refused():
    keep, answers, _ = design(0)
    labels = np.zeros(9)
    with pytest.raises(ShapeError, match="test_labels"):
        influence_pairs(keep, answers, labels, labels)
    with pytest.raises(ShapeError, match="labels of shape"):
        influence_pairs(keep, answers, labels[:3], labels[:7])
    with pytest.raises(ShapeError, match="m = 48"):
        influence_pairs(keep, answers[1:], labels, labels[:7])
    with pytest.raises(DataError, match="threshold"):
        influence_pairs(keep, answers, labels, labels[:7], threshold=0)
    with pytest.raises(DataError, match="max_pairs"):
        influence_pairs(keep, answers, labels, labels[:7], max_pairs=0)
    with pytest.raises(UnderPowered, match="8 models"):
        influence_pairs(keep[:12], answers[:12], labels, labels[:7])


def test_the_tests_notice_a_stub(monkeypatch):
    monkeypatch.setattr(
        influence, "_influence", lambda k, a, *c: np.zeros((a.shape[1], k.shape[1]))
    )
    with pytest.raises(AssertionError):
        test_the_only_neighbour_decides()
