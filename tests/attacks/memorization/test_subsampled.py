"""Subsampled memorization: oracle, twin, identities, learners with a known answer, refusals."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from attacks.errors import DataError, ShapeError, UnderPowered
from attacks.memorization import (
    _design,
    memorization,
    memorized_records,
    nearest_neighbour_memorization,
    rms_error_bound,
)
from attacks.statistics import auc
from tests.attacks.memorization.synthetic import (
    coin_design,
    flipped_digits,
    monte_carlo,
    paired_halves,
    random_subsets,
)


def slow_means(keep, answers, i):
    """Counts and means of record i, one model at a time."""
    inside = [float(a[i]) for k, a in zip(keep, answers, strict=True) if k[i]]
    outside = [float(a[i]) for k, a in zip(keep, answers, strict=True) if not k[i]]
    return inside, outside


@given(
    st.integers(1, 40), st.integers(1, 6), st.floats(0.1, 0.9), st.booleans(), st.integers(0, 999)
)
def test_equals_an_obvious_loop(n_models, n, share, soft, seed):
    rng = np.random.default_rng(seed)
    keep = coin_design(n_models, n, share, rng)
    answers = rng.random((n_models, n)) if soft else rng.random((n_models, n)) < 0.6
    sides = [slow_means(keep, answers, i) for i in range(n)]
    if all(min(map(len, pair)) < 8 for pair in sides):
        with pytest.raises(UnderPowered, match=f"none of {n} records"):
            memorization(keep, answers, soft=soft)
        return
    result = memorization(keep, answers, soft=soft)
    assert result.kind == ("confidence" if soft else "label")
    for i, (inside, outside) in enumerate(sides):
        assert (result.n_in[i], result.n_out[i]) == (len(inside), len(outside))
        if min(len(inside), len(outside)) < 8:
            assert result.value.mask[i]
            assert np.isnan(result.value.data[i])
            assert "models are too few; 8 of each" in result.reason(i)
            continue
        assert result.reason(i) is None
        assert result.value[i] == pytest.approx(np.mean(inside) - np.mean(outside), abs=1e-12)
        assert result.mean_out[i] == pytest.approx(np.mean(outside), abs=1e-12)
        if not result.has_twins:
            variance = np.var(inside) / len(inside) + np.var(outside) / len(outside)
            assert result.standard_error[i] == pytest.approx(variance**0.5, abs=1e-12)
        assert -1 <= result.low[i] <= result.value[i] <= result.high[i] <= 1
    assert result.n_refused == sum(min(map(len, pair)) < 8 for pair in sides)


def test_agrees_with_the_oracle_on_digits():
    digits = flipped_digits()
    keep, answers = monte_carlo()
    truth = nearest_neighbour_memorization(*digits[:2], int(0.7 * len(digits.labels))).value
    result = memorization(keep, answers)
    error = result.value - truth
    assert np.sqrt(np.mean(error**2)) == pytest.approx(0.020, abs=0.002)
    assert np.abs(error).max() < 0.18
    assert np.sqrt(np.mean(error**2)) < result.rms_error_bound
    assert abs(error.mean()) < 0.002
    assert np.all(result.mean_in == 1)
    inside = (result.low <= truth) & (truth <= result.high)
    assert inside.mean() > 0.95
    z = error / np.where(result.standard_error > 0, result.standard_error, np.inf)
    assert z[(truth > 0.1) & (truth < 0.9)].std() == pytest.approx(1, abs=0.15)
    flipped = digits.is_flipped
    value = result.value.filled(np.nan)
    assert auc(value[flipped], value[~flipped]).value > 0.998
    found = memorized_records(result)
    assert np.mean(np.isin(np.flatnonzero(flipped), found.record)) == 1
    assert found.share == pytest.approx(np.mean(truth >= 0.25), abs=0.02)
    assert 0.8 < found.is_sure.mean() < 1


def test_bookkeeping_errors_are_far_from_the_oracle():
    """Swapped sides, answers in another order, and a mask of other models fail by more than .5."""
    digits = flipped_digits()
    keep, answers = monte_carlo()
    truth = nearest_neighbour_memorization(*digits[:2], int(0.7 * len(digits.labels))).value
    rng = np.random.default_rng(0)
    wrong = {
        "swapped": memorization(~keep, answers),
        "other order": memorization(keep, answers[:, rng.permutation(answers.shape[1])]),
        "other models": memorization(keep, answers[rng.permutation(len(keep))]),
    }
    flipped = digits.is_flipped
    for name, result in wrong.items():
        assert np.abs(result.value - truth)[flipped].mean() > 0.5, name


@pytest.mark.parametrize(
    ("n_models", "seven_tenths", "half"), [(128, 0.287, 0.201), (2000, 0.0488, 0.0447)]
)
def test_golden_error_bounds(n_models, seven_tenths, half):
    digits = len(str(half).split(".")[1])
    assert round(rms_error_bound(n_models, 0.7), digits) == seven_tenths
    assert round(rms_error_bound(n_models, 0.5), digits) == half
    assert rms_error_bound(n_models, 0.3) == pytest.approx(rms_error_bound(n_models, 0.7))


def test_golden_error_bounds_at_the_published_number_of_models():
    assert round(rms_error_bound(4000, 0.7), 4) == 0.0345
    assert round(rms_error_bound(4000, 0.5), 4) == 0.0316
    for n_models, share in ((0, 0.5), (10, 0.0), (10, 1.0)):
        with pytest.raises(DataError, match="leave some records out"):
            rms_error_bound(n_models, share)


@pytest.mark.parametrize("design", ["halves", "subsets"])
def test_the_bound_holds_in_nearly_all_replicas(design):
    rng, n, t = np.random.default_rng(5), 40, 64
    p_in, p_out = rng.random(n), rng.random(n)
    held, runs = 0, 300
    for _ in range(runs):
        keep = paired_halves(t, n, rng) if design == "halves" else random_subsets(t, n, 28, rng)
        result = memorization(keep, rng.random((t, n)) < np.where(keep, p_in, p_out))
        held += np.sqrt(np.mean((result.value - (p_in - p_out)) ** 2)) <= result.rms_error_bound
    assert held >= 0.99 * runs


def test_a_lookup_table_memorizes_all_but_lucky_guesses():
    """With the record right, without it one of k balanced labels by chance: 1 - 1/k."""
    rng, n, t, k = np.random.default_rng(2), 400, 200, 10
    keep = paired_halves(t, n, rng)
    result = memorization(keep, keep | (rng.random((t, n)) < 1 / k))
    assert result.value.mean() == pytest.approx(1 - 1 / k, abs=0.005)
    assert np.all(result.low > 0.6)
    assert memorized_records(result).is_sure.all()


@pytest.mark.parametrize("answer", [True, False])
def test_a_constant_classifier_memorizes_nothing(answer):
    keep = paired_halves(32, 20, np.random.default_rng(0))
    result = memorization(keep, np.full(keep.shape, answer))
    assert np.all(result.value == 0)
    assert np.all(result.standard_error == 0)
    assert np.all((result.low < -0.1) & (result.high > 0.1))
    assert memorized_records(result).record.size == 0


def test_swapping_sides_flips_the_sign_and_records_may_be_reordered():
    rng = np.random.default_rng(4)
    keep = coin_design(60, 30, 0.6, rng)
    answers = rng.random(keep.shape) < np.where(keep, 0.9, 0.4)
    result, swapped = memorization(keep, answers), memorization(~keep, answers)
    np.testing.assert_allclose(swapped.value, -result.value)
    np.testing.assert_allclose(swapped.low, -result.high)
    np.testing.assert_allclose(swapped.standard_error, result.standard_error)
    columns, rows = rng.permutation(30), rng.permutation(60)
    moved = memorization(keep[rows][:, columns], answers[rows][:, columns])
    np.testing.assert_allclose(moved.value, result.value[columns], atol=1e-15)
    as_numbers = memorization(keep.astype(np.uint8), answers.astype(float))
    assert np.array_equal(as_numbers.value, result.value)


def test_blocks_of_records_change_nothing(monkeypatch):
    rng = np.random.default_rng(6)
    keep = coin_design(40, 23, 0.5, rng)
    p_true = rng.random(keep.shape)
    whole = memorization(keep, p_true, soft=True)
    monkeypatch.setattr(_design, "_ELEMENTS", 5 * 40)
    blocked = memorization(keep, p_true, soft=True)
    for name in ("value", "standard_error", "low", "high"):
        np.testing.assert_allclose(getattr(blocked, name), getattr(whole, name), atol=1e-15)


def test_softness_lowers_the_error():
    """The probability itself varies less than an answer drawn from it."""
    rng, n = np.random.default_rng(7), 500
    keep = paired_halves(64, n, rng)
    p_true = np.clip(np.where(keep, 0.8, 0.5) + rng.normal(0, 0.1, keep.shape), 0, 1)
    soft = memorization(keep, p_true, soft=True)
    hard = memorization(keep, rng.random(keep.shape) < p_true)
    assert soft.value.mean() == pytest.approx(0.3, abs=0.01)
    assert np.std(soft.value) < 0.4 * np.std(hard.value)
    assert soft.standard_error.mean() == pytest.approx(np.std(soft.value), rel=0.15)
    same = memorization(keep, keep, soft=True)
    assert np.array_equal(same.value, memorization(keep, keep).value)


def test_twins_make_the_error_right():
    """Exactly one twin of each pair is right: the error is larger than counts alone say."""
    rng, n, runs = np.random.default_rng(8), 30, 200
    estimates, errors, naive = [], [], []
    for _ in range(runs):
        keep = paired_halves(64, n, rng)
        one = np.repeat(rng.random((32, n)) < 0.5, 2, axis=0)
        answers = one ^ (np.arange(64) % 2 == 1)[:, None]
        result = memorization(keep, answers)
        assert result.has_twins
        estimates.append(result.value)
        errors.append(result.standard_error.mean())
        shuffled = np.r_[np.arange(0, 64, 2), np.arange(1, 64, 2)]
        apart = memorization(keep[shuffled], answers[shuffled])
        assert not apart.has_twins
        naive.append(apart.standard_error.mean())
    spread = np.std(estimates)
    assert np.mean(errors) == pytest.approx(spread, rel=0.05)
    assert np.mean(naive) == pytest.approx(spread / 2**0.5, rel=0.05)


def test_memorized_records_are_sorted_and_say_which_are_sure():
    keep = paired_halves(64, 4, np.random.default_rng(0))
    rates = np.array([0.0, 1.0, 0.7, 0.5])
    in_order = np.cumsum(~keep, axis=0) <= rates * 32  # exact shares of right OUT answers
    result = memorization(keep, keep | in_order)
    np.testing.assert_allclose(result.value, [1, 0, 1 - 22 / 32, 0.5])
    found = memorized_records(result)
    assert found.record.tolist() == [0, 3, 2]
    assert np.all(np.diff(found.value) <= 0)
    assert found.is_sure.tolist() == [True, True, False]
    assert found.share == 0.75
    assert memorized_records(result, 0.6).record.tolist() == [0]


def test_refused_records_are_not_memorized_and_survive_a_lost_mask():
    rng = np.random.default_rng(1)
    keep = paired_halves(32, 3, rng)
    keep[:, 1] = np.arange(32) < 7
    result = memorization(keep, keep)
    assert result.n_refused == 1
    assert result.value.tolist() == [1.0, None, 1.0]
    assert result.reason(1) == "7 IN models are too few; 8 of each are needed"
    assert np.isnan(np.asarray(result.value)[1])
    found = memorized_records(result)
    assert found.record.tolist() == [0, 2]
    assert found.n_estimated == 2


def test_what_is_refused():
    keep = paired_halves(32, 5, np.random.default_rng(0))
    with pytest.raises(DataError, match="soft=True"):
        memorization(keep, np.full(keep.shape, 0.5))
    with pytest.raises(DataError, match="probabilities"):
        memorization(keep, np.full(keep.shape, np.nan), soft=True)
    with pytest.raises(DataError, match="booleans"):
        memorization(keep * 2, keep)
    with pytest.raises(ShapeError, match="m = 32"):
        memorization(keep, keep[:31])
    with pytest.raises(ShapeError, match="order of keep"):
        memorization(keep, keep[:, :4])
    with pytest.raises(ShapeError, match=r"\(m, n\)"):
        memorization(keep[0], keep[0])


def test_the_tests_notice_a_stub(monkeypatch):
    def nothing(keep, answers, *, twins):
        n_in, n_out = _design.counts(keep)
        return _design.Sides(n_in, n_out, *np.zeros((5, keep.shape[1])))

    monkeypatch.setattr("attacks.memorization.subsampled.compare_sides", nothing)
    for check in (
        test_agrees_with_the_oracle_on_digits,
        test_a_lookup_table_memorizes_all_but_lucky_guesses,
        test_memorized_records_are_sorted_and_say_which_are_sure,
    ):
        with pytest.raises(AssertionError):
            check()
