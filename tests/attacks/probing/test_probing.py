"""Wanda scores, masks and their overlap, against slow twins and by what must hold."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from attacks.errors import DataError, ShapeError, UsageError
from attacks.manifest import DiffusionCapabilities
from attacks.probing import overlap, wanda
from attacks.probing.activity import Activity, merged
from attacks.probing.masks import Masks, PackedMask
from attacks.probing.registry import probe
from attacks.probing.wanda import TimeUnion, WandaConfig, step_mask


def slow_mask(weight, ours, reference, k):
    """Row by row, entry by entry."""
    marked = np.zeros(weight.shape, dtype=bool)
    for i in range(weight.shape[0]):
        scores = [abs(weight[i, j]) * ours[j] for j in range(weight.shape[1])]
        for j in sorted(range(weight.shape[1]), key=lambda j: -scores[j])[:k]:
            marked[i, j] = scores[j] > abs(weight[i, j]) * reference[j]
    return marked


@given(st.integers(0, 10_000), st.integers(1, 5))
def test_the_stream_is_the_norm_of_the_stacked_rows(seed, n_parts):
    rng = np.random.default_rng(seed)
    parts = [rng.normal(size=(2, rng.integers(1, 5), 6)) for _ in range(n_parts)]
    parts[0][0, 0] = 0  # a row of zeros
    activity = Activity()
    for part in parts:
        activity.add("a", 0, torch.tensor(part))
    rows = np.concatenate([part.reshape(-1, 6) for part in parts])
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    scaled = np.divide(rows, norms, out=np.zeros_like(rows), where=norms > 0)
    np.testing.assert_allclose(
        activity.rms("a")[0], np.linalg.norm(scaled, axis=0) / np.sqrt(len(rows)), rtol=1e-5
    )
    n_filled = np.square(activity.rms("a")).sum() * activity.rows("a", 0)
    assert n_filled == pytest.approx(np.count_nonzero(norms), rel=1e-5)


def test_parts_merge_to_one_stream_and_its_size_does_not_grow():
    rng = np.random.default_rng(0)
    parts, whole = [], Activity()
    for _ in range(3):
        part, z = Activity(), torch.tensor(rng.normal(size=(4, 5)))
        for one in (part, whole):
            one.add("a", 0, z)
            one.add("a", 1, -z)
        parts.append(part)
    np.testing.assert_allclose(merged(parts).rms("a"), whole.rms("a"))
    assert whole.rms("a").shape == (2, 5)
    with pytest.raises(ShapeError):
        whole.add("a", 0, torch.ones(2, 6))


def test_rows_count_by_direction_and_more_prompts_do_not_count_more():
    z = torch.randn(6, 4, generator=torch.Generator().manual_seed(0))
    one, scaled, often = Activity(), Activity(), Activity()
    one.add("a", 0, z)
    scaled.add("a", 0, z * torch.tensor([1e-3, 1, 5, 1e4, 2, 3])[:, None])
    for _ in range(7):
        often.add("a", 0, z)
    np.testing.assert_allclose(one.rms("a"), scaled.rms("a"), rtol=1e-5)
    np.testing.assert_allclose(one.rms("a"), often.rms("a"), rtol=1e-6)


@given(st.integers(0, 10_000))
def test_a_mask_is_that_of_the_slow_twin(seed):
    rng = np.random.default_rng(seed)
    weight, ours, reference = rng.normal(size=(4, 10)), rng.random(10), rng.random(10)
    config = WandaConfig(sparsity=0.35)
    found = step_mask(*map(torch.tensor, (weight, ours, reference)), config).numpy()
    np.testing.assert_array_equal(found, slow_mask(weight, ours, reference, 3))
    assert found.sum(axis=1).max() <= 3
    flipped = step_mask(*map(torch.tensor, (-weight, ours, reference)), config).numpy()
    np.testing.assert_array_equal(found, flipped)


def test_equal_prompts_mark_nothing_and_no_sparsity_marks_nothing():
    weight, ours = torch.randn(4, 10), torch.rand(10)
    assert not step_mask(weight, ours, ours * (1 + 1e-9), WandaConfig(sparsity=0.5)).any()
    assert not step_mask(weight, ours, ours / 2, WandaConfig(sparsity=0)).any()
    assert step_mask(weight, ours, ours / 2, WandaConfig(sparsity=0.5)).any()
    assert wanda.contrast(weight, ours, ours / 2, WandaConfig(sparsity=0.5)) == pytest.approx(1)
    zero = weight.clone()
    zero[0, 0] = 0
    assert not step_mask(zero, ours, ours / 2, WandaConfig(sparsity=1))[0, 0]


@pytest.mark.parametrize(("d", "k"), [(1280, 12), (2560, 25), (5120, 51)])
def test_the_published_numbers_of_weights_per_row(d, k):
    assert WandaConfig().kept_per_row(d) == k


def test_the_union_grows_with_the_steps_and_the_ratio_thins_it():
    rng = np.random.default_rng(1)
    steps = [torch.tensor(rng.random((3, 8)) < 0.2) for _ in range(6)]

    def union(first_steps, ratio=0.0):
        joined = TimeUnion(WandaConfig(first_steps=first_steps, select_ratio=ratio))
        for step in steps:
            joined.add(step)
        return joined.mask

    for before, after in itertools.pairwise(range(1, 7)):
        assert bool((union(after) | ~union(before)).all())
    assert torch.equal(union(1), steps[0])
    assert union(6).sum() > union(6, 0.4).sum()
    assert torch.equal(union(100), union(6))


@pytest.mark.parametrize(
    "wrong", [{"sparsity": 1.1}, {"first_steps": 0}, {"select_ratio": 1.0}, {"cfg_half": "x"}]
)
def test_settings_without_meaning_are_refused(wrong):
    with pytest.raises(UsageError):
        WandaConfig(**wrong)


def some_masks(n=3):
    rng = np.random.default_rng(2)

    def layers():
        return {
            name: PackedMask.pack(rng.random(shape) < 0.3)
            for name, shape in (("b.ff.net.2", (3, 5)), ("a.ff.net.2", (4, 7)))
        }

    return Masks(tuple(layers() for _ in range(n)), layers(), (layers(), layers()), {"seed": 3})


def test_masks_come_back_as_they_were_written():
    masks = some_masks()
    again = Masks.from_bytes(masks.to_bytes())
    assert again.facts() == masks.facts()
    for name in ("whole", "union", "consensus", "mem_minus_non"):
        for layer, marked in masks.chosen(name).items():
            np.testing.assert_array_equal(again.chosen(name)[layer], marked)
    for body in (b"", b"x" * 100, masks.to_bytes()[:-3]):
        with pytest.raises(DataError):
            Masks.from_bytes(body)


def test_union_consensus_and_difference():
    masks = some_masks()
    votes = {n: sum(one[n].unpack().astype(int) for one in masks.memorized) for n in masks.layers}
    for name in masks.layers:
        np.testing.assert_array_equal(masks.union()[name], votes[name] >= 1)
        np.testing.assert_array_equal(masks.consensus(2 / 3)[name], votes[name] >= 2)
        np.testing.assert_array_equal(masks.consensus(1)[name], votes[name] == 3)
        either = masks.ordinary[0][name].unpack() | masks.ordinary[1][name].unpack()
        np.testing.assert_array_equal(masks.mem_minus_non()[name], masks.whole()[name] & ~either)
    n_marked = sum(marked.sum() for marked in masks.whole().values())
    assert masks.share_of_layers() == pytest.approx(n_marked / 43)
    assert masks.share_of_model(1000) == pytest.approx(n_marked / 1000)
    with pytest.raises(DataError, match="ordinary"):
        Masks(masks.memorized, masks.together).mem_minus_non()
    with pytest.raises(DataError, match="known"):
        masks.chosen("x")


def test_overlap_is_symmetric_and_that_of_pairs():
    rng = np.random.default_rng(3)
    masks = [rng.random((5, 9)) < 0.3 for _ in range(4)]
    matrix = overlap.iou_matrix(masks)
    np.testing.assert_allclose(matrix, matrix.T)
    np.testing.assert_allclose(np.diag(matrix), 1)
    for i, j in itertools.combinations(range(4), 2):
        assert matrix[i, j] == pytest.approx(overlap.iou(masks[i], masks[j]))
    empty = np.zeros((5, 9), dtype=bool)
    assert overlap.iou(empty, empty) == 0


def test_random_masks_overlap_as_expected():
    rng = np.random.default_rng(4)
    mask = overlap.random_like(rng.random((400, 500)) < 0.1, rng)
    other = overlap.random_like(mask, rng)
    np.testing.assert_array_equal(mask.sum(axis=1), other.sum(axis=1))
    assert overlap.expected_iou(0.01) == pytest.approx(0.005, abs=1e-4)
    assert overlap.iou(mask, other) == pytest.approx(overlap.expected_iou_of_rows(mask, other), rel=0.05)  # fmt: skip
    assert overlap.expected_iou_of_rows(mask, other) == pytest.approx(
        overlap.expected_iou(mask.mean()), rel=0.02
    )


def test_a_shared_subspace_is_told_from_none():
    rng = np.random.default_rng(5)
    common = rng.random((20, 50)) < 0.1
    shared = [common | (rng.random((20, 50)) < 0.02) for _ in range(4)]
    mixed = [rng.random((20, 50)) < 0.12 for _ in range(8)]
    found = overlap.distinction(overlap.iou_matrix([*shared, *mixed[:4]]), 4)
    assert found.p_value == found.smallest_p == pytest.approx(1 / 70)
    groups = overlap.by_group(overlap.iou_matrix([*shared, *mixed[:4]]), 4)
    assert groups.memorized > 3 * groups.across
    same = [common | (rng.random((20, 50)) < 0.02) for _ in range(8)]
    assert overlap.distinction(overlap.iou_matrix(same), 4).p_value > 1 / 70
    assert overlap.distinction(overlap.iou_matrix(mixed[:3]), 2) is None


def test_the_p_value_holds_its_level_when_sets_are_alike():
    rng = np.random.default_rng(6)
    p_values = []
    for _ in range(300):
        masks = [rng.random((4, 30)) < 0.3 for _ in range(6)]
        p_values.append(overlap.distinction(overlap.iou_matrix(masks), 3).p_value)
    assert np.mean(np.array(p_values) <= 0.05) < 0.09


def test_the_label_of_the_probe():
    one = probe("wanda")
    assert one.MANIFEST.kind == "probing"
    for word in ("Idea:", "Cost:", "Invalid when:", "Higher", "Localised is not erased"):
        assert word in one.__doc__
    assert one.applicable(DiffusionCapabilities("diffusion", "X", True, True, 1000, 512)) is None
    plain = DiffusionCapabilities("diffusion", "X", True, False, 1000, 512)
    assert "takes none" in one.applicable(plain)
    with pytest.raises(UsageError, match="did you mean 'wanda'"):
        probe("wandaa")
