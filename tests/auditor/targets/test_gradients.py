"""Gradient norms: equal to torch.func's per-sample gradients, and to a plain backward."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.func import functional_call, grad, vmap

from attacks.observations import GradientNorms
from auditor.observe.executor import LocalExecutor
from auditor.targets.loading import open_target
from tests.conftest import save_pixel_pipeline

STEPS = torch.tensor([99, 499, 899])


@pytest.fixture(scope="module")
def target(pixel_pipeline):
    return open_target(str(pixel_pipeline), device="cpu")


def drawn(target, seed=0, t=len(STEPS)):
    generator = torch.Generator().manual_seed(seed)
    shape = target.input_shape
    return torch.rand(shape, generator=generator) * 2 - 1, torch.randn(
        t, *shape, generator=generator
    )


def norms(target, clean, noises, steps=STEPS, *, each=False, batch_size=8):
    return target.gradient_norms(clean, noises, steps, None, each=each, batch_size=batch_size)


def test_one_gradient_a_timestep_equals_vmap(target):
    clean, noises = drawn(target)
    weights = {name: w.detach() for name, w in target.unet.named_parameters()}

    def loss(given, noise, t):
        at = target.coefficients.at(t[None])
        noised = at.signal * clean[None] + at.noise * noise[None]
        output = functional_call(target.unet, given, (noised, t[None])).sample
        return (output - noise[None]).square().mean()

    found = vmap(grad(loss), in_dims=(None, 0, 0))(weights, noises, STEPS)
    expected = [g.flatten(1).norm(dim=1).mean().item() for g in found.values()]
    np.testing.assert_allclose(
        norms(target, clean, noises, each=True), expected, rtol=1e-3, atol=1e-6
    )
    together = [g.mean(0).norm().item() for g in found.values()]
    np.testing.assert_allclose(norms(target, clean, noises), together, rtol=1e-3, atol=1e-6)


def test_one_timestep_makes_both_the_same(target):
    clean, noises = drawn(target, 1, 1)
    one, other = (norms(target, clean, noises, STEPS[:1], each=each) for each in (True, False))
    np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-9)
    assert (one > 0).any()


@pytest.mark.parametrize("each", [True, False])
def test_small_batches_give_the_same_and_nothing_is_left_behind(target, each):
    clean, noises = drawn(target, 2)
    before = {name: w.clone() for name, w in target.unet.named_parameters()}
    whole = norms(target, clean, noises, each=each)
    parts = norms(target, clean, noises, each=each, batch_size=2)
    np.testing.assert_allclose(parts, whole, rtol=1e-4, atol=1e-7)
    for name, weight in target.unet.named_parameters():
        assert torch.equal(weight, before[name])
        assert weight.grad is None
        assert not weight.requires_grad


@pytest.mark.parametrize("each", [True, False])
def test_a_perfect_prediction_has_no_gradient(target, each, monkeypatch):
    clean, noises = drawn(target, 3)
    some = next(target.unet.parameters())
    monkeypatch.setattr(target, "native", lambda *args: noises + 0 * some.sum())
    assert norms(target, clean, noises, each=each).max() == 0


def test_a_model_of_v_gives_the_gradients_of_its_noise(target, tmp_path):
    import diffusers  # noqa: F401

    folder = save_pixel_pipeline(tmp_path / "v", prediction_type="v_prediction")
    other = open_target(str(folder), device="cpu")
    clean, noises = drawn(target, 4)
    at = other.coefficients.at(STEPS)
    for weight in other.unet.parameters():
        weight.requires_grad_(True)
    noised = at.signal * clean + at.noise * noises
    output = other.native(noised, STEPS, None)
    error = at.signal * output + at.noise * noised - noises
    error.square().mean().backward()
    expected = [0 if w.grad is None else w.grad.norm().item() for w in other.unet.parameters()]
    np.testing.assert_allclose(norms(other, clean, noises), expected, rtol=1e-4, atol=1e-7)


def test_observed_one_record_at_a_time_whatever_the_batch(
    text_pipeline, tmp_path, records_of, digits
):
    target = open_target(str(text_pipeline), device="cpu")
    images = [np.repeat(np.repeat(image, 4, 0), 4, 1) for image in digits[:6]]
    members, nonmembers = records_of(
        images[:3], images[3:], [f"a handwritten {i}" for i in range(6)]
    )
    asked = [GradientNorms((99, 499), each=each) for each in (False, True)]
    run = LocalExecutor(seed=0, batch_size=8)
    together = run.observe(target, [*members, *nonmembers], asked, None)
    assert run.usage.n_calls == 6 * 2 * 2
    p = sum(1 for _ in target.unet.parameters())
    alone = LocalExecutor(seed=0, batch_size=1).observe(target, nonmembers, asked, None)
    for request in asked:
        assert together[request].shape == (6, p)
        np.testing.assert_allclose(together[request][3:], alone[request], rtol=1e-3, atol=1e-6)
    own, null = (
        run.observe(target, members, [GradientNorms((99,), condition=c)], None)
        for c in ("caption", "null")
    )
    assert not np.allclose(*[next(iter(x.values())) for x in (own, null)])
