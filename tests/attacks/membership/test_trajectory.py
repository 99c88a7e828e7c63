"""Loss trajectory: the attack model it fits, its limits, and its effect on distilled models."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from attacks.errors import DataError, ShapeError, UsageError
from attacks.membership import trajectory
from attacks.observations import ShadowKeep, ShadowTrajectory, Trajectory
from attacks.statistics import auc
from tests.attacks.membership import shadow_digits
from tests.attacks.membership.synthetic import CLASSIFIER, observe

CONFIG = trajectory.default_config(CLASSIFIER)
OWN, SHADOW, KEEP = trajectory.requests(CONFIG)


def test_equals_scikit_learn_on_standardised_losses():
    observations = observe([OWN, SHADOW, KEEP], 60, np.random.default_rng(0), np.arange(20))
    shadow, labels = observations[SHADOW], observations[KEEP][:, 0]
    mean, spread = shadow.mean(axis=0), shadow.std(axis=0)
    model = LogisticRegression(max_iter=1000).fit((shadow - mean) / spread, labels)
    expected = model.decision_function((observations[OWN] - mean) / spread)
    np.testing.assert_allclose(trajectory.score(observations, CONFIG), expected, atol=1e-3)


def test_a_constant_trajectory_reduces_it_to_the_final_loss():
    rng = np.random.default_rng(1)
    observations = observe([OWN, SHADOW, KEEP], 60, rng, np.arange(20))
    for request in (OWN, SHADOW):
        observations[request][:, :-1] = 1.7
    ranking = np.argsort(trajectory.score(observations, CONFIG))
    assert np.array_equal(ranking, np.argsort(-observations[OWN][:, -1]))


@pytest.fixture(scope="module")
def distilled():
    """((n, m, e + 1) losses of 12 distilled models on private records, (n, m) who saw what)."""
    rng = np.random.default_rng(0)
    records = shadow_digits.load(rng)
    n = len(records.classes)
    is_private = rng.permutation(n) < 1000
    keep = shadow_digits.pairs(n, 12, rng) & is_private[:, None]
    one_hot = np.eye(10, dtype=np.float32)[records.classes]
    teachers = shadow_digits.train(records.features, one_hot, keep, rng, steps=300)
    answers = np.exp(teachers - teachers.max(axis=-1, keepdims=True))
    answers = (answers / answers.sum(axis=-1, keepdims=True)).astype(np.float32)
    auxiliary = np.repeat(~is_private[:, None], 12, axis=1)
    students = shadow_digits.checkpoints(
        records.features, answers, auxiliary, rng, steps=30 * 7, every=7
    )

    def losses(logits):
        return np.logaddexp(0, -shadow_digits.naive_phi(logits, records.classes))

    along = np.stack([losses(logits) for logits in [*students, teachers]], axis=-1)
    return along[is_private], keep[is_private]


def test_the_trajectory_tells_more_than_the_final_loss(distilled):
    losses, keep = distilled
    gains = []
    for target in range(12):
        shadow = (target + 2) % 12
        observations = {
            OWN: losses[:, target],
            SHADOW: losses[:, shadow],
            KEEP: keep[:, [shadow]],
        }
        scores, final = trajectory.score(observations, CONFIG), -losses[:, target, -1]
        members = keep[:, target]
        gains.append(
            auc(scores[members], scores[~members]).value
            - auc(final[members], final[~members]).value
        )
    assert np.mean(gains) > 0.05


def test_answers_that_do_not_fit_are_refused():
    observations = observe([OWN, SHADOW, KEEP], 6, np.random.default_rng(2))
    shorter = {**observations, SHADOW: observations[SHADOW][:, :9]}
    with pytest.raises(ShapeError, match="31 losses and that of the shadow model 9"):
        trajectory.score(shorter, CONFIG)
    for fill in (True, False):
        one_sided = {**observations, KEEP: np.full((6, 1), fill)}
        with pytest.raises(DataError, match="all of the records or on none"):
            trajectory.score(one_sided, CONFIG)


def test_asks_for_both_trajectories_of_one_length():
    config = trajectory.TrajectoryConfig(epochs=5)
    expected = (Trajectory(epochs=5), ShadowTrajectory(epochs=5), ShadowKeep())
    assert trajectory.requests(config) == expected
    with pytest.raises(UsageError, match="epochs must be above 0"):
        trajectory.TrajectoryConfig(epochs=0)
