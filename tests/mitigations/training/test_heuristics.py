"""Early stopping, caption randomisation and the norm filter against plain fine-tuning."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from attacks.errors import UsageError
from mitigations import caption_randomisation, early_stopping, norm_filter
from mitigations._fine_tuning import weights_of
from mitigations.material import Material
from mitigations.training import Batches, Practice, Recipe, fit, whole_copy

FAST = {"batch_size": 8, "learning_rate": 1e-3}


@pytest.fixture(scope="module")
def material(target, members, nonmembers):
    return Material(target=target, members=members, nonmembers=nonmembers, seed=2)


def plain(material, config):
    tuned = whole_copy(material.target)
    fit(tuned, material.members, config.recipe, seed=material.seed, chunk=material.batch_size)
    return weights_of(material, tuned)


def equal(first, second):
    return first.keys() == second.keys() and all(torch.equal(first[k], second[k]) for k in first)


def test_no_randomisation_is_plain_training(material):
    config = caption_randomisation.CaptionRandomisationConfig(p=0.0, steps=4, **FAST)
    change = caption_randomisation.apply(material, config)
    assert equal(change.weights, plain(material, config))
    assert change.facts["captions_changed"] == 0
    other = caption_randomisation.CaptionRandomisationConfig(p=1.0, steps=4, **FAST)
    changed = caption_randomisation.apply(material, other)
    assert changed.facts["captions_changed"] == changed.facts["captions_shown"] == 32
    assert not equal(changed.weights, change.weights)
    assert equal(changed.weights, caption_randomisation.apply(material, other).weights)


@pytest.mark.parametrize(("kind", "longer"), [("insert", 2), ("repeat", 2), ("replace", None)])
def test_captions_are_drawn_afresh_and_as_described(material, kind, longer):
    config = caption_randomisation.CaptionRandomisationConfig(kind=kind, p=0.5)
    words = caption_randomisation.vocabulary(material.target.text_pipeline)
    practice = caption_randomisation.Randomised(config, words, seed=0)
    rows = np.zeros(400, dtype=np.int64)
    own = material.members.captions[0]
    first, second = (practice.captions(material.members, rows, step) for step in (0, 1))
    assert first != second
    assert practice.captions(material.members, rows, 0) == first
    changed = [caption for caption in first if caption != own]
    assert 150 < len(changed) < 250
    assert len(set(changed)) > 20
    for caption in changed:
        found = caption.split()
        assert len(found) == (4 if longer is None else len(own.split()) + longer)
        allowed = set(own.split()) if kind == "repeat" else set(words) | set(own.split())
        assert set(found) <= allowed


def test_an_infinite_threshold_is_plain_training(material):
    config = norm_filter.NormFilterConfig(
        factor=float("inf"), calibration=16, steps=4, **FAST
    )  # fmt: skip
    change = norm_filter.apply(material, config)
    assert equal(change.weights, plain(material, config))
    assert change.facts["dropped_percent_repeated"] == 0


def test_a_threshold_of_nothing_trains_nothing(material):
    config = norm_filter.NormFilterConfig(
        factor=1e-12, calibration=16, steps=3, caption_dropout=0.0, **FAST
    )
    change = norm_filter.apply(material, config)
    assert change.weights == {}
    assert change.facts["steps_without_samples"] == 3
    assert change.facts["dropped_percent_ordinary"] == 100


def test_samples_above_the_threshold_of_their_bin_have_weight_0(material):
    view = material.target
    batch = Batches(view, material.members, Recipe(batch_size=24), 0, Practice()).draw(0)
    norms, bins = norm_filter.batch_norms(view, batch, 7), norm_filter.bin_of(batch, view)
    thresholds = np.full(norm_filter.BINS, np.median(norms))
    thresholds[bins[0]] = np.inf
    practice = norm_filter.NormFilter(thresholds, material.members.repeats, 32)
    weights = practice.weights(view, batch).numpy()
    kept = norms < thresholds[bins]
    assert 0 < kept.sum() < 24
    assert np.allclose(weights, kept / kept.sum())
    assert practice.shown.sum() == 24
    assert practice.dropped.sum() == (~kept).sum()
    for i in range(3):
        t, one = batch.noises.timesteps[i : i + 1], batch.inputs[i : i + 1]
        abar = float(view.alphas_cumprod[int(t)])
        noised = abar**0.5 * one + (1 - abar) ** 0.5 * batch.noises.noise[i : i + 1]
        own = view.predict(noised, t, batch.conditioning.rows(torch.tensor([i])))
        assert norms[i] == pytest.approx(
            float((own - view.predict(noised, t, batch.nothing)).norm()), rel=1e-3
        )


def test_training_stops_before_the_gap_grew(material):
    config = early_stopping.EarlyStoppingConfig(
        steps=200, every=5, limit=0.02, patience=2, batch_size=12, learning_rate=2e-3
    )
    change = early_stopping.apply(material, config)
    curve = json.loads(change.files["early_stopping.json"])
    scale = curve[0]["held_out"]
    above = [p["gap"] - curve[0]["gap"] > 0.02 * scale for p in curve]
    assert above[-2:] == [True, True]
    assert change.facts["steps_trained"] < 200
    kept = [p["step"] for p, is_above in zip(curve, above, strict=True) if not is_above][-1]
    assert change.facts["steps_kept"] == kept
    short = early_stopping.EarlyStoppingConfig(
        steps=max(kept, 1), every=5, batch_size=12, learning_rate=2e-3
    )
    expected = plain(material, short) if kept else {}
    assert equal(change.weights, expected)


def test_training_that_never_stops_says_so(material):
    config = early_stopping.EarlyStoppingConfig(
        steps=4, every=2, limit=1e9, canary_share=0.25, **FAST
    )
    change = early_stopping.apply(material, config)
    assert (change.facts["steps_trained"], change.facts["steps_kept"]) == (4, 4)
    assert change.facts["canaries"] == 6
    assert any("last step" in note for note in change.notes)
    assert any("not private" in note for note in change.notes)
    assert equal(change.weights, plain(material, config))


def test_impossible_settings_are_refused():
    for module, changes in (
        (early_stopping.EarlyStoppingConfig, {"canary_share": 0.0}),
        (early_stopping.EarlyStoppingConfig, {"patience": 0}),
        (caption_randomisation.CaptionRandomisationConfig, {"p": 2.0}),
        (norm_filter.NormFilterConfig, {"quantile": 0.0}),
        (norm_filter.NormFilterConfig, {"steps": 0}),
    ):
        with pytest.raises(UsageError):
            module(**changes)
