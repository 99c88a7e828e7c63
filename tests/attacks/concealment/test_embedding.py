"""The embedding attack on a model small enough to write down."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torch import Tensor

from attacks.concealment.embedding import EmbeddingConfig, attack, gaussian_start
from attacks.errors import ShapeError, UsageError

SHAPE = (1, 2, 2)
CONFIG = EmbeddingConfig(steps=12, rate=0.05, draws=3)


@dataclass(frozen=True)
class Free:
    """Conditioning: one tensor (n, tokens, 4)."""

    hidden: Tensor

    def tensors(self) -> tuple[Tensor, ...]:
        return (self.hidden,)

    def replaced(self, tensors) -> Free:
        return Free(*tensors)

    def rows(self, index: Tensor) -> Free:
        return Free(self.hidden[index])


class Painter:
    """Predicts the noise as if the clean image were the mean of the tokens, times a weight."""

    def __init__(self) -> None:
        self.alphas_cumprod = np.linspace(0.99, 0.01, 20)
        self.input_shape = SHAPE
        self.weight = torch.tensor(1.5, requires_grad=True)
        self.seen: list[tuple[Tensor, Tensor]] = []

    def noise(self, inputs: Tensor, timesteps: Tensor, conditioning: Free) -> Tensor:
        self.seen.append((inputs.detach().clone(), timesteps.clone()))
        abar = torch.tensor(self.alphas_cumprod)[timesteps].float().reshape(-1, 1, 1, 1)
        clean = self.weight * conditioning.hidden.mean(1).reshape(-1, *SHAPE)
        return (inputs - abar.sqrt() * clean) / (1 - abar).sqrt()


def _start(n: int) -> Free:
    return Free(torch.zeros(n, 2, 4))


def _images(n: int) -> Tensor:
    return torch.randn(n, *SHAPE, generator=torch.Generator().manual_seed(0))


def test_equals_an_obvious_loop_over_images():
    images, seeds = _images(3), [5, 6, 7]
    found = attack(Painter(), images, _start(3), CONFIG, seeds, batch_size=4)
    for i, seed in enumerate(seeds):
        model, generator = Painter(), torch.Generator().manual_seed(seed)
        y = torch.zeros(1, 2, 4, requires_grad=True)
        optimiser = torch.optim.Adam([y], lr=CONFIG.rate)
        for step in range(CONFIG.steps):
            timesteps = torch.randint(20, (CONFIG.draws,), generator=generator)
            noise = torch.randn((CONFIG.draws, *SHAPE), generator=generator)
            loss = torch.zeros(())
            for t, eps in zip(timesteps, noise, strict=True):
                abar = float(model.alphas_cumprod[t])
                noised = abar**0.5 * images[i : i + 1] + (1 - abar) ** 0.5 * eps
                predicted = model.noise(noised, t.reshape(1), Free(y))
                loss = loss + (predicted - eps).square().mean() / CONFIG.draws
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            assert found.losses[step, i] == pytest.approx(loss.item(), rel=1e-4)
            assert found.timesteps[step, i].tolist() == timesteps.tolist()
        torch.testing.assert_close(found.final.hidden[i], y[0].detach(), rtol=1e-4, atol=1e-5)


def test_the_search_finds_the_image_and_only_its_own():
    images = _images(4)
    config = EmbeddingConfig(steps=200, rate=0.1)
    found = attack(Painter(), images, _start(4), config, range(4))
    drawn = 1.5 * found.final.hidden.mean(1).reshape(-1, *SHAPE)
    torch.testing.assert_close(drawn, images, atol=1e-2, rtol=0)
    assert found.losses[-1].max() < 1e-3 < found.losses[0].min()


def test_company_order_and_chunks_change_nothing():
    images = _images(5)
    together = attack(Painter(), images, _start(5), CONFIG, range(5), batch_size=7)
    alone = attack(Painter(), images[[3]], _start(1), CONFIG, [3], batch_size=100)
    torch.testing.assert_close(together.final.hidden[3], alone.final.hidden[0])


def test_every_step_draws_afresh_and_weights_get_no_gradient():
    model = Painter()
    found = attack(model, _images(2), _start(2), CONFIG, [1, 2])
    assert model.weight.grad is None
    assert model.weight.item() == 1.5
    inputs = torch.stack([seen for seen, _ in model.seen])  # (steps, rows, ...)
    assert len(inputs) == CONFIG.steps
    rows = inputs.reshape(CONFIG.steps * 2 * CONFIG.draws, -1)
    assert len(rows.unique(dim=0)) == len(rows)
    assert len(np.unique(found.timesteps.reshape(CONFIG.steps, -1), axis=0)) == CONFIG.steps
    assert found.timesteps.min() >= 0
    assert found.timesteps.max() < 20


def test_checkpoints_follow_the_budget_and_rate_zero_stays():
    assert EmbeddingConfig(steps=60).checkpoints == (10, 25, 50, 60)
    assert EmbeddingConfig(steps=5).checkpoints == (5,)
    start = Free(torch.randn(2, 2, 4, generator=torch.Generator().manual_seed(1)))
    found = attack(Painter(), _images(2), start, EmbeddingConfig(steps=11, rate=0.0), [1, 2])
    assert found.checkpoints == (10, 11)
    for kept in found.embeddings:
        assert torch.equal(kept.hidden, start.hidden)


def test_random_starts_are_as_large_as_what_they_stand_for():
    like = Free(3 * torch.randn(1, 50, 40, generator=torch.Generator().manual_seed(2)))
    found = gaussian_start(like, [1, 2, 1]).hidden
    assert found.shape == (3, 50, 40)
    assert torch.equal(found[0], found[2])
    assert not torch.equal(found[0], found[1])
    assert float(found.std()) == pytest.approx(float(like.hidden.std()), rel=0.1)
    assert abs(float(found.mean())) < 0.2


def test_refuses_what_does_not_fit():
    with pytest.raises(ShapeError, match="one seed"):
        attack(Painter(), _images(2), _start(2), CONFIG, [1])
    with pytest.raises(ShapeError, match="n at least 1"):
        attack(Painter(), _images(0), _start(0), CONFIG, [])
    with pytest.raises(UsageError, match="at least one step"):
        EmbeddingConfig(steps=0)
    with pytest.raises(UsageError, match="learning rate"):
        EmbeddingConfig(rate=-1)
