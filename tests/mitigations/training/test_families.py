"""Masks and what they train: card tests 1 to 5."""

from __future__ import annotations

import itertools

import pytest
import torch
from diffusers import UNet2DConditionModel, UNet2DModel

from attacks.errors import Inapplicable, ShapeError, UsageError
from mitigations.memcontrol.blocks import block_names, inner_names
from mitigations.memcontrol.families import (
    FAMILIES,
    Tuned,
    attached,
    expected_count,
    merged,
    trainable_count,
    with_weights,
)
from mitigations.training import Recipe, fit
from tests.mitigations.training.conftest import prediction, same, state

RECIPE = Recipe(steps=3, batch_size=8, learning_rate=3e-3, weight_decay=0.01)
B = 4
"""Attention blocks of the small model."""


def plain_names(view):
    """Weights of the plain U-Net that training may change."""
    return set(merged(view.unet))


def big_unet():
    """Six down, one middle and nine up attentions, as in Stable Diffusion."""
    return UNet2DConditionModel(
        sample_size=8,
        block_out_channels=(8, 16, 24, 32),
        layers_per_block=2,
        cross_attention_dim=8,
        attention_head_dim=2,
        norm_num_groups=4,
    )


def test_the_order_of_the_bits_is_the_documented_one():
    unet = big_unet()
    names = block_names(unet)
    assert names == (
        *(f"down_blocks.{i}.attentions.{j}" for i in range(3) for j in range(2)),
        "mid_block.attentions.0",
        *(f"up_blocks.{i}.attentions.{j}" for i in (1, 2, 3) for j in range(3)),
    )
    widths = [unet.get_submodule(name).proj_in.weight.shape[0] for name in names]
    assert widths == [8, 8, 16, 16, 24, 24, 32, 24, 24, 24, 16, 16, 16, 8, 8, 8]


def test_each_bit_governs_its_own_block_alone(target):
    unet = big_unet()
    view = target.with_unet(unet)
    for i in (0, 5, 6, 7, 15):
        block = block_names(unet)[i]
        bits = tuple(int(j == i) for j in range(16))
        for family in FAMILIES:
            tuned = attached(view, Tuned(family, bits), seed=0)
            assert plain_names(tuned)
            assert all(name.startswith(f"{block}.") for name in plain_names(tuned))


def test_pixel_models_and_models_without_attention():
    unet = UNet2DModel(
        sample_size=8,
        block_out_channels=(8, 16),
        down_block_types=("DownBlock2D", "AttnDownBlock2D"),
        up_block_types=("AttnUpBlock2D", "UpBlock2D"),
        layers_per_block=1,
        norm_num_groups=4,
    )
    names = block_names(unet)
    assert names == (
        "down_blocks.1.attentions.0",
        "mid_block.attentions.0",
        "up_blocks.0.attentions.0",
        "up_blocks.0.attentions.1",
    )
    assert inner_names(unet, names[0]) == (names[0],)
    plain = UNet2DModel(
        sample_size=8,
        block_out_channels=(8,),
        down_block_types=("DownBlock2D",),
        up_block_types=("UpBlock2D",),
        norm_num_groups=4,
        add_attention=False,
    )
    with pytest.raises(Inapplicable, match="no attention"):
        block_names(plain)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("rest", [False, True])
def test_counts_grow_with_every_bit_and_are_what_shapes_say(target, family, rest):
    counts = {}
    for bits in itertools.product((0, 1), repeat=B):
        counts[bits] = expected_count(target.unet, Tuned(family, bits, rest))
    for bits in ((0,) * B, (1, 0, 0, 1), (1,) * B):
        tuned = attached(target, Tuned(family, bits, rest), seed=0)
        assert trainable_count(tuned.unet) == counts[bits]
    for bits, count in counts.items():
        for i in range(B):
            if not bits[i]:
                assert counts[(*bits[:i], 1, *bits[i + 1 :])] > count
    assert (counts[(0,) * B] > 0) == (rest and family != "lora")
    assert max(counts.values()) < sum(p.numel() for p in target.unet.parameters())


@pytest.mark.parametrize("family", FAMILIES)
def test_attaching_changes_no_prediction(target, members, family):
    tuned = attached(target, Tuned(family, (1,) * B, rest=True), seed=0)
    assert torch.equal(prediction(tuned, members), prediction(target, members))
    for name, value in merged(tuned.unet).items():
        assert torch.equal(value, target.unet.state_dict()[name])


@pytest.mark.parametrize("family", FAMILIES)
def test_what_lies_outside_the_mask_keeps_its_bits(target, members, family):
    """Weight decay included; nothing outside has a gradient; what is inside moves."""
    before = state(target.unet)
    bits = (0, 1, 0, 1)
    tuned = attached(target, Tuned(family, bits), seed=0)
    fitted = fit(tuned, members, RECIPE, seed=0)
    assert fitted.steps == 3
    trainable = [p for p in tuned.unet.parameters() if p.requires_grad]
    assert trainable
    assert all(p.grad is None for p in tuned.unet.parameters() if not p.requires_grad)
    assert all(p.grad is not None for p in trainable)
    weights = merged(tuned.unet)
    final = with_weights(target, weights)
    after = state(final.unet)
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    assert moved
    allowed = [b for b, bit in zip(block_names(target.unet), bits, strict=True) if bit]
    assert all(any(name.startswith(f"{block}.") for block in allowed) for name in moved)
    assert {name.split(".transformer_blocks")[0] for name in moved} == set(allowed)
    assert same(before, state(target.unet))
    # What is measured and saved is what was trained.
    assert torch.allclose(prediction(final, members), prediction(tuned, members), atol=1e-4)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_mask_of_zeros_trains_nothing(target, members, family):
    tuned = attached(target, Tuned(family, (0,) * B), seed=0)
    assert trainable_count(tuned.unet) == 0
    assert fit(tuned, members, RECIPE, seed=0).steps == 0
    assert merged(tuned.unet) == {}
    assert torch.equal(prediction(tuned, members), prediction(target, members))


def test_a_mask_of_ones_is_the_plain_method(target, members):
    """The same trained set and losses as peft's own LoRA on every attention projection."""
    import copy

    from peft import LoraConfig, inject_adapter_in_model

    ours = attached(target, Tuned("lora", (1,) * B), seed=0)
    unet = copy.deepcopy(target.unet).float()
    layers = ["to_q", "to_k", "to_v", "to_out.0"]
    plain = inject_adapter_in_model(LoraConfig(r=4, lora_alpha=4, target_modules=layers), unet)
    adapters = {n: p for n, p in plain.named_parameters() if p.requires_grad}
    own = {n: p for n, p in ours.unet.named_parameters() if p.requires_grad}
    assert adapters.keys() == own.keys()
    for name, weight in adapters.items():
        weight.data.copy_(own[name].data)
    theirs = target.with_unet(plain)
    losses = [fit(view, members, RECIPE, seed=0).losses for view in (ours, theirs)]
    assert losses[0] == losses[1]


def test_masks_share_the_adapters_of_their_common_blocks(target):
    first = attached(target, Tuned("lora", (1, 1, 0, 0)), seed=3)
    second = attached(target, Tuned("lora", (0, 1, 1, 0)), seed=3)
    other = attached(target, Tuned("lora", (0, 1, 1, 0)), seed=4)
    draws = [
        {n: p for n, p in view.unet.named_parameters() if "lora_A" in n}
        for view in (first, second, other)
    ]
    common = draws[0].keys() & draws[1].keys()
    assert common
    assert all(torch.equal(draws[0][name], draws[1][name]) for name in common)
    assert not any(torch.equal(draws[1][name], draws[2][name]) for name in draws[1])


def test_masks_train_differently(target, members):
    """A mask that were ignored would make all losses equal."""
    losses = {
        bits: fit(attached(target, Tuned("svdiff", bits), seed=0), members, RECIPE, seed=0).losses
        for bits in ((1, 0, 0, 0), (0, 0, 1, 0), (1, 1, 1, 1))
    }
    assert len(set(losses.values())) == 3


def test_what_does_not_fit_is_refused(target):
    with pytest.raises(ShapeError, match="3 bits"):
        attached(target, Tuned("lora", (1, 0, 1)), seed=0)
    with pytest.raises(UsageError, match="did you mean 'lora'"):
        Tuned("lora2", (1,))
    with pytest.raises(UsageError):
        Tuned("lora", (2,))
    with pytest.raises(UsageError):
        Tuned("lora", (1,), rank=0)
