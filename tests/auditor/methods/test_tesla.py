"""TESLA distilling: its claim, what happens when it is stubbed, and its question."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from attacks.errors import DataError
from attacks.protocols import Classifier
from auditor.methods import Records, method
from auditor.methods.tesla import distillation, question
from auditor.methods.tesla.config import TeslaConfig
from auditor.methods.tesla.distillation import distill, drawn_batches
from auditor.methods.tesla.gradients import MatchGradient

TESLA = method("tesla")
TINY = TeslaConfig(
    n_experts=2, expert_epochs=4, max_start=2, iterations=3, n_steps=2, student_steps=5
)


@pytest.fixture(scope="module")
def pool() -> Records:
    return TESLA.default_data(quick=True).pool.take(np.arange(300))


@pytest.fixture(scope="module")
def half(pool):
    return np.random.default_rng(1).permutation(np.arange(300) < 150)


@pytest.mark.parametrize("gradient", ["exact", "tesla", "unrolled"])
def test_distilled_pictures_leave_their_start_and_lower_the_loss(pool, half, gradient):
    found = distill(pool, half, 0, replace(TINY, iterations=25, gradient=gradient, image_rate=1.0))
    assert found.images.shape == (10, 1, 8, 8)
    assert found.classes.tolist() == list(range(10))
    assert half[found.initial_rows].all()
    assert np.array_equal(pool.classes[found.initial_rows], found.classes)
    assert np.allclose(found.initial_images, pool.features[found.initial_rows], atol=1e-6)
    assert not np.allclose(found.images, found.initial_images, atol=1e-3)
    assert len(found.losses) == 25
    assert np.mean(found.losses[-5:]) < np.mean(found.losses[:5])
    assert found.step_size != TINY.initial_step


def test_the_step_size_stays_within_its_limits(pool, half):
    config = replace(TINY, step_rate=1e6, step_limits=(0.2, 0.5))
    assert distill(pool, half, 0, config).step_size in (0.2, 0.5)


def test_same_seed_same_set_and_other_seed_another(pool, half):
    one, two, other = (distill(pool, half, seed, TINY) for seed in (4, 4, 5))
    assert np.array_equal(one.images, two.images)
    assert one.step_size == two.step_size
    assert not np.array_equal(one.images, other.images)


def test_records_outside_keep_have_no_influence(pool, half):
    changed = Records(np.where(half[:, None, None, None], pool.features, 0.5), pool.classes)
    one, two = (distill(records, half, 0, TINY) for records in (pool, changed))
    assert np.array_equal(one.images, two.images)


def test_training_leaves_the_global_generator_alone(pool, half):
    torch.manual_seed(7)
    before = torch.get_rng_state()
    TESLA.train(pool, half, 0, replace(TINY, augmentation=("crop",)))
    assert torch.equal(torch.get_rng_state(), before)


def test_soft_labels_are_released_with_the_pictures(pool, half):
    hard, soft = (
        distill(pool, half, 0, replace(TINY, soft_labels=on, per_class=2)) for on in (False, True)
    )
    assert np.array_equal(hard.labels, np.eye(10, dtype=np.float32).repeat(2, axis=0))
    assert np.allclose(soft.labels.sum(axis=1), 1, atol=1e-6)
    assert soft.labels.max() < 1


def test_a_noise_start_uses_no_record_but_says_which_it_would_have_used(pool, half):
    real, noise = (distill(pool, half, 0, replace(TINY, initial=i)) for i in ("real", "noise"))
    assert np.array_equal(real.initial_rows, noise.initial_rows)
    assert np.std(noise.initial_images) > 2 * np.std(real.initial_images)


def test_batches_partition_the_pictures_before_any_comes_again():
    config = replace(TINY, n_steps=5, batch=4)
    batches = drawn_batches(10, config, np.random.default_rng(0))
    assert [len(b) for b in batches] == [4, 4, 2, 4, 4]
    assert sorted(torch.cat(batches[:3]).tolist()) == list(range(10))
    assert len(set(torch.cat(batches[3:]).tolist())) == 8


def test_a_class_with_too_few_records_is_named(pool, half):
    with pytest.raises(DataError, match="lower per_class"):
        distill(pool, half, 0, replace(TINY, per_class=40))


def test_the_target_is_a_student_of_the_pictures(pool, half):
    model: Classifier = TESLA.train(pool, half, 0, TINY)
    assert model.logits(pool.features[:4]).shape == (4, 10)
    assert model.capabilities.n_classes == 10
    assert model.parts["images"].shape == (10, 1, 8, 8)
    again = TESLA.train(pool, half, 0, TINY)
    assert np.array_equal(model.logits(pool.features), again.logits(pool.features))


def test_the_baseline_learns_from_the_records_that_distillation_starts_from(pool, half):
    ours, theirs = TESLA.train(pool, half, 0, TINY), TESLA.baseline(pool, half, 0, TINY)
    rows = theirs.parts["initial_rows"]
    assert np.array_equal(rows, ours.parts["initial_rows"])
    assert np.allclose(theirs.parts["images"], pool.features[rows], atol=1e-6)
    assert theirs.parts["step_size"] == TINY.initial_step


# --- the claim ------------------------------------------------------------------------------


def test_distilled_pictures_teach_more_than_real_ones():
    claim = TESLA.claim(quick=True)
    assert claim.holds
    assert claim.mean >= 0.10
    assert [check.passed for check in claim.checks] == [True, True]
    figures = claim.figures
    assert figures["saved bytes, exact, 50 steps"] == figures["saved bytes, exact, 5 steps"]
    assert (
        figures["saved bytes, unrolled, 50 steps"] > 5 * figures["saved bytes, unrolled, 5 steps"]
    )


def test_the_claim_fails_when_the_pictures_get_no_gradient(monkeypatch):
    def nothing(network, images, step_size, match, how):
        return MatchGradient(0.0, torch.zeros_like(images), 0.0)

    monkeypatch.setattr(distillation, "match_gradient", nothing)
    claim = TESLA.claim(quick=True)
    assert claim.effects == (0, 0, 0)
    assert not claim.holds


@pytest.mark.slow
def test_the_claim_holds_at_the_size_of_the_small_version():
    assert TESLA.claim().holds


# --- the question ---------------------------------------------------------------------------


def answers(model, pool, keep):
    return {f.name: f for f in TESLA.own_question(model, pool, keep)}


def test_real_pictures_are_found_as_copies(pool, half):
    """The positive control: the baseline releases records as they are."""
    found = answers(TESLA.baseline(pool, half, 0, TINY), pool, half)
    assert found["copied_records"].estimate.value == 10
    assert found["copied_records"].is_certain
    assert found["start_residue"].estimate.value > 0.99
    assert found["start_ranked_first"].estimate.value == 1


def test_a_start_from_real_records_shows_and_one_from_noise_does_not(pool, half):
    config = replace(TINY, per_class=5, iterations=30, n_steps=5)
    starts = question.compare_starts(pool, half, 0, config)
    real, noise = ({f.name: f for f in starts[name]} for name in ("real", "noise"))
    assert real["start_residue"].estimate.low > 0.7
    assert real["start_ranked_first"].estimate.low > 0.5
    low, high = noise["start_residue"].estimate.low, noise["start_residue"].estimate.high
    assert low < 0.5 < high
    assert noise["start_ranked_first"].estimate.high < 0.4
    assert "control" in noise["start_residue"].sentence
    assert noise["copied_records"].estimate.value == 0
    for f in (*real.values(), *noise.values()):
        assert f.estimate.low <= f.estimate.value <= f.estimate.high


def test_an_average_near_one_half_is_called_insufficient(pool, half):
    found = answers(TESLA.train(pool, half, 0, TINY), pool, half)
    for name in ("nearest_picture", "membership_through_student"):
        assert "canaries" in found[name].sentence
        assert (found[name].n_members, found[name].n_nonmembers) == (150, 150)


def test_nearness_and_likeness_equal_an_obvious_loop(pool, half):
    model = TESLA.train(pool, half, 0, replace(TINY, per_class=2))
    images, of_class = model.parts["images"], model.parts["classes"]
    near = np.array(
        [
            max(
                -np.sqrt(np.sum((x - s) ** 2))
                for s, c in zip(images, of_class, strict=True)
                if c == y
            )
            for x, y in zip(pool.features, pool.classes, strict=True)
        ]
    )
    alike = np.array(
        [
            max(
                np.corrcoef(x.ravel(), s.ravel())[0, 1]
                for s, c in zip(images, of_class, strict=True)
                if c == y
            )
            for x, y in zip(pool.features, pool.classes, strict=True)
        ]
    )
    for scores in (near, alike):
        for c in range(10):
            scores[pool.classes == c] -= np.median(scores[pool.classes == c])
    assert np.allclose(question.nearness_by_class(model, pool), near, atol=1e-5)
    assert np.allclose(question.likeness_by_class(model, pool), alike, atol=1e-6)


def test_a_flat_record_correlates_with_nothing():
    flat, picture = np.full((1, 1, 2, 2), 0.5), np.arange(4.0).reshape(1, 2, 2)
    assert question.correlations(flat, picture).tolist() == [0]
    assert question.correlations(picture[None] * 3 + 1, picture)[0] == pytest.approx(1)


def test_few_records_get_smaller_batches_unless_the_caller_says_more(pool, monkeypatch):
    seen = []

    def distill(records, keep, seed, config):
        seen.append(config.expert_batch)
        raise InterruptedError

    monkeypatch.setattr("auditor.methods.tesla.distillation.distill", distill)
    keep = np.arange(len(pool)) < 300
    for given in ((), (replace(TESLA.CONFIG),)):
        with pytest.raises(InterruptedError):
            TESLA.train(pool, keep, 0, *given)
    with pytest.raises(InterruptedError):
        TESLA.train(TESLA.default_data(quick=True).pool, np.ones(600, dtype=bool), 0)
    assert seen == [32, 64, 64]
