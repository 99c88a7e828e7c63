"""Subspace pruning: what is zero afterwards, what keeps its bits, and the check by steps."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from attacks.errors import UsageError
from attacks.probing.masks import Masks, PackedMask
from auditor.mitigate.given import watched
from auditor.observe.feed_forward import feed_forward_layers
from auditor.targets.sampling import Draw, Sampling, generate
from mitigations import prune
from mitigations.material import Material
from mitigations.prune import PruneConfig, masked_steps, pruned


@pytest.fixture(scope="module")
def masks(target):
    rng = np.random.default_rng(0)
    return {
        name: rng.random(tuple(layer.weight.shape)) < 0.05
        for name, layer in feed_forward_layers(target.unet).items()
    }


def with_weights(target, weights):
    import copy

    unet = copy.deepcopy(target.unet)
    unet.load_state_dict({**unet.state_dict(), **weights})
    return target.with_unet(unet)


def test_marked_weights_are_zero_and_all_others_keep_their_bits(target, masks):
    weights = pruned(target.unet, masks)
    assert set(weights) == {f"{name}.weight" for name in masks}
    for name, mask in masks.items():
        before = target.unet.get_submodule(name).weight
        after = weights[f"{name}.weight"]
        assert not after[torch.from_numpy(mask)].any()
        assert torch.equal(after[torch.from_numpy(~mask)], before[torch.from_numpy(~mask)])


def test_one_mask_for_all_steps_through_hooks_draws_what_the_pruned_model_draws(
    target, masks, prompts
):
    draws, sampling = [Draw(p, i) for i, p in enumerate(prompts)], Sampling(4, 7.5)
    plain = generate(target, draws, sampling, batch_size=8)
    permanent = generate(with_weights(target, pruned(target.unet, masks)), draws, sampling,
                         batch_size=8)  # fmt: skip
    with masked_steps(target.unet, {name: [mask] * 4 for name, mask in masks.items()}):
        hooked = generate(target, draws, sampling, batch_size=8)
    assert np.abs(hooked.astype(int) - permanent).max() <= 1
    assert not np.array_equal(plain, permanent)
    assert np.array_equal(generate(target, draws, sampling, batch_size=8), plain)


def test_a_mask_of_one_step_acts_in_that_step_alone(target, masks):
    name = next(iter(masks))
    layer = target.unet.get_submodule(name)
    x = torch.randn(2, 3, layer.in_features, generator=torch.Generator().manual_seed(0))
    nothing = np.zeros_like(masks[name])
    with masked_steps(target.unet, {name: [nothing, masks[name]]}):
        first, second = layer(x), layer(x)
    assert torch.equal(first, layer(x))
    assert not torch.allclose(second, layer(x))


def material(target, prompts, **changes):
    return Material(target, tuple(prompts), activity=watched(target, 0, 16), **changes)


def test_the_mask_is_found_and_the_control_zeroes_as_many_in_every_row(target, prompts):
    config = PruneConfig(sparsity=0.05, first_steps=2)
    found = prune.apply(material(target, prompts), config)
    control = prune.apply(
        material(target, prompts), PruneConfig(sparsity=0.05, first_steps=2, control="random")
    )
    assert found.facts["pruned_weights"] == control.facts["pruned_weights"] > 0
    for name, weight in found.weights.items():
        own, other = (w == 0 for w in (weight, control.weights[name]))
        assert not torch.equal(own, other)
        assert torch.equal(own.sum(dim=1), other.sum(dim=1))
        assert int(own.sum(dim=1).max()) <= 2 * int(0.05 * weight.shape[1])


def test_prompts_against_themselves_and_no_sparsity_mark_nothing(target, prompts):
    same = prune.apply(
        material(target, prompts, reference=tuple(prompts)), PruneConfig(first_steps=2)
    )
    none = prune.apply(material(target, prompts), PruneConfig(sparsity=0.0, first_steps=2))
    assert not same.weights
    assert not none.weights
    assert same.notes


def test_masks_of_a_probe_are_read_and_foreign_ones_refused(target, masks, tmp_path):
    packed = {name: PackedMask.pack(mask) for name, mask in masks.items()}
    (tmp_path / prune.FILE).write_bytes(Masks((packed,), packed).to_bytes())
    change = prune.apply(Material(target, masks=tmp_path), PruneConfig())
    expected = pruned(target.unet, masks)
    assert all(torch.equal(change.weights[name], expected[name]) for name in expected)
    foreign = {"nowhere": packed[next(iter(packed))]}
    (tmp_path / prune.FILE).write_bytes(Masks((foreign,), foreign).to_bytes())
    with pytest.raises(UsageError, match="do not fit"):
        prune.apply(Material(target, masks=tmp_path), PruneConfig())
    with pytest.raises(UsageError, match=r"holds no masks\.safetensors"):
        prune.apply(Material(target, masks=tmp_path / "none"), PruneConfig())
