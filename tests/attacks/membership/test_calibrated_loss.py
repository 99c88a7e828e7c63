"""Difficulty calibration: twin of every variant, and a hard record that it sets right."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from attacks import signals
from attacks.errors import UsageError
from attacks.membership import calibrated_loss, yeom
from attacks.observations import Classes, Logits, ShadowConfidence, ShadowKeep
from tests.attacks.membership.synthetic import CLASSIFIER, SEEDS, SIZES, observe

CONFIG = calibrated_loss.default_config(CLASSIFIER)


@given(
    seed=SEEDS,
    n=SIZES,
    statistic=st.sampled_from(["loss", "phi"]),
    reference=st.sampled_from(["out", "middle"]),
)
def test_equals_an_obvious_loop(seed, n, statistic, reference):
    config = calibrated_loss.CalibratedLossConfig(statistic, reference)
    observations = observe(calibrated_loss.requests(config), n, np.random.default_rng(seed))
    phi = signals.phi(observations[Logits()], observations[Classes()])[:, 0]
    shadow, keep = observations[ShadowConfidence()][:, :, 0], observations[ShadowKeep()]

    def value(p):  # what rises with membership
        return p if statistic == "phi" else -np.log1p(np.exp(-p))

    expected = []
    for i in range(n):
        out = [value(shadow[i, j]) for j in range(8) if not keep[i, j]]
        inside = [value(shadow[i, j]) for j in range(8) if keep[i, j]]
        level = np.mean(out)
        if reference == "middle":
            level = (np.mean(out) + np.mean(inside)) / 2
        expected.append(value(phi[i]) - level)
    np.testing.assert_allclose(calibrated_loss.score(observations, config), expected, atol=1e-12)


def test_a_hard_member_beats_an_easy_nonmember():
    """Record 0 is hard and known, record 1 is easy for everybody."""
    observations = {
        Classes(): np.array([0, 0]),
        Logits(): np.array([[[1.0, 0.0]], [[3.0, 0.0]]]),
        ShadowConfidence(): np.array([[[-4.0], [1.0]], [[3.1], [3.0]]]),
        ShadowKeep(): np.array([[False, True], [False, True]]),
    }
    hard, easy = yeom.score(observations, yeom.YeomConfig())
    assert hard < easy
    hard, easy = calibrated_loss.score(observations, CONFIG)
    assert hard > easy


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"statistic": "hinge"}, "loss or phi, got 'hinge'"),
        ({"reference": "in"}, "out or middle, got 'in'"),
    ],
)
def test_refuses_a_wrong_configuration(options, message):
    with pytest.raises(UsageError, match=message):
        calibrated_loss.CalibratedLossConfig(**options)
