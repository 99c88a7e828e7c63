"""Trigger tokens: the gradient against finite differences, and how tokens make words."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from attacks.errors import TargetError
from auditor.observe.token_gradients import shares, token_gradients
from auditor.observe.trajectories import TrajectoryExecutor
from auditor.targets.loading import open_target
from auditor.targets.sampling import Sampling, ddim_scheduler, initial_noise
from auditor.targets.tokens import PromptTokens, spelled, tokenize

PROMPT = "a handwritten five, bold red ink"


@pytest.fixture(scope="module")
def target(demo):
    return open_target(str(demo.models["memorized"]), device="cpu")


def test_gradients_equal_finite_differences(target):
    """Nudge the embedding of one position along a direction; the magnitude must follow."""
    sampling = Sampling(10, 7.5)
    scheduler = ddim_scheduler(target)
    scheduler.set_timesteps(10)
    t = scheduler.timesteps[:1]
    noise = initial_noise([5], target.input_shape)
    empty = target.predict(noise, t, target.embed_nothing())
    table = target.text_pipeline.text_encoder.get_input_embeddings()
    position = 6

    def magnitude(nudge):
        def move(module, inputs, output):
            moved = output.clone()
            moved[0, position] += nudge
            return moved

        hook = table.register_forward_hook(move)
        text = target.embed([PROMPT])
        hook.remove()
        return float((target.predict(noise, t, text) - empty).double().norm())

    width, step = table.embedding_dim, 2e-3
    slopes = [(magnitude(step * e) - magnitude(-step * e)) / (2 * step) for e in torch.eye(width)]
    found = token_gradients(target, PROMPT, [5], sampling)
    assert found.shape == (16,)
    assert found[position] == pytest.approx(np.linalg.norm(slopes), rel=0.02)


def test_gradients_leave_the_target_alone(target):
    before = {name: p.clone() for name, p in target.unet.named_parameters()}
    state = initial_noise([1], target.input_shape)
    answer = target.predict(state, torch.tensor([500]), target.embed(["one"]))
    token_gradients(target, PROMPT, [1, 2], Sampling(5, 7.5))
    assert all(torch.equal(p, before[name]) for name, p in target.unet.named_parameters())
    assert all(p.grad is None for p in target.unet.parameters())
    assert torch.equal(target.predict(state, torch.tensor([500]), target.embed(["one"])), answer)
    assert TrajectoryExecutor(target, 1).usage.n_calls == 0


def test_tokens_make_words(target):
    (cut,) = tokenize(target, ["a pearls five,"])
    assert spelled(cut) == ["a", "pearls", "five", ","]
    assert cut.positions == tuple(range(1, len(cut.tokens) + 1))
    assert cut.end == len(cut.tokens) + 1
    assert cut.n_cut == 0
    (long,) = tokenize(target, ["five " * 40])
    assert (long.end, len(long.tokens), long.n_cut) == (15, 14, 26)


def test_shares_are_over_own_tokens():
    tokens = PromptTokens(("a</w>", "b</w>"), (1, 2), (0, 1), 3, 0)
    assert shares(np.array([9.0, 1.0, 3.0, 7.0]), tokens).tolist() == [0.25, 0.75]
    assert shares(np.zeros(4), tokens).tolist() == [0.5, 0.5]


def test_a_model_without_text_is_refused(pixel_pipeline):
    with pytest.raises(TargetError, match="no text"):
        tokenize(open_target(str(pixel_pipeline), device="cpu"), ["one"])
