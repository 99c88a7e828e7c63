"""Gap attack: its balanced accuracy is the gap between training and test accuracy."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given

from attacks.membership import gap
from attacks.observations import NoisyCorrectness
from attacks.statistics import auc
from tests.attacks.membership.synthetic import CLASSIFIER, SEEDS

CONFIG = gap.default_config(CLASSIFIER)


@given(seed=SEEDS)
def test_balanced_accuracy_is_exactly_half_the_gap_above_one_half(seed):
    rng = np.random.default_rng(seed)
    is_right = rng.random(50) < 0.6
    scores = gap.score({NoisyCorrectness(repetitions=0): is_right[:, None]}, CONFIG)
    members, nonmembers = scores[:20] == 1, scores[20:] == 1
    balanced = (members.mean() + (1 - nonmembers.mean())) / 2
    expected = 0.5 + (is_right[:20].mean() - is_right[20:].mean()) / 2
    assert balanced == pytest.approx(expected, abs=1e-12)
    assert auc(scores[:20], scores[20:]).value == pytest.approx(expected, abs=1e-12)


def test_asks_for_one_label_and_nothing_else():
    (request,) = gap.requests(CONFIG)
    assert request.calls == 1
    answers = {request: np.array([[True], [False]])}
    assert gap.score(answers, CONFIG).tolist() == [1, 0]
