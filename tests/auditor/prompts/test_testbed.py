"""What each detector sees on the bundled model that memorized twelve captions."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from attacks.detection import Setting
from attacks.detection.registry import DETECTORS
from attacks.statistics.auc import auc
from auditor.demo.digits import N_PLANTED, demo_splits
from auditor.observe.trajectories import TrajectoryExecutor
from auditor.prompts.measure import Watching, score_prompts
from auditor.prompts.reading import Prompt
from auditor.targets.loading import open_target

WATCHING = Watching(tuple(DETECTORS), Setting(steps=5, guidance=7.5, seeds=2), 0)


@pytest.fixture(scope="module")
def lists():
    splits = demo_splits()
    planted = splits.members.captions[:N_PLANTED]
    ordinary = [c for c in dict.fromkeys(splits.nonmembers.captions) if c not in planted][:28]
    return [Prompt(text, i) for i, text in enumerate((*planted, *ordinary))]


def aucs(target, prompts):
    scores = score_prompts(TrajectoryExecutor(target, 32), prompts, WATCHING)
    return {n: auc(v[:N_PLANTED], v[N_PLANTED:]).value for n, v in scores.items()}


@pytest.fixture(scope="module")
def memorized(demo, lists):
    return aucs(open_target(str(demo.models["memorized"]), device="cpu"), lists)


def test_directed_detectors_put_memorized_captions_on_top(memorized):
    for name in ("text_magnitude", "denoising_confidence", "seed_similarity"):
        assert memorized[name] > 0.85, name
    for name in ("text_magnitude_mean", "bright_ending", "edge_consistency"):
        assert memorized[name] > 0.6, name


def test_the_entropy_of_the_first_step_does_not_work_here(memorized):
    """An honest negative: the docs say so, and this notices when it changes."""
    assert 0.3 < memorized["attention_entropy"] < 0.7


def test_the_late_entropy_points_the_other_way_here(memorized):
    """Lower for memorized captions, against the authors' labels: no direction is assumed."""
    assert memorized["attention_entropy_late"] < 0.4


def test_a_clean_twin_and_random_weights_tell_nothing_apart(demo, lists):
    clean = open_target(str(demo.models["clean"]), device="cpu")
    for target in (clean, clean.reinitialised(0)):
        found = aucs(target, lists)
        assert 0.3 < np.median(list(found.values())) < 0.7
        assert all(0.25 < value < 0.75 for value in found.values()), found


def test_the_caption_must_reach_the_model(demo, lists):
    """With the captions dealt out anew, the same scores say nothing."""
    target = open_target(str(demo.models["memorized"]), device="cpu")
    watching = dataclasses.replace(WATCHING, detectors=("text_magnitude",))
    scores = score_prompts(TrajectoryExecutor(target, 32), lists, watching)["text_magnitude"]
    dealt = np.random.default_rng(0).permutation(scores)
    assert auc(dealt[:N_PLANTED], dealt[N_PLANTED:]).value < 0.75
