"""Quantile regression: coverage, what a constant regressor is, and difficulty taken out."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from scipy.special import ndtri
from scipy.stats import spearmanr

from attacks.errors import Inapplicable, UsageError
from attacks.membership import attack_p, quantile
from attacks.observations import Calibration, Classes, Features, Logits
from attacks.statistics import auc, clopper_pearson
from tests.attacks.membership.synthetic import CLASSIFIER, rows

GAUSSIAN = quantile.default_config(CLASSIFIER)
PINBALL = dataclasses.replace(GAUSSIAN, head="quantile", alpha=0.1)


def records(n, rng, *, gain=0.0, informative=True):
    """Two classes; phi depends on the first feature and the class, and spreads with the second."""
    features, classes = rng.uniform(-1, 1, (n, 3)), rng.integers(2, size=n)
    mean = 3 * features[:, 0] + 2 * classes
    phi = gain + mean + np.exp(features[:, 1]) * rng.normal(size=n)
    if not informative:
        features = np.zeros_like(features)
        classes = np.zeros_like(classes)
    margin = np.stack([phi, np.zeros(n)], axis=1)
    logits = np.where(classes[:, None] == 0, margin, margin[:, ::-1])
    return {Classes(): classes, Features(): features, Logits(): logits[:, None]}


def fitting_part(n, rng, **options):
    """Half of it members, which the attack must not use."""
    is_member = np.arange(n) % 2 == 0
    observations = records(n, rng, **options)
    observations[Logits()][is_member] *= 50
    return Calibration(observations, is_member)


@pytest.mark.parametrize(
    ("config", "statistic"), [(GAUSSIAN, "phi"), (PINBALL, "phi"), (PINBALL, "hinge")]
)
def test_coverage_on_fresh_nonmembers_is_what_was_asked(config, statistic):
    rng = np.random.default_rng(0)
    config = dataclasses.replace(config, alpha=0.1, statistic=statistic)
    part, fresh = fitting_part(8000, rng), records(2000, rng)
    above = round(2000 * (1 - quantile.coverage(fresh, config, part)))
    low, high = clopper_pearson(above, 2000, confidence=0.999)
    assert low <= 0.1 <= high
    limit = 0 if config.head == "quantile" else ndtri(0.9)
    assert np.sum(quantile.score(fresh, config, part) > limit) == above


def test_the_threshold_is_set_on_records_that_the_trees_did_not_see():
    rng = np.random.default_rng(6)
    hugging = dataclasses.replace(PINBALL, learning_rate=0.3, max_leaf_nodes=31)
    part, fresh = fitting_part(3000, rng), records(2000, rng)
    assert quantile.coverage(fresh, hugging, part) == pytest.approx(0.9, abs=0.03)


def test_difficulty_is_taken_out():
    """Members gain 1 on a phi that varies by more than that between records."""
    rng = np.random.default_rng(1)
    part = fitting_part(2000, rng)
    members, nonmembers = records(1000, rng, gain=1.0), records(1000, rng)
    scores = [quantile.score(side, GAUSSIAN, part) for side in (members, nonmembers)]
    plain = [quantile.statistic(side, GAUSSIAN) for side in (members, nonmembers)]
    assert auc(*scores).value > auc(*plain).value + 0.08
    pinball = [quantile.score(side, PINBALL, part) for side in (members, nonmembers)]
    assert auc(*pinball).value > auc(*plain).value + 0.05


def test_mean_and_spread_are_those_of_the_record():
    rng = np.random.default_rng(2)
    part, fresh = fitting_part(4000, rng), records(1000, rng)
    features, classes = fresh[Features()], fresh[Classes()]
    center = quantile.thresholds(fresh, dataclasses.replace(GAUSSIAN, alpha=0.5), part)
    spread = quantile.thresholds(fresh, GAUSSIAN, part) - center
    assert (
        np.abs(center - 3 * features[:, 0] - 2 * classes).mean() < 0.25
    )  # phi itself varies by about 2
    assert spearmanr(spread, features[:, 1]).statistic > 0.7
    assert np.mean(spread / ndtri(0.95) / np.exp(features[:, 1])) == pytest.approx(1, abs=0.1)


@pytest.mark.parametrize("config", [GAUSSIAN, PINBALL], ids=["gaussian", "quantile"])
def test_a_regressor_that_knows_nothing_is_attack_p(config):
    rng = np.random.default_rng(3)
    part = fitting_part(1000, rng, informative=False)
    some = records(300, rng, informative=False)
    scores = quantile.score(some, config, part)
    population = attack_p.score(some, attack_p.AttackPConfig(), part)
    assert np.array_equal(np.argsort(scores), np.argsort(population))
    if config.head == "quantile":
        decided = attack_p.score(some, attack_p.AttackPConfig(), part) > 1 - config.alpha
        # the two empirical quantiles may lie on either side of one record of the population
        assert abs(int(np.sum(scores > 0)) - int(decided.sum())) <= 1


def test_real_digits_that_are_hard_for_every_model_are_set_right(shadow_digits):
    gains = []
    for target in range(2):
        observations = shadow_digits.observe(target, 2)
        own = {r: observations[r] for r in quantile.requests(GAUSSIAN)}
        members = np.flatnonzero(shadow_digits.keep[:, target])
        outside = np.flatnonzero(~shadow_digits.keep[:, target])
        known = np.concatenate([outside[::2], members[:2]])
        part = Calibration(rows(own, known), np.arange(len(known)) >= len(outside[::2]))
        evaluated = rows(own, np.concatenate([members[2:], outside[1::2]]))
        n_members = len(members) - 2
        scores, plain = (
            auc(values[:n_members], values[n_members:]).value
            for values in (
                quantile.score(evaluated, GAUSSIAN, part),
                quantile.statistic(evaluated, GAUSSIAN),
            )
        )
        gains.append(scores - plain)
    assert np.mean(gains) > 0


def test_images_are_read_pixel_by_pixel():
    rng = np.random.default_rng(4)
    part, some = fitting_part(100, rng), records(20, rng)
    as_images = {**some, Features(): some[Features()].reshape(20, 3, 1)}
    known = {**part.observations, Features(): part.observations[Features()].reshape(100, 3, 1)}
    found = quantile.score(as_images, GAUSSIAN, Calibration(known, part.is_member))
    assert np.array_equal(found, quantile.score(some, GAUSSIAN, part))


def test_no_population_is_a_reason_not_to_run():
    some = records(5, np.random.default_rng(5))
    with pytest.raises(Inapplicable, match="quantile is fitted on a calibration part"):
        quantile.thresholds(some, GAUSSIAN)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"head": "median"}, "gaussian or quantile, got 'median'"),
        ({"statistic": "loss"}, "phi or hinge, got 'loss'"),
        ({"alpha": 1.0}, "alpha must lie between 0 and 1"),
        ({"max_iter": 0}, "max_iter must be above 0"),
    ],
)
def test_refuses_a_wrong_configuration(options, message):
    with pytest.raises(UsageError, match=message):
        quantile.QuantileConfig(**options)
