"""Privacy risk score: Bayes' rule on histograms, by loops and by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from attacks import signals
from attacks.errors import UsageError
from attacks.membership import risk_score
from attacks.observations import Classes, Logits, ShadowKeep, ShadowLogits
from attacks.statistics import auc
from tests.attacks.membership.synthetic import CLASSIFIER, SEEDS, SIZES, observe

CONFIG = risk_score.default_config(CLASSIFIER)


def naive_posterior(value, inside, outside, n_bins):
    low, high = min([*inside, *outside]), max([*inside, *outside])
    edges = [low + i * (high - low) / n_bins for i in range(1, n_bins)]

    def place(v):
        return sum(v >= edge for edge in edges)

    counts = [
        (
            sum(place(v) == b for v in inside) / len(inside),
            sum(place(v) == b for v in outside) / len(outside),
        )
        for b in range(n_bins)
    ]
    own = place(value)
    filled = [b for b in range(n_bins) if sum(counts[b]) > 0]
    share_in, share_out = counts[min(filled, key=lambda b: (abs(b - own), b))]
    return share_in / (share_in + share_out)


@given(seed=SEEDS, n=SIZES, n_bins=st.integers(1, 7), size=st.integers(1, 6))
def test_posterior_equals_an_obvious_loop(seed, n, n_bins, size):
    rng = np.random.default_rng(seed)
    inside, outside = rng.normal(0, 1, size), rng.normal(2, 1, size + 1)
    values = rng.normal(1, 3, n)
    found = risk_score.posterior(values, inside, outside, n_bins=n_bins)
    expected = [naive_posterior(v, inside, outside, n_bins) for v in values]
    np.testing.assert_allclose(found, expected, atol=1e-12)


@given(seed=SEEDS, n=SIZES)
def test_equals_an_obvious_loop_over_classes(seed, n):
    observations = observe(
        risk_score.requests(CONFIG), n, np.random.default_rng(seed), np.arange(n // 2)
    )
    classes, keep = observations[Classes()], observations[ShadowKeep()]
    target, known = (
        np.log(np.maximum(signals.modified_entropy(observations[r], classes), 1e-10))
        for r in (Logits(), ShadowLogits())
    )
    expected = []
    for i in range(n):
        peers = [p for p in range(n) if classes[p] == classes[i]]
        inside = [known[p, j] for p in peers for j in range(8) if keep[p, j]]
        outside = [known[p, j] for p in peers for j in range(8) if not keep[p, j]]
        expected.append(naive_posterior(target[i, 0], inside, outside, 5))
    np.testing.assert_allclose(risk_score.score(observations, CONFIG), expected, atol=1e-9)


def test_by_hand():
    inside, outside = np.array([0.0, 0.1, 0.2, 3.0]), np.array([3.5, 4.0, 0.1, 4.0])
    values = np.array([-9.0, 0.0, 3.9, 99.0, 1.2, 2.5])
    found = risk_score.posterior(values, inside, outside, n_bins=4)
    # bins [0, 1), [1, 2), [2, 3), [3, 4]: IN 3/4, 0, 0, 1/4; OUT 1/4, 0, 0, 3/4
    np.testing.assert_allclose(found, [0.75, 0.75, 0.25, 0.25, 0.75, 0.25])


def test_all_values_equal_leave_even_odds():
    same = np.full(3, 2.0)
    assert risk_score.posterior(same, same, same, n_bins=5).tolist() == [0.5] * 3


def test_is_calibrated_on_real_models(shadow_digits):
    """Among records with a high score, members are as frequent as the score says."""
    scores, members = [], []
    for target in range(8):
        scores.append(risk_score.score(shadow_digits.observe(target, 24), CONFIG))
        members.append(shadow_digits.keep[:, target])
    scores, members = np.concatenate(scores), np.concatenate(members)
    for low, high in ((0.0, 0.45), (0.45, 0.55), (0.55, 1.0)):
        chosen = (scores >= low) & (scores < high)
        assert chosen.sum() > 100
        assert members[chosen].mean() == pytest.approx(scores[chosen].mean(), abs=0.04)
    assert auc(scores[members], scores[~members]).value > 0.52


@pytest.mark.parametrize("options", [{"n_bins": 0}, {"floor": 0.0}])
def test_refuses_a_wrong_configuration(options):
    with pytest.raises(UsageError, match="must be above 0"):
        risk_score.RiskScoreConfig(**options)
