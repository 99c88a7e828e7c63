"""Proxies: golden values, loops, exact curvature of quadratics, refusals."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from attacks.errors import DataError, ShapeError, UnderPowered
from attacks.memorization import (
    c_score,
    el2n,
    forgetting_events,
    input_loss_curvature,
    lira_effect_size,
    memorization,
)
from tests.attacks.memorization.synthetic import coin_design, paired_halves


def softmax(z):
    e = np.exp(z - z.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def test_golden_el2n():
    p = softmax(np.array([[2.0, 1.0, 0.0]]))
    np.testing.assert_allclose(p, [[0.665241, 0.244728, 0.090031]], atol=5e-7)
    by_hand = (0.334759**2 + 0.244728**2 + 0.090031**2) ** 0.5
    assert by_hand == pytest.approx(0.424336, abs=5e-7)
    assert el2n(p, [0])[0] == pytest.approx(0.424336, abs=5e-7)


@given(st.integers(1, 4), st.integers(1, 5), st.integers(2, 6), st.integers(0, 999))
def test_el2n_equals_an_obvious_loop(m, n, k, seed):
    rng = np.random.default_rng(seed)
    p, labels = softmax(rng.normal(size=(m, n, k))), rng.integers(0, k, n)
    expected = [
        np.mean([np.linalg.norm(p[j, i] - np.eye(k)[labels[i]]) for j in range(m)])
        for i in range(n)
    ]
    np.testing.assert_allclose(el2n(p, labels), expected)
    np.testing.assert_allclose(el2n(p[0], labels), el2n(p[:1], labels))
    # Surely right, surely wrong.
    assert el2n(np.eye(k)[labels], labels) == pytest.approx(0)
    assert el2n(np.eye(k)[(labels + 1) % k], labels) == pytest.approx(2**0.5)


def test_el2n_refuses_what_is_no_distribution():
    with pytest.raises(DataError, match="softmax"):
        el2n([[2.0, 1.0]], [0])
    with pytest.raises(DataError, match=r"0 \.\. 1"):
        el2n([[0.5, 0.5]], [2])
    with pytest.raises(DataError, match="integers"):
        el2n([[0.5, 0.5]], [0.0])
    with pytest.raises(ShapeError, match=r"\(m, n, k\)"):
        el2n([[0.5, 0.5]], [0, 1])


@given(st.integers(1, 9), st.integers(1, 5), st.integers(0, 999))
def test_forgetting_events_equal_an_obvious_loop(n_epochs, n, seed):
    correct = np.random.default_rng(seed).random((n_epochs, n)) < 0.5
    result = forgetting_events(correct)
    for i in range(n):
        history = correct[:, i].tolist()
        expected = sum(a and not b for a, b in zip(history, history[1:], strict=False))
        assert result.count[i] == expected
        assert result.is_never_learned[i] == (not any(history))
        assert result.score[i] == (expected if any(history) else n_epochs)
    learned = result.score[~result.is_never_learned]
    assert np.all(learned < n_epochs)


def test_forgetting_events_by_hand():
    history = np.array([[1, 0, 0, 1], [0, 0, 1, 1], [1, 0, 1, 1], [0, 0, 1, 1]])
    assert forgetting_events(history).count.tolist() == [2, 0, 0, 0]
    assert forgetting_events(history).score.tolist() == [2, 4, 0, 0]
    with pytest.raises(ShapeError, match=r"\(e, n\)"):
        forgetting_events(history[0])
    with pytest.raises(DataError, match="booleans"):
        forgetting_events(history / 2)


def test_the_c_score_is_the_out_half_of_memorization():
    rng = np.random.default_rng(0)
    keep = coin_design(60, 40, 0.5, rng)
    keep[:, 0] = True
    keep[:, 1] = False
    answers = rng.random(keep.shape) < 0.7
    result = c_score(keep, answers)
    both = memorization(keep, answers)
    np.testing.assert_array_equal(result.value[2:], both.mean_out[2:])
    np.testing.assert_allclose(result.score, 1 - result.value)
    assert result.value.mask.tolist() == [True] + [False] * 39
    assert result.reason(0) == "0 OUT models are too few; 8 of each are needed"
    # A record that no model trained on has no memorization, but a C-score.
    assert result.reason(1) is None
    assert result.value[1] == answers[:, 1].mean()
    q = answers[~keep[:, 5], 5]
    assert result.standard_error[5] == pytest.approx((q.mean() * (1 - q.mean()) / q.size) ** 0.5)
    with pytest.raises(UnderPowered, match="did not train"):
        c_score(np.ones((20, 3)), np.ones((20, 3)))


@given(st.integers(0, 10**6), st.sampled_from([np.float16, np.float32, np.float64]))
def test_effect_size_equals_an_obvious_loop(seed, dtype):
    rng = np.random.default_rng(seed)
    keep = coin_design(30, 4, 0.5, rng)
    keep[:8], keep[8:16] = True, False
    phi = (rng.normal(size=keep.shape) + keep).astype(dtype)
    result = lira_effect_size(keep, phi)
    for i in range(4):
        x, y = phi[keep[:, i], i].astype(float), phi[~keep[:, i], i].astype(float)
        pooled = ((x.size - 1) * x.var(ddof=1) + (y.size - 1) * y.var(ddof=1)) / (30 - 2)
        assert result.value[i] == pytest.approx((x.mean() - y.mean()) / pooled**0.5, rel=1e-9)
    shifted = lira_effect_size(keep, 3 * phi.astype(float) - 7)
    np.testing.assert_allclose(shifted.value, result.value, rtol=1e-9)
    np.testing.assert_allclose(lira_effect_size(~keep, phi).value, -result.value)


def test_effect_size_gives_the_auc_of_a_gaussian_record():
    rng = np.random.default_rng(1)
    keep = paired_halves(4000, 2, rng)
    phi = rng.normal(size=keep.shape) + keep * [0.0, 1.5]
    result = lira_effect_size(keep, phi)
    np.testing.assert_allclose(result.value, [0, 1.5], atol=0.1)
    wins = np.mean(phi[keep[:, 1], 1][:, None] > phi[~keep[:, 1], 1])
    assert result.auc[1] == pytest.approx(wins, abs=0.01)
    assert result.auc[0] == pytest.approx(0.5, abs=0.03)


def test_effect_size_sees_what_correctness_does_not():
    """All models are right, those that trained on the record with more confidence."""
    rng = np.random.default_rng(2)
    keep = paired_halves(64, 30, rng)
    phi = 4 + keep + 0.5 * rng.normal(size=keep.shape)
    assert np.all(memorization(keep, phi > 0).value == 0)
    assert lira_effect_size(keep, phi).value.min() > 1


def test_effect_size_is_missing_where_nothing_varies():
    keep = paired_halves(32, 3, np.random.default_rng(0))
    phi = np.random.default_rng(1).normal(size=keep.shape)
    phi[:, 1] = 0.1
    keep[:, 2] = np.arange(32) < 3
    result = lira_effect_size(keep, phi)
    assert result.value.mask.tolist() == [False, True, True]
    assert result.auc.mask.tolist() == [False, True, True]
    assert result.reason(0) is None
    assert "no spread" in result.reason(1)
    assert "3 IN models" in result.reason(2)
    with pytest.raises(DataError, match="finite"):
        lira_effect_size(keep, np.where(keep, np.inf, 0))


def quadratic(matrix):
    return lambda x: x @ matrix


def symmetric(d, rng):
    a = rng.normal(size=(d, d))
    return a + a.T


def test_curvature_of_a_quadratic_is_its_norm_and_trace():
    rng, d = np.random.default_rng(0), 6
    matrix = symmetric(d, rng)
    x = rng.normal(size=(4000, d))
    result = input_loss_curvature(quadratic(matrix), x, rng, repetitions=5)
    error = result.squared.std() / len(x) ** 0.5
    assert result.squared.mean() == pytest.approx(np.sum(matrix**2), abs=4 * error)
    error = result.trace.std() / len(x) ** 0.5
    assert result.trace.mean() == pytest.approx(np.trace(matrix), abs=4 * error)
    assert result.step == pytest.approx(1e-3, rel=0.05)


def test_curvature_of_a_diagonal_quadratic_is_exact():
    diagonal = np.array([2.0, -1.0, 0.5])
    x, rng = np.random.default_rng(0).normal(size=(5, 3)), np.random.default_rng(1)
    result = input_loss_curvature(quadratic(np.diag(diagonal)), x, rng, repetitions=1)
    np.testing.assert_allclose(result.squared, np.sum(diagonal**2), rtol=1e-9)
    np.testing.assert_allclose(result.trace, diagonal.sum(), rtol=1e-9)


def test_curvature_counts_its_calls_follows_its_seed_and_the_scale_of_inputs():
    calls = []
    x = np.random.default_rng(0).normal(size=(7, 3))

    def gradient(z):
        calls.append(z.shape)
        return np.sin(z)

    first = input_loss_curvature(gradient, x, np.random.default_rng(1), repetitions=10)
    again = input_loss_curvature(gradient, x, np.random.default_rng(1), repetitions=10)
    assert calls == [(7, 3)] * 22
    assert np.array_equal(first.squared, again.squared)
    np.testing.assert_allclose(first.trace, np.cos(x).sum(axis=1), atol=0.01)
    wide = input_loss_curvature(gradient, 255 * x, np.random.default_rng(1))
    assert wide.step == pytest.approx(255 * first.step)


def test_curvature_ranks_records_by_their_sharpness():
    sharpness = np.arange(1.0, 9.0)
    x = np.random.default_rng(0).normal(size=(8, 4))
    result = input_loss_curvature(
        lambda z: sharpness[:, None] * z, x, np.random.default_rng(1), repetitions=2
    )
    assert np.argsort(result.squared).tolist() == list(range(8))
    np.testing.assert_allclose(result.squared, 4 * sharpness**2, rtol=1e-9)


def test_curvature_refuses_what_it_cannot_use():
    x, rng = np.random.default_rng(0).normal(size=(4, 2)), np.random.default_rng(1)
    with pytest.raises(ShapeError, match="gradient of shape"):
        input_loss_curvature(lambda z: z[:, 0], x, rng)
    with pytest.raises(ShapeError, match=r"\(n, d\)"):
        input_loss_curvature(np.sin, x[0], rng)
    with pytest.raises(DataError, match="NaN"):
        input_loss_curvature(lambda z: z * np.nan, x, rng)
    with pytest.raises(DataError, match="step"):
        input_loss_curvature(np.sin, np.ones((3, 2)), rng)
    with pytest.raises(DataError, match="repetitions"):
        input_loss_curvature(np.sin, x, rng, repetitions=0)
