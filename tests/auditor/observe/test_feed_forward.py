"""Watching feed-forward layers of a real pipeline: found by structure, and left as they were."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch

from attacks.errors import TargetError
from auditor.observe.feed_forward import feed_forward_layers, watched_activity
from auditor.targets.loading import open_target
from auditor.targets.sampling import Draw, Sampling, follow, generate

SAMPLING = Sampling(4, 3.0)
DRAWS = [Draw("a handwritten seven", 1), Draw("a handwritten two, jade ink", 1)]


@pytest.fixture(scope="module")
def target(text_pipeline):
    return open_target(str(text_pipeline), device="cpu")


def hooks(target):
    return sum(len(m._forward_pre_hooks) + len(m._forward_hooks) for m in target.unet.modules())


def test_layers_are_the_second_ones_in_the_order_of_a_call(target):
    found = feed_forward_layers(target.unet)
    order = []
    handles = [
        layer.register_forward_pre_hook(lambda m, a, name=name: order.append(name))
        for name, layer in found.items()
    ]
    generate(target, DRAWS[:1], Sampling(1, 1.0), batch_size=8)
    for handle in handles:
        handle.remove()
    assert order == list(found)
    for name, layer in found.items():
        assert target.unet.get_submodule(name) is layer
        assert layer.in_features == 4 * layer.out_features


def test_a_model_without_such_layers_is_refused(pixel_pipeline):
    unet = open_target(str(pixel_pipeline), device="cpu").unet
    with pytest.raises(TargetError, match="no transformer block"):
        feed_forward_layers(unet)


def test_what_is_seen_is_what_went_in_and_batches_do_not_matter(target):
    name, layer = next(iter(feed_forward_layers(target.unet).items()))
    seen = []
    handle = layer.register_forward_pre_hook(lambda m, a: seen.append(a[0].clone()))
    with watched_activity(target.unet) as both:
        follow(target, DRAWS, SAMPLING, n_steps=4, batch_size=4, watcher=both)
    with watched_activity(target.unet) as alone:
        follow(target, DRAWS, SAMPLING, n_steps=4, batch_size=2, watcher=alone)
    handle.remove()
    rows = seen[2].reshape(-1, layer.in_features).double()
    rows = rows / rows.norm(dim=1, keepdim=True)
    expected = rows.square().mean(dim=0).sqrt()
    np.testing.assert_allclose(both.into.rms(name)[2], expected, rtol=1e-5)
    np.testing.assert_allclose(both.into.rms(name), alone.into.rms(name), rtol=1e-4)
    assert both.into.steps(name) == 4


def test_the_prompt_s_own_half_can_be_taken_alone(target):
    name = next(iter(feed_forward_layers(target.unet)))
    found = []
    for alone in (False, True):
        with watched_activity(target.unet, prompts_alone=alone) as watcher:
            follow(target, DRAWS, SAMPLING, n_steps=1, batch_size=4, watcher=watcher)
        found.append(watcher.into)
    assert found[0].rows(name, 0) == 2 * found[1].rows(name, 0)
    assert not np.allclose(found[0].rms(name), found[1].rms(name))


def test_nothing_is_left_behind(target):
    before = generate(target, DRAWS, SAMPLING, batch_size=4)
    n_hooks = hooks(target)
    with watched_activity(target.unet) as watcher:
        during = generate(target, DRAWS, SAMPLING, batch_size=4, watcher=watcher)
    with pytest.raises(RuntimeError, match="stop"), watched_activity(target.unet):
        raise RuntimeError("stop")
    np.testing.assert_array_equal(during, before)
    np.testing.assert_array_equal(generate(target, DRAWS, SAMPLING, batch_size=4), before)
    assert hooks(target) == n_hooks == 0


def test_masking_by_hook_equals_pruning_for_good(target):
    unet = copy.deepcopy(target.unet)
    masks = {}
    for name, layer in feed_forward_layers(unet).items():
        masks[name] = torch.rand(layer.weight.shape, generator=torch.Generator().manual_seed(0)) < 0.3  # fmt: skip
        layer.weight.data[masks[name]] = 0
    pruned = generate(target.with_unet(unet), DRAWS, SAMPLING, batch_size=4)

    def hook_of(mask):
        return lambda m, a, out: torch.nn.functional.linear(a[0], m.weight * ~mask, m.bias)

    handles = [
        layer.register_forward_hook(hook_of(masks[name]))
        for name, layer in feed_forward_layers(target.unet).items()
    ]
    hooked = generate(target, DRAWS, SAMPLING, batch_size=4)
    for handle in handles:
        handle.remove()
    np.testing.assert_allclose(hooked.astype(int), pruned.astype(int), atol=1)
    assert (generate(target, DRAWS, SAMPLING, batch_size=4) != pruned).any()
