"""Attack-P: twin, the ranking of the loss, and the false-positive rate that it promises."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given

from attacks.membership import attack_p, yeom
from attacks.observations import Calibration, Classes, Logits
from attacks.statistics import clopper_pearson
from tests.attacks.membership.synthetic import CLASSIFIER, SEEDS, SIZES, calibration, observe

CONFIG = attack_p.default_config(CLASSIFIER)
REQUESTS = attack_p.requests(CONFIG)


def losses(observations):
    return -yeom.score(observations, yeom.YeomConfig())


@given(seed=SEEDS, n=SIZES)
def test_equals_an_obvious_loop(seed, n):
    rng = np.random.default_rng(seed)
    part = calibration(REQUESTS, rng, n=12)
    observations = observe(REQUESTS, n, rng)
    population = losses(part.observations)[~part.is_member]
    scores = attack_p.score(observations, CONFIG, part)
    for score, loss in zip(scores, losses(observations), strict=True):
        higher = sum(other > loss for other in population)
        assert int(score * (len(population) + 1)) == higher
    assert np.array_equal(np.argsort(scores), np.argsort(-losses(observations)))


def test_members_of_the_calibration_part_are_not_used():
    rng = np.random.default_rng(0)
    part, observations = calibration(REQUESTS, rng), observe(REQUESTS, 9, rng)
    altered = {Classes(): part.observations[Classes()], Logits(): None}
    altered[Logits()] = np.where(part.is_member[:, None, None], 99.0, part.observations[Logits()])
    expected = attack_p.score(observations, CONFIG, part)
    other = attack_p.score(observations, CONFIG, Calibration(altered, part.is_member))
    assert np.array_equal(other, expected)


@pytest.mark.parametrize("alpha", [0.01, 0.1])
def test_the_threshold_has_the_false_positive_rate_that_it_promises(alpha):
    rng = np.random.default_rng(1)
    part = calibration(REQUESTS, rng, n=40_000)
    fresh = observe(REQUESTS, 4_000, rng)
    flagged = int(np.sum(attack_p.score(fresh, CONFIG, part) > 1 - alpha))
    low, high = clopper_pearson(flagged, 4_000, confidence=0.99)
    assert low <= alpha <= high


def test_a_confidence_beyond_the_precision_of_the_loss_still_ranks():
    rng = np.random.default_rng(2)
    logits = np.array([[[800.0, 0.0]], [[900.0, 0.0]]])
    two_classes = {Classes(): np.zeros(9, dtype=int), Logits(): rng.normal(size=(9, 1, 2))}
    part = Calibration(two_classes, np.arange(9) % 2 == 0)
    first, second = attack_p.score(
        {Classes(): np.zeros(2, dtype=int), Logits(): logits}, CONFIG, part
    )
    assert first < second
