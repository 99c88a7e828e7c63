"""The attacks side by side on real shadow models: what must come before what.

Thirty-two networks on digits with one tenth of wrong labels; each of the first sixteen models is
the target in turn, with the pairs that follow its own for shadow models. Orders and margins are
those of the card's larger run; a model's own twin is never among its shadow models.
"""

from __future__ import annotations

import numpy as np
import pytest

from attacks.membership import (
    _population,
    attack_r,
    calibrated_loss,
    lira,
    lira_offline,
    mentr,
    rmia,
    yeom,
)
from attacks.statistics import auc

TARGETS = range(16)
POOLED = lira.LiraConfig(variance="pooled")
PER_RECORD = lira.LiraConfig(variance="per_record")
MOST = 30


@pytest.fixture(scope="module")
def mean_auc(shadow_digits):
    """A function: AUC of an attack with k shadow models, averaged over targets."""
    run, known = shadow_digits, {}

    def measure(attack, config, k, subset=None):
        values = []
        for target in TARGETS:
            key = (attack.MANIFEST.name, config, k, target)
            if key not in known:
                known[key] = attack.score(run.observe(target, k), config)
            scores, is_member = known[key], run.keep[:, target]
            if subset is not None:
                scores, is_member = scores[subset], is_member[subset]
            values.append(auc(scores[is_member], scores[~is_member]).value)
        return float(np.mean(values))

    return measure


def test_the_models_are_sound(shadow_digits):
    is_right = shadow_digits.logits.argmax(axis=-1) == shadow_digits.classes[:, None]
    inside, outside = is_right[shadow_digits.keep].mean(), is_right[~shadow_digits.keep].mean()
    assert 0.8 < outside < inside < 0.97


def test_lira_beats_the_loss(mean_auc):
    floor = mean_auc(yeom, yeom.YeomConfig(), 2)
    assert floor > 0.53
    assert mean_auc(lira, POOLED, MOST) - floor > 0.08
    assert mean_auc(lira_offline, lira_offline.LiraOfflineConfig(), MOST) - floor > 0.05
    calibrated = calibrated_loss.CalibratedLossConfig()
    assert mean_auc(calibrated_loss, calibrated, MOST) - floor > 0.05
    assert mean_auc(attack_r, attack_r.AttackRConfig(), MOST) - floor > 0.05


def test_with_one_pair_rmia_beats_lira(mean_auc):
    assert mean_auc(rmia, rmia.RmiaConfig(), 2) - mean_auc(lira, POOLED, 2) > 0.04


def test_with_many_models_rmia_and_lira_come_close(mean_auc):
    assert abs(mean_auc(rmia, rmia.RmiaConfig(), MOST) - mean_auc(lira, POOLED, MOST)) < 0.02


def test_the_spread_of_each_record_needs_many_models(mean_auc):
    assert mean_auc(lira, POOLED, 8) - mean_auc(lira, PER_RECORD, 8) > 0.015
    assert mean_auc(lira, POOLED, MOST) - mean_auc(lira, PER_RECORD, MOST) < 0.015


def test_more_shadow_models_help(mean_auc):
    for attack, config in ((lira, POOLED), (lira_offline, lira_offline.LiraOfflineConfig())):
        aucs = [mean_auc(attack, config, k) for k in (2, 8, MOST)]
        assert aucs[0] < aucs[1] < aucs[2]


def test_a_has_to_be_tuned(mean_auc):
    best, cifar, tuned = (
        mean_auc(rmia, rmia.RmiaConfig(mode="offline", a=a), MOST) for a in (1.0, 0.3, None)
    )
    assert best - cifar > 0.03
    assert tuned > best - 0.005


def test_interpolation_helps_attack_r_where_ties_are_many(mean_auc):
    raw, interpolated = (mean_auc(attack_r, attack_r.AttackRConfig(i), 4) for i in (False, True))
    assert interpolated > raw


@pytest.mark.parametrize(
    ("attack", "config", "k"),
    [
        (yeom, yeom.YeomConfig(), 2),
        (mentr, mentr.MentrConfig(), 2),
        (lira, POOLED, 2),
        (lira, POOLED, MOST),
        (lira_offline, lira_offline.LiraOfflineConfig(), MOST),
        (calibrated_loss, calibrated_loss.CalibratedLossConfig(), MOST),
        (rmia, rmia.RmiaConfig(), 2),
        (rmia, rmia.RmiaConfig(mode="offline"), MOST),
        (attack_r, attack_r.AttackRConfig(), MOST),
    ],
)
def test_wrong_labels_are_found_best(mean_auc, shadow_digits, attack, config, k):
    flipped = mean_auc(attack, config, k, shadow_digits.is_flipped)
    clean = mean_auc(attack, config, k, ~shadow_digits.is_flipped)
    assert flipped > 0.85
    assert clean < flipped - 0.2


def test_gamma_moves_ties_only(shadow_digits):
    log_ratios = rmia.score(shadow_digits.observe(0, MOST), rmia.RmiaConfig())
    is_member = shadow_digits.keep[:, 0]
    population = log_ratios[~is_member][::2]
    aucs = []
    for gamma in (1.0, 2.0):
        shares = _population.share_below(log_ratios, population, gap=np.log(gamma), strict=True)
        aucs.append(auc(shares[is_member], shares[~is_member]).value)
    assert abs(aucs[0] - aucs[1]) < 0.005


def test_untrained_models_leave_nothing_to_find():
    from tests.attacks.membership.shadow_digits import train_run

    run = train_run(n_models=8, steps=1, rate=0.0)
    for attack, config in (
        (yeom, yeom.YeomConfig()),
        (lira, POOLED),
        (lira_offline, lira_offline.LiraOfflineConfig()),
        (rmia, rmia.RmiaConfig()),
        (calibrated_loss, calibrated_loss.CalibratedLossConfig()),
    ):
        scores = attack.score(run.observe(0, 6), config)
        found = auc(scores[run.keep[:, 0]], scores[~run.keep[:, 0]])
        assert found.lower(0.0005) < 0.5 < found.upper(0.0005)
