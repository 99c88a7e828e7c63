"""The parts of a comparison: halves, canaries, scores, differences, controls."""

from __future__ import annotations

import numpy as np
import pytest

from attacks.errors import DataError
from attacks.results import ControlStatus, Estimate
from attacks.statistics.auc import auc
from attacks.statistics.means import t_interval
from auditor.comparison import controls, leak
from auditor.comparison.design import make_design, with_wrong_labels
from auditor.comparison.scores import all_scores, centred_phi
from auditor.methods import Records
from tests.auditor.comparison.kernel_method import pool_of

KINDS = ("method", "baseline")


@pytest.fixture(scope="module")
def design():
    return make_design(pool_of(151, 0), 3, 5)


def memory(design, strength, seed=0):
    """(3, 2, n) signals of models that are surer of their members by `strength`."""
    noise = np.random.default_rng(seed).normal(size=design.keep.shape)
    difficulty = np.random.default_rng(seed + 1).normal(size=design.keep.shape[-1]) * 3
    return noise + difficulty + strength * design.keep


def measured(design, method, baseline):
    correct = np.ones((3, 2, 20), dtype=bool)
    return {
        kind: leak.Measured(memory(design, strength, seed), correct)
        for kind, strength, seed in (("method", method, 3), ("baseline", baseline, 3))
    }


def test_halves_are_complementary_and_ordinary_records_are_halved(design):
    assert (design.keep[:, 0] == ~design.keep[:, 1]).all()
    ordinary = design.keep[:, 0, ~design.is_canary]
    assert (ordinary.sum(axis=1) == ordinary.shape[1] // 2).all()
    assert len({row.tobytes() for row in design.keep[:, 0]}) == 3
    assert design.seeds == (5, 6, 7)


def test_the_design_is_a_function_of_the_seed(design):
    again, other = (make_design(pool_of(151, 0), 3, seed) for seed in (5, 6))
    assert np.array_equal(design.keep, again.keep)
    assert np.array_equal(design.records.classes, again.records.classes)
    assert not np.array_equal(design.is_canary, other.is_canary)


def test_canaries_alone_have_other_labels_and_coins_are_fair(design):
    pool = pool_of(151, 0)
    assert np.array_equal(design.records.classes != pool.classes, design.is_canary)
    assert design.is_canary.sum() == 10
    coins = np.concatenate(
        [make_design(pool, 3, s).keep[:, 0, make_design(pool, 3, s).is_canary].ravel() for s in range(60)]
    )  # fmt: skip
    assert abs(coins.mean() - 0.5) < 4 * 0.5 / np.sqrt(coins.size)


def test_wrong_labels_are_every_other_class_of_gapped_classes():
    classes = np.array([1, 4, 9] * 200)
    planted = with_wrong_labels(classes, np.arange(600), np.random.default_rng(0))
    assert (planted != classes).all()
    assert {(a, b) for a, b in zip(classes, planted, strict=True)} == {
        (a, b) for a in (1, 4, 9) for b in (1, 4, 9) if a != b
    }


def test_what_cannot_be_planted_is_refused():
    with pytest.raises(DataError, match="one class"):
        with_wrong_labels(np.zeros(5, dtype=int), np.arange(2), np.random.default_rng(0))
    with pytest.raises(DataError, match="40 records"):
        make_design(pool_of(39, 0), 3, 0)
    no_classes = make_design(Records(np.zeros((50, 2))), 3, 0)
    assert not no_classes.is_canary.any()


def test_signals_are_centred_on_the_ordinary_records_of_each_class(design):
    logits = np.random.default_rng(0).normal(size=(151, 3)) * 4 + np.array([9.0, 0, -9])
    centred = centred_phi(logits, design)
    classes = design.records.classes
    for c in range(3):
        rows = (classes == c) & ~design.is_canary
        assert np.median(centred[rows]) == pytest.approx(0, abs=1e-9)
        p = np.exp(logits[classes == c])
        p = p[:, c] / p.sum(axis=1)
        shift = np.log(p / (1 - p)) - centred[classes == c]
        assert np.ptp(shift) < 1e-6


def test_calibration_equals_the_obvious_loop_over_the_other_trials(design):
    phi = memory(design, 1.0)
    scores = all_scores(phi, design)["calibrated_loss"]
    for t in range(3):
        for half in range(2):
            for i in range(0, 151, 7):
                out = [phi[u, 0 if not design.keep[u, 0, i] else 1, i] for u in range(3) if u != t]
                assert scores[t, half, i] == pytest.approx(phi[t, half, i] - np.mean(out))


def test_calibration_takes_out_the_difficulty(design):
    phi = memory(design, 1.0)
    scores, inside = all_scores(phi, design), design.keep
    areas = {
        name: np.mean([auc(v[t, h][inside[t, h]], v[t, h][~inside[t, h]]).value for t in range(3) for h in range(2)])
        for name, v in scores.items()
    }  # fmt: skip
    assert areas["calibrated_loss"] > areas["loss"] + 0.05


@pytest.mark.parametrize(
    ("ours", "theirs", "answer"),
    [(2.0, 0.3, "leaks more"), (0.3, 2.0, "leaks less"), (1.0, 1.0, "undecided")],
)
def test_the_answer_follows_the_memory(design, ours, theirs, answer):
    models = measured(design, ours, theirs)
    found = leak.measure_leak(models, leak.scored(models, design))
    (primary,) = [one for one in found.comparisons if one.is_primary]
    assert (primary.attack, primary.group) == leak.PRIMARY
    assert primary.answer == answer
    assert primary.difference.value == pytest.approx(np.mean(primary.per_trial))
    assert primary.difference.value == pytest.approx(primary.method.value - primary.baseline.value)
    per_pair = np.array([p.difference.value for p in primary.pairs]).reshape(3, 2).mean(axis=1)
    assert per_pair == pytest.approx(np.array(primary.per_trial))
    assert len(found.models) == 12


def test_equal_models_differ_by_nothing(design):
    models = measured(design, 1.0, 1.0)
    found = leak.measure_leak(models, leak.scored(models, design))
    for one in found.comparisons:
        assert (one.difference.value, one.difference.low, one.difference.high) == (0, 0, 0)
        assert one.answer == "undecided"


def test_canary_pairs_equal_the_obvious_loop_and_ties_are_not_found(design):
    phi = memory(design, 1.0)
    expected = [
        phi[t, 0 if design.keep[t, 0, i] else 1, i] > phi[t, 1 if design.keep[t, 0, i] else 0, i]
        for t in range(3)
        for i in np.flatnonzero(design.is_canary)
    ]
    assert leak.canary_pairs(phi, design).tolist() == expected
    assert not leak.canary_pairs(np.zeros_like(phi), design).any()


@pytest.mark.parametrize(
    ("strength", "status"), [(5.0, ControlStatus.PASSED), (0.0, ControlStatus.NOT_RUN)]
)
def test_canaries_must_be_found_in_the_baseline(design, strength, status):
    models = measured(design, 5.0, strength)
    control = controls.canaries_found(models, leak.scored(models, design))
    assert control.status is status
    assert ("not established" in control.summary) == (status is ControlStatus.NOT_RUN)


def test_permuted_labels_give_nothing_and_real_ones_would(design, monkeypatch):
    models = measured(design, 3.0, 3.0)
    one = leak.scored(models, design)
    assert controls.permuted_labels(one, 0).status is ControlStatus.PASSED

    class Unpermuted:
        def __init__(self, rng):
            self.permutation, self.permuted = (lambda labels: labels), rng.permuted

    default_rng = np.random.default_rng
    monkeypatch.setattr(controls.np.random, "default_rng", lambda s: Unpermuted(default_rng(s)))
    assert controls.permuted_labels(one, 0).status is ControlStatus.FAILED


def test_a_method_that_learned_less_is_a_warning(design):
    correct = np.random.default_rng(0).random((3, 2, 400)) < 0.9
    phi = memory(design, 1.0)
    good, bad = (
        leak.Measured(phi, correct),
        leak.Measured(phi, correct & (correct.cumsum(2) % 2 > 0)),
    )
    cases = ((good, good, "passed"), (bad, good, "warning"), (good, bad, "passed"))
    for method, baseline, status in cases:
        found = controls.competence({"method": method, "baseline": baseline})
        assert found.status.value == status


def test_words_of_an_interval():
    assert leak.in_words(Estimate(0.1, 0.01, 0.2)) == "leaks more"
    assert leak.in_words(Estimate(-0.1, -0.2, -0.01)) == "leaks less"
    assert leak.in_words(Estimate(0.1, -0.01, 0.2)) == "undecided"
    assert leak.in_words(Estimate(0.1, None, None)) == "undecided"


def test_a_student_interval_equals_scipy_s_and_one_value_has_none():
    from scipy import stats

    values = np.array([0.2, 0.5, 0.1])
    found = t_interval(values)
    low, high = stats.t.interval(0.95, 2, loc=values.mean(), scale=stats.sem(values))
    assert (found.low, found.high) == pytest.approx((low, high))
    assert t_interval([0.3]).low is None
