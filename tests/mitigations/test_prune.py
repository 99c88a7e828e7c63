"""Pruning by masks: exactly the marked weights, and the per-step check."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from attacks.errors import UsageError
from attacks.probing.masks import Masks, PackedMask
from auditor.observe.feed_forward import feed_forward_layers
from auditor.targets.sampling import Draw, Sampling, generate
from mitigations import prune
from mitigations.material import Material
from mitigations.prune import PruneConfig, masked_steps, pruned, weights_of


@pytest.fixture(scope="module")
def marked(target):
    """3 % of the weights of every feed-forward layer, at random."""
    rng = np.random.default_rng(0)
    return {
        name: rng.random(tuple(layer.weight.shape)) < 0.03
        for name, layer in feed_forward_layers(target.unet).items()
    }


@pytest.fixture
def folder(marked, tmp_path):
    layers = {name: PackedMask.pack(mask) for name, mask in marked.items()}
    (tmp_path / prune.FILE).write_bytes(Masks((layers,), layers).to_bytes())
    return tmp_path


def edited(target, change):
    """The target with the change in its U-Net."""
    import copy

    unet = copy.deepcopy(target.unet)
    unet.load_state_dict(unet.state_dict() | dict(change.weights))
    return target.with_unet(unet)


def draw(target, prompts):
    draws = [Draw(prompt, seed) for seed, prompt in enumerate(prompts)]
    return generate(target, draws, Sampling(4, 7.5), batch_size=8)


def test_marked_weights_are_zero_and_nothing_else_changes(target, marked, folder):
    before = {name: value.clone() for name, value in target.unet.state_dict().items()}
    change = prune.apply(Material(target, masks=folder), PruneConfig())
    assert set(change.weights) == {f"{name}.weight" for name in marked}
    for name, mask in marked.items():
        new, own = change.weights[f"{name}.weight"], before[f"{name}.weight"]
        assert (new[torch.from_numpy(mask)] == 0).all()
        assert torch.equal(new[~torch.from_numpy(mask)], own[~torch.from_numpy(mask)])
    for name, value in target.unet.state_dict().items():
        assert torch.equal(value, before[name]), "the target itself is as it was"
    assert change.facts["weights_zeroed"] == sum(int(m.sum()) for m in marked.values())


def test_the_control_zeroes_as_many_weights_of_every_row(target, marked, folder):
    material = Material(target, masks=folder, seed=3)
    change = prune.apply(material, PruneConfig(control="random"))
    differs = False
    for name, mask in marked.items():
        own = dict(target.unet.named_parameters())[f"{name}.weight"]
        zeroed = (change.weights[f"{name}.weight"] != own).numpy()
        assert (zeroed.sum(axis=1) <= mask.sum(axis=1)).all()
        assert abs(int(zeroed.sum()) - int(mask.sum())) <= int((own == 0).sum())
        differs |= bool((zeroed != mask).any())
    assert differs
    assert "control" in change.notes[0]


def test_the_same_mask_at_every_step_draws_what_the_pruned_model_draws(target, marked, prompts):
    permanent = draw(edited(target, _change(target, marked)), prompts)
    plain = draw(target, prompts)
    with masked_steps(target.unet, [marked]):
        by_hook = draw(target, prompts)
    assert np.array_equal(by_hook, permanent)
    assert not np.array_equal(permanent, plain)
    assert np.array_equal(draw(target, prompts), plain), "the weights are back"


def _change(target, marked):
    from mitigations.material import Change

    return Change(weights=pruned(weights_of(target.unet, marked), marked))


def test_masks_of_another_model_and_empty_ones_are_refused(target, marked, folder, tmp_path):
    name, mask = next(iter(marked.items()))
    with pytest.raises(UsageError, match="of another model"):
        weights_of(target.unet, {name: mask[:, :-1]})
    layers = {name: PackedMask.pack(np.zeros_like(mask))}
    (tmp_path / prune.FILE).write_bytes(Masks((layers,), layers).to_bytes())
    with pytest.raises(UsageError, match="marks no weight"):
        prune.apply(Material(target, masks=tmp_path), PruneConfig())
    with pytest.raises(UsageError, match=r"has no masks\.safetensors"):
        prune.apply(Material(target, masks=tmp_path / "nowhere"), PruneConfig())


def test_masks_are_found_from_prompts_and_not_against_themselves(target, prompts):
    from auditor.mitigate.given import watched

    def given(**changes):
        return Material(target, tuple(prompts), activity=watched(target, 0, 16), **changes)

    config = PruneConfig(sparsity=0.05, first_steps=1)
    found = prune.apply(given(), config)
    assert found.facts["weights_zeroed"] > 0
    for weight in found.weights.values():
        assert int((weight == 0).sum(dim=1).max()) <= int(0.05 * weight.shape[1])
    with pytest.raises(UsageError, match="marks no weight"):
        prune.apply(given(reference=tuple(prompts)), config)
    with pytest.raises(UsageError, match="not both"):
        prune.apply(given(masks=Path("x")), config)
