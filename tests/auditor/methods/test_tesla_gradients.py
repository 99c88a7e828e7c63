"""TESLA's arithmetic: gradients against autograd and differences, memory, soft labels, students."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from attacks.errors import DataError, UsageError
from auditor.methods.tesla.augmentation import OPERATIONS, augment
from auditor.methods.tesla.config import AUGMENTATIONS, TeslaConfig
from auditor.methods.tesla.experts import train_experts
from auditor.methods.tesla.gradients import (
    Match,
    MatchGradient,
    match_gradient,
    roll_out,
    soft_labels,
    sweep,
    unrolled,
)
from auditor.methods.tesla.memory import peak_saved_bytes
from auditor.methods.tesla.students import FlatNetwork, build_student, convnet

N, K, SHAPE = 6, 3, (1, 8, 8)
BETA = 0.3


def build(seed=0, name="mlp", dtype=torch.float64):
    network = build_student(name, SHAPE, K)
    if dtype == torch.float64:
        network.module.double()
    generator = torch.Generator().manual_seed(seed)
    images = torch.rand(N, *SHAPE, generator=generator, dtype=dtype) - 0.5
    return network, images


def problem(network, images, n_steps, *, seed=0, soft=False, names=()):
    """A match whose batches overlap over the steps."""
    start, away = (network.initial(seed + i).to(images.dtype) for i in (1, 2))
    target = start + 0.2 * (away - start)
    labels = functional.one_hot(torch.arange(N) % K, K).to(images.dtype)
    if soft:
        labels = soft_labels(network, images, target)
    rng = np.random.default_rng(seed)
    batches = [
        torch.from_numpy(rng.permutation(N)[: int(rng.integers(2, N))]) for _ in range(n_steps)
    ]
    return Match(start, target, labels, batches, lambda x, i: augment(x, names, 100 + i))


def gap(a, b):
    return float((a - b).norm() / b.norm())


AUGMENTED = ("crop", "cutout", "scale", "rotate", "color", "flip")


@pytest.mark.parametrize("n_steps", [1, 2, 5, 20])
@pytest.mark.parametrize("soft", [False, True])
@pytest.mark.parametrize("names", [(), AUGMENTED])
def test_the_sweep_is_the_unrolled_gradient(n_steps, soft, names):
    network, images = build(n_steps)
    match = problem(network, images, n_steps, soft=soft, names=names)
    ours, naive = sweep(network, images, BETA, match), unrolled(network, images, BETA, match)
    assert ours.loss == pytest.approx(naive.loss, rel=1e-12)
    assert gap(ours.images, naive.images) < 1e-9
    assert ours.step_size == pytest.approx(naive.step_size, rel=1e-9)


def test_the_sweep_holds_for_the_convnet_too():
    network, images = build(name="convnet")
    match = problem(network, images, 2)
    ours, naive = sweep(network, images, 0.05, match), unrolled(network, images, 0.05, match)
    assert gap(ours.images, naive.images) < 1e-9


def detached_inner_gradients(network, images, step_size, match):
    """The published gradient by autograd: each theta_i is cut from the steps before."""
    pictures = images.clone().requires_grad_()
    beta = torch.tensor(step_size, dtype=images.dtype, requires_grad=True)
    total, final = (match.start - match.target).square().sum(), match.start
    for i, batch in enumerate(match.batches):
        theta = final.detach().requires_grad_()
        loss = functional.cross_entropy(
            network(theta, match.augment(pictures[batch], i)), match.labels[batch]
        )
        (g,) = torch.autograd.grad(loss, theta, create_graph=True)
        final = final - beta * g
    loss = (final - match.target).square().sum() / total
    by_image, by_step = torch.autograd.grad(loss, (pictures, beta))
    return MatchGradient(loss.item(), by_image, by_step.item())


@pytest.mark.parametrize("n_steps", [1, 2, 5, 20])
def test_the_published_gradient_cuts_the_parameters_from_earlier_steps(n_steps):
    network, images = build(3)
    match = problem(network, images, n_steps, names=AUGMENTED)
    ours = match_gradient(network, images, BETA, match, "tesla")
    twin = detached_inner_gradients(network, images, BETA, match)
    assert gap(ours.images, twin.images) < 1e-9
    assert ours.step_size == pytest.approx(twin.step_size, rel=1e-9)
    exact = match_gradient(network, images, BETA, match, "exact")
    if n_steps == 1:
        assert gap(ours.images, exact.images) < 1e-9
        assert ours.step_size == pytest.approx(exact.step_size, rel=1e-9)
    if n_steps == 20:
        assert gap(ours.images, exact.images) > 1e-3
    assert ours.loss == exact.loss


def test_the_published_formula_with_its_sums():
    """(2/D) d/dS <beta (target - start) + beta^2 G, g_i>, with G the sum of the gradients."""
    network, images = build(5)
    match = problem(network, images, 4)
    total = (match.start - match.target).square().sum()
    rollout = roll_out(network, images, BETA, match)
    summed = torch.stack(rollout.gradients).sum(dim=0)
    vector = 2 / total * (BETA * (match.target - match.start) + BETA**2 * summed)
    expected = torch.zeros_like(images)
    for batch, at in zip(match.batches, rollout.thetas, strict=False):
        pieces, theta = images[batch].clone().requires_grad_(), at.clone().requires_grad_()
        loss = functional.cross_entropy(network(theta, pieces), match.labels[batch])
        (g,) = torch.autograd.grad(loss, theta, create_graph=True)
        expected[batch] += torch.autograd.grad(vector @ g, pieces)[0]
    found = match_gradient(network, images, BETA, match, "tesla")
    assert gap(found.images, expected) < 1e-9
    by_step = -2 / total * summed @ (match.start - BETA * summed - match.target)
    assert found.step_size == pytest.approx(float(by_step), rel=1e-9)


def test_central_differences_agree_on_twenty_pixels():
    network, images = build(7)
    match = problem(network, images, 4, names=("rotate", "scale"))
    found = sweep(network, images, BETA, match)
    rng, h = np.random.default_rng(0), 1e-5
    for pixel in rng.choice(images.numel(), 20, replace=False):
        shift = torch.zeros(images.numel(), dtype=images.dtype)
        shift[pixel] = h
        shift = shift.view_as(images)
        up, down = (sweep(network, images + s * shift, BETA, match).loss for s in (1, -1))
        slope = (up - down) / (2 * h)
        assert float(found.images.flatten()[pixel]) == pytest.approx(slope, rel=1e-5, abs=1e-8)
    up, down = (sweep(network, images, BETA + s * h, match).loss for s in (1, -1))
    assert found.step_size == pytest.approx((up - down) / (2 * h), rel=1e-5)


def test_pass_one_is_plain_sgd_bit_by_bit():
    network, images = build(dtype=torch.float32)
    match = problem(network, images, 12)
    theta = nn.Parameter(match.start.clone())
    optimiser = torch.optim.SGD([theta], lr=BETA)
    for batch in match.batches:
        optimiser.zero_grad()
        functional.cross_entropy(network(theta, images[batch]), match.labels[batch]).backward()
        optimiser.step()
    assert torch.equal(roll_out(network, images, BETA, match).thetas[-1], theta.detach())


@pytest.mark.parametrize("how", ["exact", "tesla", "unrolled"])
def test_the_loss_is_one_without_steps_and_zero_on_target(how):
    network, images = build()
    assert match_gradient(network, images, BETA, problem(network, images, 0), how).loss == 1
    none = match_gradient(network, images, BETA, problem(network, images, 0), how)
    assert float(none.images.abs().max()) == none.step_size == 0
    match = problem(network, images, 3)
    assert match_gradient(network, images, 0.0, match, how).loss == 1
    reached = match._replace(target=roll_out(network, images, BETA, match).thetas[-1])
    found = match_gradient(network, images, BETA, reached, how)
    assert found.loss == pytest.approx(0, abs=1e-24)
    assert float(found.images.abs().max()) == pytest.approx(0, abs=1e-10)


def test_an_expert_that_did_not_move_is_refused():
    network, images = build()
    match = problem(network, images, 2)
    with pytest.raises(DataError, match="same parameters at both ends"):
        sweep(network, images, BETA, match._replace(target=match.start))


# --- memory ---------------------------------------------------------------------------------


def test_saved_bytes_of_the_sweep_do_not_depend_on_the_number_of_steps():
    network, images = build(dtype=torch.float32)
    whole = [torch.arange(N)]

    def saved(how, n_steps):
        match = problem(network, images, 0)._replace(batches=whole * n_steps)
        return peak_saved_bytes(
            lambda: match_gradient(network, images, BETA, match, how),
            excluded=network.module.parameters(),
        )

    for how in ("exact", "tesla"):
        sizes = [saved(how, n_steps) for n_steps in (1, 5, 20, 50)]
        assert max(sizes) <= 1.05 * min(sizes)
    naive = [saved("unrolled", n_steps) for n_steps in (1, 5, 20, 50)]
    slopes = np.diff(naive) / np.diff([1, 5, 20, 50])
    assert (slopes > saved("exact", 1) / 2).all()
    assert slopes.max() <= 1.05 * slopes.min()


def test_the_byte_count_sees_what_autograd_holds_and_lets_go():
    x = torch.rand(100, requires_grad=True)

    def once():
        return (x.exp().exp() * 1.0).sum().backward()  # saves the results of both exp

    assert peak_saved_bytes(once) == 2 * 400
    assert peak_saved_bytes(lambda: [once() for _ in range(3)]) == 2 * 400
    assert peak_saved_bytes(lambda: (x * x).sum().backward()) == 400  # one storage, twice
    assert peak_saved_bytes(lambda: (x * x).sum().backward(), excluded=[x]) == 0


# --- labels, students, augmentation, experts ------------------------------------------------


def test_soft_labels_are_probabilities_of_this_expert():
    network, images = build()
    one, two = (soft_labels(network, images, network.initial(s).double()) for s in (1, 2))
    assert torch.allclose(one.sum(dim=1), torch.ones(N, dtype=one.dtype))
    assert (one >= 0).all()
    assert not one.requires_grad
    assert not torch.allclose(one, two)


def test_a_flat_network_is_the_module_with_these_parameters():
    network = FlatNetwork(lambda: convnet(SHAPE, K, depth=2, width=4))
    theta, x = network.initial(5), torch.rand(2, *SHAPE)
    torch.manual_seed(5)
    module = convnet(SHAPE, K, depth=2, width=4)
    assert torch.equal(network(theta, x), module(x))
    assert network.n_parameters == len(theta) == sum(p.numel() for p in module.parameters())
    assert torch.equal(network.initial(5), theta)
    assert not torch.equal(network.initial(6), theta)
    assert torch.allclose(network(theta, x)[:1], network(theta, x[:1]), atol=1e-6)  # by instance


def test_a_student_with_running_statistics_is_refused():
    with pytest.raises(UsageError, match="no buffers"):
        FlatNetwork(lambda: nn.Sequential(nn.Flatten(), nn.BatchNorm1d(64), nn.Linear(64, 2)))
    with pytest.raises(UsageError, match="did you mean 'convnet'"):
        build_student("convnett", SHAPE, K)


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_an_augmentation_replays_and_passes_gradients(name):
    x = torch.rand(4, 2, 8, 8, dtype=torch.float64, requires_grad=True)
    one, again, other = (augment(x, (name,), seed) for seed in (1, 1, 2))
    assert torch.equal(one, again)
    assert not torch.equal(one, other)
    assert one.shape == x.shape
    assert one.dtype == x.dtype
    one.square().sum().backward()
    assert x.grad.abs().sum() > 0
    assert set(OPERATIONS) == set(AUGMENTATIONS)


def test_augmentations_do_what_their_names_say():
    x = torch.arange(1.0, 65).view(1, 1, 8, 8).repeat(64, 1, 1, 1)
    flipped = augment(x, ("flip",), 0)
    mirrored = (flipped == x.flip(3)).all(dim=3).all(dim=2).flatten()
    assert 10 < int(mirrored.sum()) < 54
    assert torch.equal(flipped[~mirrored], x[~mirrored])
    hidden = (augment(x, ("cutout",), 0) == 0).flatten(1).sum(dim=1)
    assert 4 <= int(hidden.min()) <= int(hidden.max()) == 16
    shifted = augment(x, ("crop",), 0)
    assert any(torch.equal(shifted[i, 0, :-1, :], x[i, 0, 1:, :]) for i in range(64))
    assert torch.equal(augment(x, (), 0), x)


def test_experts_that_train_together_are_the_ones_that_train_alone():
    network, images = build(dtype=torch.float32)
    images = torch.rand(20, *SHAPE, generator=torch.Generator().manual_seed(3))
    classes = torch.arange(20) % K
    config = TeslaConfig(n_experts=3, expert_epochs=4, max_start=2, expert_batch=8)
    trajectories = train_experts(network, images, classes, config, seed=9)
    assert trajectories.shape == (3, 5, network.n_parameters)
    rng = np.random.default_rng(9)
    seeds = rng.integers(2**31, size=3)
    orders = [rng.permuted(np.tile(np.arange(20), (3, 1)), axis=1) for _ in range(4)]
    for m in range(3):
        theta = network.initial(int(seeds[m]))
        assert torch.equal(trajectories[m, 0], theta)
        for epoch, order in enumerate(orders, start=1):
            for rows in torch.from_numpy(order[m]).split(8):
                theta = theta.detach().requires_grad_()
                loss = functional.cross_entropy(network(theta, images[rows]), classes[rows])
                theta = theta - config.expert_rate * torch.autograd.grad(loss, theta)[0]
            assert torch.allclose(trajectories[m, epoch], theta, atol=1e-5)


def test_experts_may_see_augmented_records():
    network, _ = build(dtype=torch.float32)
    images, classes = torch.rand(12, *SHAPE), torch.arange(12) % K
    plain = TeslaConfig(n_experts=2, expert_epochs=3, max_start=1)
    found = [
        train_experts(network, images, classes, config, seed=0)
        for config in (plain, replace(plain, augmentation=("crop",)))
    ]
    assert torch.equal(found[0][:, 0], found[1][:, 0])
    assert not torch.allclose(found[0][:, -1], found[1][:, -1])


@pytest.mark.parametrize(
    "wrong",
    [{"per_class": 0}, {"max_start": 20}, {"gradient": "best"}, {"augmentation": ("blur",)}],
)
def test_a_configuration_that_cannot_work_is_refused(wrong):
    with pytest.raises(UsageError):
        TeslaConfig(**wrong)
