"""Similarity of drawn images: the mean cosine, three decisions, four scenarios."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import scipy.stats

from attacks.errors import UsageError
from attacks.membership import _pang, pang_i, pang_ii, pang_iii, pang_iv
from attacks.observations import Calibration
from tests.attacks.membership.synthetic import SMALL_TEXT, UNCAPTIONED

SCENARIOS = [pang_i, pang_ii, pang_iii, pang_iv]
CONFIG = _pang.default_config(SMALL_TEXT)


def seen(cosines, condition="caption"):
    """Observations with given cosines (n, r) of record and image; the rest is noise."""
    cosines = np.asarray(cosines, dtype=float)
    noise = np.random.default_rng(0).normal(size=(*cosines.shape, 3))
    noise[..., 1] = cosines
    return {_pang.request(dataclasses.replace(CONFIG, r=cosines.shape[1]), condition): noise}


def drawn(seed, n=40):
    rng = np.random.default_rng(seed)
    is_member = np.arange(n) % 2 == 0
    return rng.normal(0.3 + 0.2 * is_member[:, None], 0.1, (n, 3)), is_member


def test_similarity_is_the_mean_over_images():
    cosines, _ = drawn(0, 6)
    config = dataclasses.replace(CONFIG, decision="threshold")
    part = Calibration(seen(drawn(1)[0]), drawn(1)[1])
    expected = [sum(row) / 3 for row in cosines]
    np.testing.assert_allclose(pang_i.score(seen(cosines), config, part), expected)


def test_gaussian_decision_equals_scipy():
    known, is_member = drawn(1)
    asked, _ = drawn(2)
    config = dataclasses.replace(CONFIG, decision="gaussian")
    scores = pang_i.score(seen(asked), config, Calibration(seen(known), is_member))
    sides = [known[is_member == side].mean(axis=1) for side in (True, False)]
    inside, outside = (
        scipy.stats.norm.logpdf(asked.mean(axis=1), s.mean(), s.std(ddof=1)) for s in sides
    )
    np.testing.assert_allclose(scores, inside - outside)


@pytest.mark.parametrize("decision", _pang.DECISIONS)
@pytest.mark.parametrize("scenario", SCENARIOS)
def test_every_scenario_finds_closer_images_by_every_decision(scenario, decision):
    config = dataclasses.replace(CONFIG, decision=decision)
    known, is_known_member = drawn(3)
    asked, is_member = drawn(4)
    part = Calibration(seen(known, scenario.CONDITION), is_known_member)
    scores = scenario.score(seen(asked, scenario.CONDITION), config, part)
    assert np.mean(scores[is_member, None] > scores[None, ~is_member]) > 0.9


def test_scenarios_say_what_they_lack():
    reasons = [s.applicable(dataclasses.replace(SMALL_TEXT, has_shadow=False)) for s in SCENARIOS]
    assert reasons[:2] == [None, None]
    assert all("needs a shadow model" in reason for reason in reasons[2:])
    blind = [s.applicable(dataclasses.replace(SMALL_TEXT, has_guesses=False)) for s in SCENARIOS]
    assert blind[0] is blind[2] is None
    assert "caption_guess" in blind[1]
    assert "caption_guess" in blind[3]
    alone = dataclasses.replace(UNCAPTIONED, has_guesses=True, encoder="towers")
    assert pang_ii.applicable(alone) is None
    assert "caption" in pang_i.applicable(alone)


def test_an_unknown_decision_is_refused():
    with pytest.raises(UsageError, match="did you mean 'gaussian'"):
        _pang.PangConfig(decision="gausian")
