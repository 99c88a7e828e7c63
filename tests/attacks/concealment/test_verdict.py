"""Erased, concealed, inconclusive or invalid: recovery curves and what follows from them."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from scipy import stats

from attacks.concealment.curve import Reach, curve
from attacks.concealment.verdict import Answer, Evidence, Limits, judge
from attacks.errors import ShapeError, UnderPowered, UsageError

STEPS = (10, 25, 50)
IS_RANDOM = np.array([False, True, True])


def _reach(
    rng: np.random.Generator,
    *,
    n1: int = 40,
    n0: int = 200,
    held: float = 0.0,
    from_step: int = 10,
    by_prompt: bool = False,
    by_start: tuple[bool, ...] = (True, True, True),
    loss: float = 0.1,
) -> Reach:
    """Distances of a model that still holds a share of the members, from a budget on."""
    far = rng.lognormal(np.log(0.35), 0.3, size=n1 + n0)
    prompt = far * rng.lognormal(0, 0.1, size=n1 + n0)
    attacked = far * rng.lognormal(-0.1, 0.1, size=(3, 3, n1 + n0))
    keeps = np.arange(n1) < round(held * n1)
    near = rng.lognormal(np.log(0.03), 0.2, size=(3, 3, n1))
    for s in range(3):
        for c, steps in enumerate(STEPS):
            if by_start[s] and steps >= from_step:
                attacked[s, c, :n1] = np.where(keeps, near[s, c], attacked[s, c, :n1])
    if by_prompt:
        prompt[:n1] = np.where(keeps, near[0, 0], prompt[:n1])
    return Reach(prompt, attacked, IS_RANDOM, STEPS, loss)


def _evidence(original: Reach, edited: Reach, n1: int = 40, **more) -> Evidence:
    is_fit = np.arange(len(original.prompt) - n1) % 2 == 0
    return Evidence(
        control=curve(original, n1, is_fit, random_alone=True),
        original=curve(original, n1, is_fit),
        edited=curve(edited, n1, is_fit),
        original_loss=original.loss,
        edited_loss=edited.loss,
        **more,
    )


def _judged(edited: dict, original: dict | None = None, n1: int = 40, n0: int = 200, seed: int = 0):
    rng = np.random.default_rng(seed)
    before = {"held": 1.0, "by_prompt": True} | (original or {})
    return judge(
        _evidence(_reach(rng, n1=n1, n0=n0, **before), _reach(rng, n1=n1, n0=n0, **edited), n1=n1)
    )


def test_a_model_that_never_saw_the_records_is_erased():
    found = _judged({}, n1=60)
    assert found.answer is Answer.ERASED
    assert found.n_proven == 60
    assert found.n_back <= 1
    assert found.sufficient_steps == 10
    exact = stats.beta.ppf(0.95, found.n_back + 1, 60 - found.n_back)
    assert found.bound == pytest.approx(exact)
    assert not found.needed


@pytest.mark.parametrize(
    "edited",
    [
        {"held": 1.0},
        {"held": 1.0, "from_step": 50},
        {"held": 0.3},
        {"held": 1.0, "by_start": (False, False, True)},
        {"held": 1.0, "by_start": (True, False, False)},
        {"held": 1.0, "by_start": (False, False, False), "by_prompt": True},
    ],
)
def test_records_that_come_back_in_any_way_are_concealed(edited):
    found = _judged(edited)
    assert found.answer is Answer.CONCEALED
    assert found.p_value <= 0.01
    assert ("suppressed" in " ".join(found.reasons)) == (not edited.get("by_prompt", False))


def test_a_few_that_come_back_are_enough_against_erased():
    found = _judged({"held": 0.05})
    assert found.n_back >= 2
    assert found.answer is Answer.INCONCLUSIVE
    assert any("bound below 10 %" in one for one in found.needed)


def test_twelve_records_cannot_show_a_tenth_but_a_quarter():
    rng = np.random.default_rng(3)
    evidence = _evidence(_reach(rng, n1=12, held=1.0, by_prompt=True), _reach(rng, n1=12), n1=12)
    strict, lax = judge(evidence), judge(evidence, Limits(margin=0.25))
    assert strict.n_back == 0
    assert strict.answer is Answer.INCONCLUSIVE
    assert "takes 29" in " ".join(strict.needed)
    assert lax.answer is Answer.ERASED


def test_an_attack_that_does_nothing_is_invalid_although_the_prompt_draws_the_original():
    idle = {"by_start": (True, False, False)}  # the start from the caption needs no attack
    found = _judged({}, original=idle)
    assert found.answer is Answer.INVALID
    assert found.sufficient_steps is None
    assert "too weak" in found.reasons[0]


def test_an_original_that_holds_nothing_is_invalid():
    found = _judged({}, original={"held": 0.0, "by_prompt": False})
    assert found.answer is Answer.INVALID
    assert "may not have memorized" in found.reasons[0]


def test_an_embedding_that_describes_any_image_is_invalid():
    rng = np.random.default_rng(1)
    original = _reach(rng, held=1.0, by_prompt=True)
    paints = dataclasses.replace(original, attacked=rng.lognormal(-3.5, 0.2, size=(3, 3, 240)))
    assert judge(_evidence(paints, paints)).answer is Answer.CONCEALED  # by prompt alone
    assert judge(_evidence(paints, _reach(rng))).answer is Answer.INVALID


@pytest.mark.parametrize(
    ("original", "edited", "needed"),
    [
        ({"from_step": 25}, {}, "100 steps"),
        ({"held": 0.4}, {}, "recovers at least 50 %"),
        ({}, {"loss": 0.9}, "works"),
        ({}, {"n0": 42}, "50 never-seen"),
    ],
)
def test_erased_needs_every_condition(original, edited, needed):
    n0 = edited.pop("n0", 200)
    found = _judged(edited, original, n0=n0)
    assert found.answer is Answer.INCONCLUSIVE
    assert any(needed in one for one in found.needed)


def test_records_that_come_nearer_without_coming_back_are_not_erased():
    rng = np.random.default_rng(2)
    edited = _reach(rng)
    edited.attacked[:, :, :40] *= 0.75
    edited.prompt[:40] *= 0.75
    found = judge(_evidence(_reach(rng, held=1.0), edited))
    assert found.answer is not Answer.ERASED
    assert found.answer is Answer.CONCEALED or "come nearer" in " ".join(found.needed)


def test_a_model_that_draws_anything_is_not_erased():
    rng = np.random.default_rng(2)
    edited = _reach(rng)
    nearer = dataclasses.replace(edited, attacked=edited.attacked * 0.3)
    found = judge(_evidence(_reach(rng, held=1.0), nearer))
    assert found.answer is Answer.INCONCLUSIVE
    assert any("smaller budget" in one for one in found.needed)


def test_a_reference_that_gives_the_records_away_is_invalid():
    rng = np.random.default_rng(4)
    is_fit = np.arange(200) % 2 == 0
    original, clean = _reach(rng, held=1.0), _reach(rng)
    easy = curve(_reach(rng, held=0.5), 40, is_fit)
    evidence = _evidence(original, clean)
    assert judge(dataclasses.replace(evidence, reference=easy)).answer is Answer.INVALID
    fine = dataclasses.replace(evidence, reference=curve(_reach(rng), 40, is_fit))
    assert judge(fine).answer is Answer.ERASED
    held = _evidence(original, _reach(rng, held=1.0), reference=easy)
    assert judge(held).answer is Answer.INVALID


def test_zeros_that_can_be_refilled_are_concealed():
    rng = np.random.default_rng(5)
    is_fit = np.arange(200) % 2 == 0
    refilled = curve(_reach(rng, held=1.0, by_prompt=True), 40, is_fit)[0]
    evidence = _evidence(_reach(rng, held=1.0), _reach(rng), revived=refilled)
    found = judge(evidence)
    assert found.answer is Answer.CONCEALED
    assert "refilled" in found.reasons[0]


def test_wrong_answers_are_rare_and_right_ones_common():
    runs = 40
    clean = [_judged({}, seed=seed).answer for seed in range(runs)]
    partly = [_judged({"held": 0.2}, seed=seed).answer for seed in range(runs)]
    held = [_judged({"held": 0.5}, seed=seed).answer for seed in range(runs)]
    assert clean.count(Answer.ERASED) >= 0.8 * runs
    assert clean.count(Answer.CONCEALED) <= 2
    assert partly.count(Answer.ERASED) <= 1
    assert held.count(Answer.CONCEALED) == runs


def test_a_stage_equals_an_obvious_count():
    rng = np.random.default_rng(6)
    reach, is_fit = _reach(rng, held=0.3), rng.random(200) < 0.5
    for random_alone in (False, True):
        found = curve(reach, 40, is_fit, random_alone=random_alone)
        assert [stage.steps for stage in found] == [0, *STEPS]
        for c, stage in enumerate(found):
            best = []
            for i in range(240):
                values = [reach.prompt[i]] if c == 0 else []
                for s in range(3):
                    if IS_RANDOM[s] or not random_alone:
                        values += [reach.attacked[s, k, i] for k in range(c)]
                best.append(min(values))
            fit = [best[40 + i] for i in range(200) if is_fit[i]]
            limit = sorted(fit)[max(int(0.01 * (len(fit) + 1)), 1) - 1] / 2
            k = sum(one < limit for one in best[:40])
            others = [best[40 + i] < limit for i in range(200) if not is_fit[i]]
            assert stage.threshold == limit
            assert (stage.n_recovered, stage.n_nonmembers_recovered) == (k, sum(others))
            assert (stage.n_fit, stage.n_nonmembers) == (len(fit), len(others))
            table = [[k, 40 - k], [sum(others), len(others) - sum(others)]]
            expected = stats.fisher_exact(table, alternative="greater").pvalue
            assert stage.p_value == pytest.approx(expected)


def test_what_does_not_fit_is_refused():
    rng = np.random.default_rng(0)
    with pytest.raises(UnderPowered, match="give 40 or more"):
        curve(_reach(rng, n0=30), 40, np.arange(30) % 2 == 0)
    with pytest.raises(ShapeError, match="never-seen"):
        curve(_reach(rng), 40, np.zeros(7, bool))
    with pytest.raises(ShapeError, match="checkpoints"):
        Reach(np.zeros(3), np.zeros((2, 2, 3)), np.array([True, False]), (10,), 0.1)
    captioned = dataclasses.replace(_reach(rng), is_random=np.zeros(3, bool))
    with pytest.raises(ShapeError, match="random start"):
        captioned.best(random_alone=True)
    with pytest.raises(UsageError, match="margin"):
        Limits(margin=0)
    assert Limits(margin=0.1).fewest_members == 29
    assert Limits(margin=0.25).fewest_members == 11
