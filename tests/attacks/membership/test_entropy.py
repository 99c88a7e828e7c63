"""Prediction entropy: twin, and its blindness to which class is right."""

from __future__ import annotations

import numpy as np
from hypothesis import given

from attacks.membership import entropy
from attacks.observations import Logits
from tests.attacks.membership.synthetic import CLASSIFIER, SEEDS, SIZES, observe


@given(seed=SEEDS, n=SIZES)
def test_equals_an_obvious_loop(seed, n):
    config = entropy.EntropyConfig(queries=2)
    (request,) = entropy.requests(config)
    observations = observe([request], n, np.random.default_rng(seed))
    expected = []
    for queries in observations[request]:
        p = [np.exp(z) / np.exp(z).sum() for z in queries]
        expected.append(np.mean([sum(v * np.log(v)) for v in p]))
    np.testing.assert_allclose(entropy.score(observations, config), expected, rtol=1e-9)


def test_a_peaked_answer_scores_higher_whichever_class_it_names():
    config = entropy.default_config(CLASSIFIER)
    logits = np.array([[[5.0, 0.0, 0.0]], [[0.0, 0.0, 5.0]], [[1.0, 0.0, 0.0]]])
    first, second, flat = entropy.score({Logits(): logits}, config)
    assert first == second > flat
