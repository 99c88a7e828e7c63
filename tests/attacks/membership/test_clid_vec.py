"""CLiD vector: its features by loops, and scikit-learn's classifier on them."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.ensemble import GradientBoostingClassifier

from attacks.errors import UsageError
from attacks.membership import clid, clid_vec
from attacks.observations import NoiseError, calls_per_record
from tests.attacks.membership.synthetic import (
    LARGE_TEXT,
    PIXEL,
    SEEDS,
    SIZES,
    calibration,
    observe,
)

CONFIG = clid_vec.ClidVecConfig(timesteps=(90, 110), conditions=("middle", "null"))


def naive_features(observations, n):
    """Rows (D_middle, D_null, L) by loops."""
    table = []
    for i in range(n):
        row = []
        for condition in ("middle", "null"):
            gaps = [
                observations[NoiseError(t=t, condition=condition)][i]
                - observations[NoiseError(t=t)][i]
                for t in (90, 110)
            ]
            row.append(sum(gaps) / 2)
        row.append(-sum(observations[NoiseError(t=t)][i] for t in (90, 110)) / 2)
        table.append(row)
    return np.array(table)


@given(seed=SEEDS, n=SIZES, ties=st.booleans())
def test_features_equal_an_obvious_loop(seed, n, ties):
    rng = np.random.default_rng(seed)
    observations = observe(clid_vec.requests(CONFIG), n, rng, ties=ties)
    features = clid_vec.features(observations, CONFIG)
    np.testing.assert_allclose(features, naive_features(observations, n), atol=1e-12)


@settings(max_examples=5, deadline=None)
@given(seed=SEEDS, leaks=st.booleans())
def test_equals_scikit_learn_on_the_features(seed, leaks):
    rng = np.random.default_rng(seed)
    part = calibration(clid_vec.requests(CONFIG), rng, n=30, leaks=leaks)
    observations = observe(clid_vec.requests(CONFIG), 7, rng)
    model = GradientBoostingClassifier(random_state=0)
    order = sorted(
        range(30), key=lambda i: clid_vec.features(part.observations, CONFIG)[i].tobytes()
    )
    model.fit(naive_features(part.observations, 30)[order], part.is_member[order])
    expected = model.predict_proba(naive_features(observations, 7))[:, 1]
    scores = clid_vec.score(observations, CONFIG, part)
    np.testing.assert_allclose(1 / (1 + np.exp(-scores)), expected, atol=1e-6)


def test_costs_what_the_threshold_variant_costs_and_shares_it():
    own = clid_vec.requests(clid_vec.default_config(LARGE_TEXT))
    other = clid.requests(clid.default_config(LARGE_TEXT))
    assert calls_per_record(own) == calls_per_record((*own, *other)) == 15
    null_only = dataclasses.replace(clid_vec.default_config(LARGE_TEXT), conditions=("null",))
    assert calls_per_record(clid_vec.requests(null_only)) == 6


def test_is_for_text_models():
    assert clid_vec.applicable(LARGE_TEXT) is None
    assert "text-conditional" in clid_vec.applicable(PIXEL)


@pytest.mark.parametrize("options", [{"n_estimators": 0}, {"max_depth": 0}, {"timesteps": (-1,)}])
def test_refuses_a_wrong_configuration(options):
    with pytest.raises(UsageError):
        clid_vec.ClidVecConfig(**options)
