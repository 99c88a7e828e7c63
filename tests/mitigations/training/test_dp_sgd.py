"""DP-SGD: per-sample gradients, clipping, noise, accounting, empty batches."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from attacks.errors import UsageError
from mitigations import dp_sgd
from mitigations.dp_sgd import DpSgdConfig, clipped_sum, per_sample_gradients, privacy
from mitigations.material import Material
from mitigations.memcontrol.families import Tuned, attached, merged

pytest.importorskip("opacus")


def adapted(target):
    """All adapters, moved off zero so that every factor has a gradient."""
    view = attached(target, Tuned("lora", (1, 1, 1, 1)), seed=0)
    generator = torch.Generator().manual_seed(0)
    for name, weight in view.unet.named_parameters():
        if "lora_B" in name:
            weight.data.copy_(0.05 * torch.randn(weight.shape, generator=generator))
    return view


def test_per_sample_gradients_equal_a_loop_of_single_records(target, members):
    """The pairing of adapters with Opacus that has failed silently elsewhere."""
    from opacus import GradSampleModule

    view = adapted(target)
    inputs = members.inputs[:5]
    conditioning = view.embed(list(members.captions[:5]))
    noises = view.draw_noises(inputs, torch.Generator().manual_seed(1))
    weights = [p for p in view.unet.parameters() if p.requires_grad]
    expected = []
    for i in range(5):
        one = type(noises)(noises.timesteps[i : i + 1], noises.noise[i : i + 1])
        given = conditioning.rows(torch.tensor([i]))
        view.backward(inputs[i : i + 1], one, given, chunk=1)
        expected.append([p.grad.clone() for p in weights])
    wrapped = GradSampleModule(view.unet, strict=False, loss_reduction="sum")
    found = per_sample_gradients(wrapped, view, inputs, noises, conditioning, chunk=3)
    wrapped.remove_hooks()
    assert len(found) == len(weights)
    for j, gradients in enumerate(found):
        assert gradients.abs().sum() > 0
        for i in range(5):
            assert torch.allclose(gradients[i], expected[i][j], rtol=1e-3, atol=1e-6)


def test_no_record_counts_for_more_than_the_clip():
    generator = torch.Generator().manual_seed(0)
    gradients = [
        torch.randn((6, 4, 3), generator=generator),
        torch.randn((6, 7), generator=generator),
    ]
    gradients = [one * torch.arange(6).view(6, *[1] * (one.ndim - 1)) / 10 for one in gradients]
    for clip in (0.5, 1e9):
        expected = [torch.zeros_like(one[0]) for one in gradients]
        for i in range(6):
            norm = float(sum(one[i].square().sum() for one in gradients)) ** 0.5
            factor = min(1.0, clip / norm) if norm else 1.0
            assert factor * norm <= clip * (1 + 1e-6)
            expected = [e + factor * one[i] for e, one in zip(expected, gradients, strict=True)]
        for one, two in zip(clipped_sum(gradients, clip), expected, strict=True):
            assert torch.allclose(one, two, atol=1e-5)


def test_epsilon_grows_with_steps_and_falls_with_noise():
    config = DpSgdConfig(epsilon=3, steps=100, batch_size=10)
    claim = privacy(config, 200)
    assert claim.epsilon <= 3.01
    assert claim.delta == 1 / 2000
    assert claim.rate == 0.05
    assert privacy(dataclasses.replace(config, steps=400), 200).sigma > claim.sigma
    assert privacy(dataclasses.replace(config, epsilon=8), 200).sigma < claim.sigma
    assert privacy(dataclasses.replace(config, batch_size=500), 200).rate == 1


@pytest.fixture(scope="module")
def material(target, members):
    return Material(target=target, members=members, batch_size=8)


def trained(material, config, claim):
    view = attached(material.target, Tuned("lora", (1, 1, 1, 1)), seed=0)
    before = merged(view.unet)
    n_empty = dp_sgd.train(view, material.members, config, claim, material)
    return before, merged(view.unet), n_empty


def test_an_empty_batch_still_adds_noise(material):
    config = DpSgdConfig(steps=3, multiplicity=1)
    claim = dp_sgd.Privacy(8, 1e-3, 1.0, rate=1e-12)
    before, after, n_empty = trained(material, config, claim)
    assert n_empty == 3
    assert any(not torch.equal(before[name], after[name]) for name in before)


def test_without_noise_it_learns_and_with_much_noise_it_does_not_follow_the_data(material, members):
    config = DpSgdConfig(steps=3, multiplicity=1, noise_seed=0)
    quiet = dp_sgd.Privacy(8, 1e-3, 0.0, rate=0.5)
    first, second = (trained(material, config, quiet)[1] for _ in range(2))
    assert all(torch.equal(first[name], second[name]) for name in first)
    other = dataclasses.replace(
        material, members=dataclasses.replace(members, inputs=members.inputs.flip(-1))
    )
    assert any(not torch.equal(trained(other, config, quiet)[1][n], first[n]) for n in first)


def test_noise_cannot_be_repeated_unless_its_seed_is_stated(material):
    """The seed of a record is published; noise drawn from it could be subtracted."""
    claim = dp_sgd.Privacy(8, 1e-3, 1.0, rate=1e-12)
    config = DpSgdConfig(steps=1, multiplicity=1)
    first, second = (trained(material, config, claim)[1] for _ in range(2))
    assert any(not torch.equal(first[name], second[name]) for name in first)
    stated = dataclasses.replace(config, noise_seed=0)
    first, second = (trained(material, stated, claim)[1] for _ in range(2))
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert "does not hold against anyone who knows it" in dp_sgd._noise_note(stated)


def test_the_record_states_the_claim_and_the_weights_are_plain(material, target):
    change = dp_sgd.apply(material, DpSgdConfig(steps=2, batch_size=6, multiplicity=2))
    assert change.facts["epsilon"] <= 8.01
    assert change.facts["records"] == len(material.members)
    assert set(change.weights) <= set(target.unet.state_dict())
    assert change.weights
    assert "one distinct record" in change.notes[0]
    assert "secret seed" in change.notes[1]
    assert not any(hasattr(p, "grad_sample") for p in target.unet.parameters())


@pytest.mark.parametrize(
    "changes", [{"epsilon": 0.0}, {"delta": 1.0}, {"steps": 0}, {"clip": float("inf")}]
)
def test_impossible_settings_are_refused(changes):
    with pytest.raises(UsageError):
        DpSgdConfig(**changes)
