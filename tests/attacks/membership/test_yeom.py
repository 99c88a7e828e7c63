"""Yeom's loss threshold: sign, twin, and that only the order matters."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given

from attacks.errors import UsageError
from attacks.membership import yeom
from attacks.observations import Classes, Logits
from attacks.statistics import auc
from tests.attacks.membership.synthetic import CLASSIFIER, SEEDS, SIZES, observe

CONFIG = yeom.default_config(CLASSIFIER)


@given(seed=SEEDS, n=SIZES)
def test_equals_an_obvious_loop(seed, n):
    config = yeom.YeomConfig(queries=2)
    observations = observe(yeom.requests(config), n, np.random.default_rng(seed))
    expected = []
    for i in range(n):
        losses = []
        for z in observations[Logits(queries=2)][i]:
            p = np.exp(z) / np.exp(z).sum()
            losses.append(-np.log(p[observations[Classes()][i]]))
        expected.append(-np.mean(losses))
    np.testing.assert_allclose(yeom.score(observations, config), expected, rtol=1e-9)


def test_members_get_the_larger_score():
    """A score that is the loss itself, or minus the probability, would have an AUC near 0."""
    planted = np.arange(20)
    observations = observe(yeom.requests(CONFIG), 40, np.random.default_rng(0), planted)
    scores = yeom.score(observations, CONFIG)
    assert auc(scores[:20], scores[20:]).value > 0.99
    right = {Classes(): np.array([0, 0]), Logits(): np.array([[[3.0, 0.0]], [[0.0, 3.0]]])}
    sure_and_right, sure_and_wrong = yeom.score(right, CONFIG)
    assert sure_and_right > sure_and_wrong


def test_loss_probability_and_its_logarithm_have_one_auc():
    rng = np.random.default_rng(1)
    observations = observe(yeom.requests(CONFIG), 200, rng, np.arange(0, 200, 3))
    scores = yeom.score(observations, CONFIG)
    values = [auc(s[:100], s[100:]).value for s in (scores, np.exp(scores))]
    assert values[0] == values[1]


def test_an_answer_of_probability_0_has_a_finite_score():
    observations = {Classes(): np.array([0]), Logits(): np.array([[[-2000.0, 0.0]]])}
    assert yeom.score(observations, CONFIG).tolist() == [-2000]


def test_refuses_no_queries():
    with pytest.raises(UsageError, match="queries must be above 0, got 0"):
        yeom.YeomConfig(queries=0)
