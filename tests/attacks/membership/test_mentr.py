"""Modified entropy as a score: golden values, and what it is for two classes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given

from attacks.membership import mentr, yeom
from attacks.observations import Classes, Logits
from tests.attacks.membership.synthetic import CLASSIFIER, SEEDS, SIZES, observe

CONFIG = mentr.default_config(CLASSIFIER)


def test_golden_values():
    logits = np.tile([2.0, 1.0, 0.0], (2, 1, 1))
    scores = mentr.score({Classes(): np.array([0, 2]), Logits(): logits}, CONFIG)
    np.testing.assert_allclose(scores, [-0.2136335, -2.9875404], atol=1e-7)


@given(seed=SEEDS, n=SIZES)
def test_equals_an_obvious_loop(seed, n):
    config = mentr.MentrConfig(queries=2)
    observations = observe(mentr.requests(config), n, np.random.default_rng(seed))
    expected = []
    for y, queries in zip(observations[Classes()], observations[Logits(queries=2)], strict=True):
        values = []
        for z in queries:
            p = np.exp(z) / np.exp(z).sum()
            others = sum(p[c] * np.log(1 - p[c]) for c in range(len(p)) if c != y)
            values.append(-(1 - p[y]) * np.log(p[y]) - others)
        expected.append(-np.mean(values))
    np.testing.assert_allclose(mentr.score(observations, config), expected, rtol=1e-6)


@given(seed=SEEDS)
def test_with_two_classes_the_ranking_is_that_of_the_loss(seed):
    rng = np.random.default_rng(seed)
    observations = {Classes(): rng.integers(2, size=9), Logits(): rng.normal(size=(9, 1, 2))}
    ranking = np.argsort(yeom.score(observations, yeom.YeomConfig()))
    assert np.array_equal(np.argsort(mentr.score(observations, CONFIG)), ranking)


def test_a_confident_mistake_scores_lowest():
    logits = np.array([[[5.0, 0.0]], [[0.0, 0.0]], [[-5.0, 0.0]]])
    scores = mentr.score({Classes(): np.zeros(3, dtype=int), Logits(): logits}, CONFIG)
    assert scores[0] > scores[1] > scores[2]
    assert scores[0] == pytest.approx(0, abs=1e-4)
