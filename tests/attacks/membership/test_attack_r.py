"""Attack-R: twins, distinct values, and p-values that are uniform without membership."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from attacks import signals
from attacks.membership import attack_r
from attacks.observations import Classes, Logits, ShadowConfidence, ShadowKeep
from tests.attacks.membership.synthetic import CLASSIFIER, SEEDS, SIZES, observe

CONFIG = attack_r.default_config(CLASSIFIER)
RAW = attack_r.AttackRConfig(interpolate=False)


def parts(observations):
    phi = signals.phi(observations[Logits()], observations[Classes()])[:, 0]
    shadow_losses = np.log1p(np.exp(-observations[ShadowConfidence()][:, :, 0]))
    return np.log1p(np.exp(-phi)), shadow_losses, observations[ShadowKeep()]


@given(seed=SEEDS, n=SIZES)
def test_the_share_equals_an_obvious_loop(seed, n):
    observations = observe(attack_r.requests(RAW), n, np.random.default_rng(seed))
    loss, losses, keep = parts(observations)
    expected = []
    for i in range(n):
        out = [losses[i, j] for j in range(8) if not keep[i, j]]
        expected.append(sum(other >= loss[i] for other in out) / len(out) - 1)
    np.testing.assert_allclose(attack_r.score(observations, RAW), expected, atol=1e-15)


@given(seed=SEEDS, n=SIZES, known=st.booleans())
def test_interpolation_equals_numpy_s_on_padded_losses(seed, n, known):
    planted = np.arange(n) if known else None
    observations = observe(attack_r.requests(CONFIG), n, np.random.default_rng(seed), planted)
    loss, losses, keep = parts(observations)
    expected = []
    for i in range(n):
        out = sorted(losses[i, j] for j in range(8) if not keep[i, j])
        padded = [0.0, *out, 1000.0]
        levels = np.linspace(0, 1, len(padded))
        expected.append(-np.interp(loss[i], padded, levels))
    np.testing.assert_allclose(attack_r.score(observations, CONFIG), expected, atol=1e-9)


def test_interpolation_inverts_the_quantile():
    """The level found is the one whose interpolated quantile is the loss, as the paper decides."""
    losses, is_out = np.array([[0.5, 1.0, 4.0]]), np.ones((1, 3), dtype=bool)
    for level in (0.1, 0.25, 0.4, 0.5, 0.7, 0.9):
        loss = np.quantile([0, 0.5, 1.0, 4.0, 1000], level)
        found = attack_r.interpolated_p_values(np.array([loss]), losses, is_out)
        assert found[0] == pytest.approx(level)


def test_ties_and_ends():
    losses, is_out = np.array([[1.0, 1.0, 9.0]]), np.array([[True, True, False]])
    for loss, share, level in ((1.0, 0, 1 / 3), (0.0, 0, 0), (2e3, 1, 1), (0.5, 0, 1 / 6)):
        one = np.array([loss])
        assert attack_r.p_values(one, losses, is_out)[0] == share
        assert attack_r.interpolated_p_values(one, losses, is_out)[0] == pytest.approx(level)


def test_k_reference_models_allow_k_plus_1_values():
    rng = np.random.default_rng(0)
    observations = observe(attack_r.requests(RAW), 500, rng)
    assert len(np.unique(attack_r.score(observations, RAW))) <= 4 + 1
    assert len(np.unique(attack_r.score(observations, CONFIG))) == 500


def test_p_values_are_uniform_when_the_target_is_one_more_out_model():
    rng = np.random.default_rng(1)
    ease = rng.normal(0, 2, (3000, 1))
    losses = np.log1p(np.exp(-ease - rng.normal(0, 1, (3000, 64))))
    target = ease[:, 0] + rng.normal(0, 1, 3000)
    is_out = np.ones((3000, 64), dtype=bool)

    def uniformity(phi):
        levels = attack_r.interpolated_p_values(np.log1p(np.exp(-phi)), losses, is_out)
        return stats.kstest(levels, "uniform").pvalue

    assert uniformity(target) > 0.001
    assert uniformity(target + 1) < 1e-6
