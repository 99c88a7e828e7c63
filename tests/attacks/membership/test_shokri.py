"""Shadow-model attack: what it reads, which attack model a class gets, and its controls."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from sklearn.linear_model import LogisticRegression

from attacks.errors import DataError, UsageError
from attacks.membership import gap, shokri
from attacks.observations import Classes, Logits, NoisyCorrectness, ShadowKeep, ShadowLogits
from attacks.statistics import auc
from tests.attacks.membership.synthetic import CLASSIFIER, SEEDS, SIZES, observe

CONFIG = shokri.default_config(CLASSIFIER)


def mean_auc(run, score, targets=range(6)):
    values = []
    for target in targets:
        scores, is_member = score(target), run.keep[:, target]
        values.append(auc(scores[is_member], scores[~is_member]).value)
    return np.mean(values)


@given(seed=SEEDS, n=SIZES)
def test_features_equal_an_obvious_loop(seed, n):
    observations = observe(shokri.requests(CONFIG), n, np.random.default_rng(seed))
    logits, classes = observations[ShadowLogits()], observations[Classes()]
    found = shokri.features(logits, classes, CONFIG)
    raw = shokri.features(logits, classes, dataclasses.replace(CONFIG, vector="raw"))
    for i in range(n):
        for j in range(8):
            p = np.exp(logits[i, j]) / np.exp(logits[i, j]).sum()
            odds = np.log(p / (1 - p))
            is_right = float(np.argmax(p) == classes[i])
            assert found[i, j] == pytest.approx([*sorted(odds)[::-1][:3], is_right], rel=1e-6)
            assert raw[i, j] == pytest.approx([*odds, is_right], rel=1e-6)


def test_each_class_has_its_own_model_of_its_shadow_records():
    rng = np.random.default_rng(0)
    config = dataclasses.replace(CONFIG, min_records=5)
    observations = observe(shokri.requests(config), 60, rng, np.arange(20))
    scores = shokri.score(observations, config)
    classes = observations[Classes()]
    known = shokri.features(observations[ShadowLogits()], classes, config)
    target = shokri.features(observations[Logits()], classes, config)[:, 0]
    for label in range(4):
        own = classes == label
        rows, labels = known[own].reshape(-1, 4), observations[ShadowKeep()][own].ravel()
        mean, spread = rows.mean(axis=0), rows.std(axis=0)
        model = LogisticRegression(max_iter=1000).fit((rows - mean) / spread, labels)
        expected = model.decision_function((target[own] - mean) / spread)
        np.testing.assert_allclose(scores[own], expected, atol=1e-3)


def test_a_rare_class_gets_the_model_of_all_classes_with_the_class_as_input():
    rng = np.random.default_rng(1)
    observations = observe(shokri.requests(CONFIG), 80, rng, np.arange(20))
    observations[Classes()] = np.where(np.arange(80) < 3, 3, np.arange(80) % 3)
    scores = shokri.score(observations, dataclasses.replace(CONFIG, min_records=10))
    classes, keep = observations[Classes()], observations[ShadowKeep()]
    indicators = np.eye(4)[classes]
    known = shokri.features(observations[ShadowLogits()], classes, CONFIG)
    known = np.concatenate([known, np.repeat(indicators[:, None], 8, axis=1)], axis=2)
    target = shokri.features(observations[Logits()], classes, CONFIG)[:, 0]
    target = np.concatenate([target, indicators], axis=1)
    rows = known.reshape(-1, 8)
    mean, spread = rows.mean(axis=0), rows.std(axis=0)
    model = LogisticRegression(max_iter=1000).fit((rows - mean) / spread, keep.ravel())
    expected = model.decision_function((target - mean) / spread)
    np.testing.assert_allclose(scores[:3], expected[:3], atol=1e-3)
    assert np.abs(scores[3:] - expected[3:]).min() > 1e-3


def test_shuffled_labels_of_the_shadow_models_teach_nothing(shadow_digits):
    rng = np.random.default_rng(2)

    def score(target):
        observations = shadow_digits.observe(target, 8)
        first = rng.permuted(observations[ShadowKeep()][:, ::2], axis=0)
        observations[ShadowKeep()] = np.stack([first, ~first], axis=2).reshape(-1, 8)
        return shokri.score(observations, CONFIG)

    n = len(shadow_digits.classes) / 2
    error = np.sqrt((2 * n + 1) / (12 * n * n) / 6)
    assert abs(mean_auc(shadow_digits, score) - 0.5) < 3 * error


def test_is_at_least_as_good_as_the_gap_attack(shadow_digits):
    run = shadow_digits

    def correctness(target):
        is_right = run.logits[:, [target]].argmax(axis=-1) == run.classes[:, None]
        return gap.score({NoisyCorrectness(repetitions=0): is_right}, gap.GapConfig())

    by_vectors = mean_auc(run, lambda t: shokri.score(run.observe(t, 8), CONFIG))
    assert by_vectors > mean_auc(run, correctness)


def test_the_order_of_the_classes_does_not_matter(shadow_digits):
    observations = shadow_digits.observe(0, 4)
    order = np.random.default_rng(3).permutation(10)
    renamed = dict(observations)
    renamed[Classes()] = np.argsort(order)[observations[Classes()]]
    for request in (Logits(), ShadowLogits()):
        renamed[request] = observations[request][..., order]
    expected = shokri.score(observations, CONFIG)
    np.testing.assert_allclose(shokri.score(renamed, CONFIG), expected, atol=1e-6)


def test_a_certain_answer_stays_finite():
    observations = observe(shokri.requests(CONFIG), 40, np.random.default_rng(4))
    observations[Logits()] = 1e4 * observations[Logits()]
    assert np.all(np.isfinite(shokri.score(observations, CONFIG)))


def test_a_record_without_in_models_is_an_error():
    observations = observe(shokri.requests(CONFIG), 40, np.random.default_rng(5))
    observations[ShadowKeep()][7] = False
    with pytest.raises(DataError, match="1 of 40 records"):
        shokri.score(observations, CONFIG)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"vector": "top"}, "sorted or raw, got 'top'"),
        ({"top": 0}, "top must be above 0"),
        ({"strength": 0.0}, "strength must be above 0"),
    ],
)
def test_refuses_a_wrong_configuration(options, message):
    with pytest.raises(UsageError, match=message):
        shokri.ShokriConfig(**options)
