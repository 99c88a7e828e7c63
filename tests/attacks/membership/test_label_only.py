"""Label-only attack: labels alone decide, and noise adds to the gap attack."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from attacks.errors import UsageError
from attacks.membership import gap, label_only
from attacks.observations import NoisyCorrectness
from attacks.statistics import auc
from tests.attacks.membership import shadow_digits
from tests.attacks.membership.synthetic import CLASSIFIER, SEEDS, SIZES, observe

CONFIG = label_only.default_config(CLASSIFIER)


@given(seed=SEEDS, n=SIZES, repetitions=st.integers(0, 5))
def test_equals_an_obvious_loop(seed, n, repetitions):
    config = dataclasses.replace(CONFIG, repetitions=repetitions)
    (request,) = label_only.requests(config)
    observations = observe([request], n, np.random.default_rng(seed), np.arange(n // 2))
    expected = [sum(row) / len(row) for row in observations[request].tolist()]
    np.testing.assert_allclose(label_only.score(observations, config), expected)


def test_without_noisy_copies_it_is_the_gap_attack():
    config = dataclasses.replace(CONFIG, repetitions=0, sigma=NoisyCorrectness().sigma)
    (request,) = label_only.requests(config)
    assert (request,) == gap.requests(gap.GapConfig())
    answers = {request: np.array([[True], [False]])}
    assert np.array_equal(label_only.score(answers, config), gap.score(answers, gap.GapConfig()))


def noisy_correctness(seed, sigma=1.0, repetitions=8):
    """(n, m, 1 + repetitions) of real models, and who was trained on what."""
    rng = np.random.default_rng(seed)
    run = shadow_digits.load(rng)
    n = len(run.classes)
    copies = [run.features]
    copies += [
        (run.features + sigma * run.features.std(axis=0) * rng.normal(size=run.features.shape))
        for _ in range(repetitions)
    ]
    keep = shadow_digits.pairs(n, 8, rng)
    padding = np.zeros((n * repetitions, 8), dtype=bool)
    logits = shadow_digits.train(
        np.concatenate(copies).astype(np.float32),
        np.tile(np.eye(10, dtype=np.float32)[run.classes], (1 + repetitions, 1)),
        np.concatenate([keep, padding]),
        rng,
    )
    labels = logits.argmax(axis=-1).reshape(1 + repetitions, n, 8)
    return np.moveaxis(labels == run.classes[:, None], 0, 2), keep, logits


def test_noise_finds_more_than_the_label_alone():
    is_right, keep, _ = noisy_correctness(0)
    config = dataclasses.replace(CONFIG, repetitions=8, sigma=1.0)
    (request,) = label_only.requests(config)
    gains = []
    for j in range(8):
        noisy = label_only.score({request: is_right[:, j]}, config)
        plain = is_right[:, j, 0].astype(float)
        members = keep[:, j]
        gains.append(
            auc(noisy[members], noisy[~members]).value - auc(plain[members], plain[~members]).value
        )
    assert np.mean(gains) > 0


def test_calls_are_the_record_and_its_copies():
    assert label_only.requests(CONFIG)[0].calls == 17


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"repetitions": -1}, "repetitions must be 0 or more, got -1"),
        ({"sigma": -0.1}, "sigma must be 0 or more"),
        ({"flip": 1.5}, "flip must be between 0 and 1"),
    ],
)
def test_refuses_a_wrong_configuration(options, message):
    with pytest.raises(UsageError, match=message):
        label_only.LabelOnlyConfig(**options)
