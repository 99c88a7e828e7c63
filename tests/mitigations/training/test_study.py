"""Studies: what is tried is reproducible, continues, and is never tried twice."""

from __future__ import annotations

import pytest

from mitigations.memcontrol.study import Plan, Space, searched
from mitigations.memcontrol.trial import Outcome


class Counted:
    """Evaluates by a formula, and counts; interrupts itself if it is told to."""

    def __init__(self, stop_after=None, diverge=False):
        self.asked, self.stop_after, self.diverge = [], stop_after, diverge

    def __call__(self, candidates):
        for one in candidates:
            if len(self.asked) == self.stop_after:
                raise KeyboardInterrupt
            self.asked.append(one)
            ones = sum(one.bits)
            is_finite = not (self.diverge and one.bits[0])
            quality = 1 / (1 + sum(b * w for b, w in zip(one.bits, (4, 2, 1, 1, 1), strict=True)))
            yield Outcome(ones + one.learning_rate, quality, 0.0, ones, 0.1, is_finite)


def plan(folder=None, kind="tpe", trials=12, workers=1, rates=(1e-4, 1e-2), seed=0):
    return Plan(Space(5, *rates), kind, trials, seed, workers, "name", folder, 3)


def candidates(tried):
    return [one.candidate for one in tried]


@pytest.mark.parametrize("kind", ["tpe", "nsga2", "random"])
@pytest.mark.parametrize("workers", [1, 3])
def test_an_interrupted_study_goes_on_as_if_it_had_not_been(tmp_path, kind, workers):
    whole = Counted()
    expected = searched(plan(kind=kind, workers=workers), whole)
    assert len(expected) == 12
    first = Counted(stop_after=5)
    with pytest.raises(KeyboardInterrupt):
        searched(plan(tmp_path, kind, workers=workers), first)
    second = Counted()
    found = searched(plan(tmp_path, kind, workers=workers), second)
    assert sorted(candidates(found)) == sorted(candidates(expected))
    assert set(first.asked) | set(second.asked) == set(candidates(expected))
    assert not set(first.asked) & set(second.asked)
    again = Counted()
    assert candidates(searched(plan(tmp_path, kind, workers=workers), again)) == candidates(found)
    assert again.asked == []


def test_the_seed_and_the_sampler_decide_what_is_tried():
    runs = [
        candidates(searched(plan(kind=kind, seed=seed), Counted()))
        for kind, seed in (("tpe", 0), ("tpe", 0), ("tpe", 1), ("nsga2", 0), ("random", 0))
    ]
    assert runs[0] == runs[1]
    assert len({tuple(run) for run in runs[1:]}) == 4


def test_a_mask_that_comes_up_again_is_not_trained_again(tmp_path):
    evaluate = Counted()
    tried = searched(plan(tmp_path, "random", trials=60, rates=(1e-3, 1e-3)), evaluate)
    assert len(tried) == 60
    assert len(evaluate.asked) == len(set(evaluate.asked)) == len(set(candidates(tried))) < 33
    more = searched(plan(tmp_path, "random", trials=64, rates=(1e-3, 1e-3)), Counted())
    assert candidates(more)[:60] == candidates(tried)


def test_diverged_trials_count_and_are_remembered(tmp_path):
    tried = searched(plan(tmp_path), Counted(diverge=True))
    failed = [one for one in tried if not one.outcome.is_finite]
    assert failed
    assert all(one.candidate.bits[0] == 1 for one in failed)
    again = searched(plan(tmp_path), Counted(stop_after=0))
    assert [one.outcome.is_finite for one in again] == [one.outcome.is_finite for one in tried]


def test_progress_is_told_after_every_trial():
    told = []
    searched(plan(trials=5), Counted(), lambda tried: told.append(len(tried)))
    assert told == [1, 2, 3, 4, 5]
