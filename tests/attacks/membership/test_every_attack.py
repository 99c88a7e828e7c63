"""What must hold for every built-in attack: null, planted, stub, invariances, purity."""

from __future__ import annotations

import builtins
import inspect
import socket

import numpy as np
import pytest

from attacks import registry
from attacks.errors import Inapplicable, InternalError, ShapeError
from attacks.observations import Calibration, Classes, Features
from tests.attacks.membership.synthetic import TARGETS, calibration, observe, rows

ATTACKS = [pytest.param(registry.attack(name), id=name) for name in registry.BUILT_IN]
UNFITTED = [p for p in ATTACKS if not p.values[0].MANIFEST.fitted]
FITTED = [p for p in ATTACKS if p.values[0].MANIFEST.fitted]
ON_ERRORS = [p for p in UNFITTED if p.values[0].MANIFEST.family == "diffusion"]
FROM_SHADOWS = {"lira", "lira_offline", "shokri", "trajectory", "risk_score"}
"""Attacks that take what is common to all records (a spread, an attack model) from shadow models."""
THRESHOLDS = {"clid", "attack_p", "quantile"}
"""Fitted attacks whose direction is given, whatever the labels of the calibration part say."""


def make(attack, seed, n=40, planted=None, leaks=True):
    """(observations, configuration, calibration part or None)."""
    rng = np.random.default_rng(seed)
    config = attack.default_config(TARGETS[attack.MANIFEST.family])
    requests = attack.requests(config)
    part = calibration(requests, rng, leaks=leaks) if attack.MANIFEST.fitted else None
    return observe(requests, n, rng, planted), config, part


def assert_on_top(scores, planted):
    others = np.setdiff1d(np.arange(len(scores)), planted)
    assert scores[planted].min() > scores[others].max()


@pytest.mark.parametrize("attack", ATTACKS)
def test_planted_records_are_on_top(attack):
    planted = np.array([3, 7, 8, 21, 39])
    observations, config, part = make(attack, 1, planted=planted)
    scores = attack.score(observations, config, part)
    assert scores.shape == (40,)
    assert scores.dtype == np.float64
    assert_on_top(scores, planted)


def test_a_stub_would_miss_the_planted_records():
    with pytest.raises(AssertionError):
        assert_on_top(np.zeros(40), np.array([3, 7, 8, 21, 39]))


@pytest.mark.parametrize("attack", ATTACKS)
def test_without_memorisation_the_scores_say_nothing(attack):
    aucs = []
    n = 30
    for seed in range(6):
        scores = attack.score(*make(attack, seed, n=2 * n, leaks=False))
        members, nonmembers = scores[:n, None], scores[None, n:]
        aucs.append(np.mean(members > nonmembers) + np.mean(members == nonmembers) / 2)
    deviation = np.sqrt((2 * n + 1) / (12 * n * n) / len(aucs))
    assert abs(np.mean(aucs) - 0.5) < 3.3 * deviation


@pytest.mark.parametrize("attack", ATTACKS)
def test_permuting_records_permutes_scores(attack):
    observations, config, part = make(attack, 2, planted=np.arange(5))
    order = np.random.default_rng(0).permutation(40)
    scores = attack.score(observations, config, part)
    permuted = attack.score(rows(observations, order), config, part)
    np.testing.assert_allclose(permuted, scores[order], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("attack", ATTACKS)
def test_a_score_does_not_depend_on_the_other_records(attack):
    if attack.MANIFEST.name in FROM_SHADOWS:
        pytest.skip("what shadow models show on all records is common to them")
    observations, config, part = make(attack, 3, planted=np.arange(5))
    some = np.array([2, 17, 30])
    scores = attack.score(observations, config, part)
    alone = attack.score(rows(observations, some), config, part)
    np.testing.assert_allclose(alone, scores[some], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("attack", ATTACKS)
def test_a_score_does_not_depend_on_what_the_target_answers_on_other_records(attack):
    observations, config, part = make(attack, 3, planted=np.arange(5))
    some = np.array([2, 17, 30])
    order = np.roll(np.arange(40), 1)
    order[some] = some
    disturbed = {
        request: array if is_known_without_the_target(request) else array[order]
        for request, array in observations.items()
    }
    scores = attack.score(observations, config, part)
    again = attack.score(disturbed, config, part)
    np.testing.assert_allclose(again[some], scores[some], rtol=1e-9, atol=1e-9)


def is_known_without_the_target(request):
    return isinstance(request, (Classes, Features)) or request.kind.startswith("shadow")


@pytest.mark.parametrize("attack", FITTED)
def test_the_order_of_the_calibration_part_does_not_matter(attack):
    observations, config, part = make(attack, 4)
    order = np.random.default_rng(0).permutation(len(part.is_member))
    shuffled = Calibration(rows(part.observations, order), part.is_member[order])
    expected = attack.score(observations, config, part)
    assert np.array_equal(attack.score(observations, config, shuffled), expected)


@pytest.mark.parametrize("attack", FITTED)
def test_a_fitted_attack_learns_from_calibration_labels_alone(attack):
    assert list(inspect.signature(attack.score).parameters) == [
        "observations",
        "config",
        "calibration",
    ]
    planted = np.arange(5)
    observations, config, part = make(attack, 5, planted=planted)
    swapped = Calibration(part.observations, ~part.is_member)
    scores = attack.score(observations, config, part)
    against = attack.score(observations, config, swapped)
    assert scores[planted].mean() > scores[5:].mean()
    if attack.MANIFEST.name not in THRESHOLDS:
        assert against[planted].mean() < against[5:].mean()


@pytest.mark.parametrize("attack", FITTED)
def test_a_fitted_attack_refuses_to_run_without_a_calibration_part(attack):
    observations, config, part = make(attack, 6)
    with pytest.raises(Inapplicable, match="calibration part"):
        attack.score(observations, config)
    one_sided = Calibration(part.observations, np.ones(60, dtype=bool))
    with pytest.raises(Inapplicable, match="60 and 0"):
        attack.score(observations, config, one_sided)
    misfit = Calibration(part.observations, part.is_member[:50])
    with pytest.raises(ShapeError, match="50 labels for 60 records"):
        attack.score(observations, config, misfit)


@pytest.mark.parametrize("attack", UNFITTED)
def test_an_unfitted_attack_ignores_the_calibration_part(attack):
    observations, config, _ = make(attack, 7)
    part = calibration(attack.requests(config), np.random.default_rng(0))
    with_part, alone = (attack.score(observations, config, p) for p in (part, None))
    if attack.MANIFEST.name == "rmia":  # its scores become shares of a population, in one order
        with_part, alone = np.argsort(with_part), np.argsort(alone)
    assert np.array_equal(alone, with_part)


@pytest.mark.parametrize("attack", ON_ERRORS)
def test_the_unit_of_the_error_does_not_change_the_ranking(attack):
    observations, config, _ = make(attack, 8)
    doubled = {request: 2 * array for request, array in observations.items()}
    ranking = np.argsort(attack.score(observations, config))
    assert np.array_equal(np.argsort(attack.score(doubled, config)), ranking)


@pytest.mark.parametrize("attack", ATTACKS)
@pytest.mark.parametrize("n", [0, 1])
def test_few_records(attack, n):
    if attack.MANIFEST.name == "trajectory" and n == 1:
        pytest.skip("a single shadow model saw one record or did not: nothing to learn from")
    observations, config, part = make(attack, 9, n=n)
    scores = attack.score(observations, config, part)
    assert scores.shape == (n,)
    assert np.all(np.isfinite(scores))


@pytest.mark.parametrize("attack", ATTACKS)
def test_scores_are_deterministic_and_touch_neither_files_nor_network(attack, monkeypatch):
    observations, config, part = make(attack, 10)
    before = {request: array.copy() for request, array in observations.items()}
    scores = attack.score(observations, config, part)

    def refuse(*arguments, **options):
        raise AssertionError("an attack opened a file or a socket")

    monkeypatch.setattr(builtins, "open", refuse)
    monkeypatch.setattr(socket, "socket", refuse)
    again = attack.score(observations, config, part)
    monkeypatch.undo()
    assert scores.tobytes() == again.tobytes()
    assert all(np.array_equal(before[r], array) for r, array in observations.items())


@pytest.mark.parametrize("attack", ATTACKS)
def test_an_unanswered_request_is_our_own_bug(attack):
    _, config, part = make(attack, 11)
    with pytest.raises(InternalError, match="no observation answers"):
        attack.score({}, config, part)
