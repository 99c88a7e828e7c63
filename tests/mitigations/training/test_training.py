"""The training loop: batches, captions, chunks, and the step that all training shares."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
import torch

from attacks.errors import UsageError
from auditor.targets.parametrisation import add_noise
from mitigations.material import Examples
from mitigations.training import Batches, Practice, Recipe, RowStream, changed_weights, fit
from mitigations.training import whole_copy as whole
from tests.mitigations.training.conftest import same, state


def test_every_pass_has_every_record_as_often_as_it_occurs():
    repeats = (3, 1, 2)
    stream = RowStream(repeats, seed=5)
    taken = np.concatenate([stream.take(4) for _ in range(9)])
    passes = taken.reshape(6, 6)
    assert all(Counter(one.tolist()) == {0: 3, 1: 1, 2: 2} for one in passes)
    assert len({tuple(one) for one in passes.tolist()}) > 1
    again = RowStream(repeats, seed=5)
    assert np.concatenate([again.take(12) for _ in range(3)]).tolist() == taken.tolist()
    assert RowStream(repeats, seed=6).take(36).tolist() != taken.tolist()
    with pytest.raises(UsageError):
        RowStream((), seed=0)


def test_a_step_equals_one_by_hand(target, members):
    """One batch, its loss and its update, with nothing shared but the U-Net and AdamW."""
    recipe = Recipe(steps=1, batch_size=6, learning_rate=1e-3)
    tuned, twin = whole(target), whole(target)
    fitted = fit(tuned, members, recipe, seed=3, chunk=4)
    rows = RowStream(members.repeats, 3).take(6)
    generator = torch.Generator().manual_seed(3)
    timesteps = torch.randint(1000, (6,), generator=generator)
    noise = torch.randn((6, *target.input_shape), generator=generator)
    at = target.coefficients.at(timesteps)
    noised = add_noise(members.inputs[rows], noise, at)
    conditioning = target.embed([members.captions[row] for row in rows])
    optimiser = torch.optim.AdamW(twin.unet.parameters(), lr=1e-3, weight_decay=0)
    total = sum(
        (twin.native(noised[i : i + 1], timesteps[i : i + 1], conditioning.rows(torch.tensor([i])))
         - noise[i]).square().mean() / 6
        for i in range(6)
    )  # fmt: skip
    total.backward()
    torch.nn.utils.clip_grad_norm_(twin.unet.parameters(), 1.0)
    optimiser.step()
    assert fitted.losses == (pytest.approx(total.item(), rel=1e-5),)
    for one, two in zip(tuned.unet.parameters(), twin.unet.parameters(), strict=True):
        # The first step of Adam is the sign of a gradient, which rounding decides where it is tiny.
        clear = two.grad.abs() > 1e-3 * two.grad.abs().max()
        assert clear.any()
        assert torch.allclose(one[clear], two[clear], atol=3e-5)


def test_training_leaves_the_target_alone_and_repeats_itself(target, members):
    before = state(target.unet)
    recipe = Recipe(steps=4, batch_size=8, learning_rate=1e-3, caption_dropout=0.3)
    runs = [whole(target) for _ in range(2)]
    losses = [fit(run, members, recipe, seed=1).losses for run in runs]
    assert losses[0] == losses[1]
    assert same(state(runs[0].unet), state(runs[1].unet))
    assert same(before, state(target.unet))
    other = whole(target)
    assert fit(other, members, recipe, seed=2).losses != losses[0]
    changed = changed_weights(target.unet, runs[0].unet)
    assert set(changed) == {name for name, _ in target.unet.named_parameters()}
    assert changed_weights(target.unet, target.unet) == {}


def test_repeated_records_are_learned_better(target, members):
    tuned = whole(target)
    fit(tuned, members, Recipe(steps=40, batch_size=12, learning_rate=6e-4), seed=0)
    fall = []
    for rows in (range(12), range(12, 24)):
        part = Examples(members.inputs[list(rows)], members.captions[:12], (1,) * 12)
        losses = []
        for view in (target, tuned):
            generator = torch.Generator().manual_seed(0)
            noises = view.draw_noises(part.inputs, generator)
            at = view.coefficients.at(noises.timesteps)
            captions = view.embed([members.captions[row] for row in rows])
            noised = add_noise(part.inputs, noises.noise, at)
            predicted = view.predict(noised, noises.timesteps, captions)
            losses.append(float((predicted - noises.noise).square().mean()))
        fall.append(losses[1] / losses[0])
    assert fall[0] < min(0.95, fall[1])


def test_dropped_captions_are_the_empty_text(target, members):
    for share in (0.0, 0.4, 1.0):
        recipe = Recipe(batch_size=50, caption_dropout=share)
        batch = Batches(target, members, recipe, 0, Practice()).draw(0)
        own = target.embed([members.captions[row] for row in batch.rows]).hidden
        is_empty = (batch.conditioning.hidden == batch.nothing.hidden).all(dim=(1, 2))
        is_own = torch.isclose(batch.conditioning.hidden, own, atol=1e-5).all(dim=(1, 2))
        assert (is_empty != is_own).all()
        assert float(is_empty.float().mean()) == pytest.approx(share, abs=0.2)


def test_new_captions_are_embedded_when_they_come(target, members):
    class Renamed(Practice):
        def captions(self, examples, rows, step):
            return [f"a photo {step}" for _ in rows]

    batches = Batches(target, members, Recipe(batch_size=3), 0, Renamed())
    for step in range(3):
        hidden = batches.draw(step).conditioning.hidden
        expected = target.embed([f"a photo {step}"]).hidden.expand(3, -1, -1)
        assert torch.allclose(hidden, expected, atol=1e-5)


def test_weights_scale_rows_and_zero_removes_them(target, members):
    """Weights of 1/n give the plain gradient; a row of weight 0 might as well not be there."""
    generator = torch.Generator().manual_seed(0)
    inputs = members.inputs[:6]
    conditioning = target.embed(list(members.captions[:6]))
    view = whole(target)
    noises = view.draw_noises(inputs, generator)
    plain = view.backward(inputs, noises, conditioning, chunk=6)
    expected = [p.grad.clone() for p in view.unet.parameters()]
    equal = view.backward(inputs, noises, conditioning, chunk=4, weights=torch.full((6,), 1 / 6))
    assert equal.loss == pytest.approx(plain.loss, rel=1e-5)
    for weight, gradient in zip(view.unet.parameters(), expected, strict=True):
        assert torch.allclose(weight.grad, gradient, atol=1e-6)
    weights = torch.tensor([0, 0.5, 0, 0.5, 0, 0])
    found = view.backward(inputs, noises, conditioning, chunk=6, weights=weights)
    kept = torch.tensor([1, 3])
    part = type(noises)(noises.timesteps[kept], noises.noise[kept])
    alone = view.backward(inputs[kept], part, conditioning.rows(kept), chunk=6)
    assert found.loss == pytest.approx(alone.loss, rel=1e-5)
    nothing = view.backward(inputs, noises, conditioning, chunk=6, weights=torch.zeros(6))
    assert nothing.loss == 0
    assert all(weight.grad is None for weight in view.unet.parameters())


def test_a_network_without_trainable_weights_is_left_alone(target, members):
    frozen = target.with_unet(target.unet)
    fitted = fit(frozen, members, Recipe(steps=3), seed=0)
    assert (fitted.steps, fitted.losses) == (0, ())
    assert fitted.is_finite


def test_it_stops_where_it_is_told_to_or_diverges(target, members):
    class Impatient(Practice):
        def stops(self, tuned, steps):
            return steps == 2

    recipe = Recipe(steps=9, batch_size=4)
    assert fit(whole(target), members, recipe, seed=0, practice=Impatient()).steps == 2
    wild = Recipe(steps=30, batch_size=4, learning_rate=1e18)
    fitted = fit(whole(target), members, wild, seed=0)
    assert not fitted.is_finite
    assert fitted.steps < 30


@pytest.mark.parametrize(
    "changes",
    [
        {"steps": 0}, {"batch_size": 0}, {"learning_rate": 0.0}, {"learning_rate": float("nan")},
        {"weight_decay": -1.0}, {"caption_dropout": 1.5},
    ],
)  # fmt: skip
def test_impossible_recipes_are_refused(changes):
    with pytest.raises(UsageError):
        Recipe(**changes)
