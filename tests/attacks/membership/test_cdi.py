"""CDI: features, uniform p without training, smaller p with more records, parts kept apart."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats
from hypothesis import given

from attacks.membership import cdi
from attacks.observations import (
    NORMS,
    Calibration,
    NoiseError,
    ProximalError,
    StepError,
    calls_per_record,
)
from attacks.statistics.welch import welch_greater
from tests.attacks.membership.synthetic import PIXEL, SEEDS, SIZES, observe, rows

CONFIG = cdi.default_config(PIXEL)
REQUESTS = cdi.requests(CONFIG)


@given(seed=SEEDS, n=SIZES)
def test_features_equal_an_obvious_loop(seed, n):
    seen = observe(REQUESTS, n, np.random.default_rng(seed))
    found = cdi.features(seen, CONFIG)
    for i in range(n):
        expected = [seen[NoiseError(t=t)][i] ** 0.5 for t in range(0, 1000, 100)]
        expected.append(sum(seen[NoiseError(t=100, repetition=k)][i] for k in range(5)) / 5)
        for normalisation in (None, "unit"):
            proximal = seen[ProximalError(t=200, normalisation=normalisation)][i]
            expected.append(proximal[NORMS.index(5)])
        expected.append(seen[StepError(t=100, k=10)][i])
        assert found[i].tolist() == pytest.approx(expected)


def test_shares_all_but_four_calls_with_the_default_attacks():
    assert calls_per_record(REQUESTS) == 28
    assert len([r for r in REQUESTS if isinstance(r, NoiseError) and r.t == 100]) == 5


def p_value(seed, n, shift, n_fitted=60):
    """A held-out p of records whose errors are lower by a share `shift` if they are members."""
    rng = np.random.default_rng(seed)
    is_member = np.arange(2 * n + n_fitted) % 2 == 0
    seen = {
        request: array * (1 - shift * is_member.reshape(-1, *[1] * (array.ndim - 1)))
        for request, array in observe(REQUESTS, len(is_member), rng).items()
    }
    fitted, held_out = np.arange(n_fitted), np.arange(n_fitted, len(is_member))
    part = Calibration(rows(seen, fitted), is_member[fitted])
    scores = cdi.score(rows(seen, held_out), CONFIG, part)
    labels = is_member[held_out]
    return welch_greater(scores[labels], scores[~labels]).p_value


def test_without_training_p_is_uniform():
    values = [p_value(seed, 40, shift=0.0) for seed in range(120)]
    assert scipy.stats.kstest(values, "uniform").pvalue > 0.01


def test_p_falls_with_the_size_of_the_collection():
    medians = [
        np.median([p_value(seed, n, shift=0.02) for seed in range(9)]) for n in (10, 40, 160)
    ]
    assert medians[0] > medians[1] > medians[2]
    assert medians[2] < 1e-6
