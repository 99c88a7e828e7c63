"""MEMO's parts: byte ledger, backbones, herding, the expandable network, alignment."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from attacks.errors import UsageError
from auditor.methods.memo.backbones import (
    build_backbone,
    digits_backbone,
    n_buffers,
    n_parameters,
    resnet32_backbone,
    seeded,
    whole,
)
from auditor.methods.memo.config import MemoConfig
from auditor.methods.memo.herding import herd, herded_by_class, unit_rows
from auditor.methods.memo.ledger import Ledger, affordable_exemplars, worth_in_exemplars
from auditor.methods.memo.network import ExpandableNetwork, auxiliary_targets, new_linear

CIFAR = 32 * 32 * 3
RESNET32, SHARED, BLOCK = 463_504, 112_016, 351_488


# --- ledger ---------------------------------------------------------------------------------


def test_a_resnet32_is_worth_603_exemplars():
    assert worth_in_exemplars(RESNET32, CIFAR) == 603


def test_the_three_methods_cost_the_same_with_their_exemplars():
    """Ten tasks of CIFAR-100: 2,000 exemplars beside ten backbones set the budget."""
    budget = Ledger(0, RESNET32, 10, 2000, CIFAR).total_bytes()
    assert budget / 2**20 == pytest.approx(23.5407, abs=1e-4)
    memo = affordable_exemplars(budget, SHARED + 10 * BLOCK, CIFAR)
    single = affordable_exemplars(budget, RESNET32, CIFAR)
    assert (memo, single) == (3312, 7431)
    for ledger in (
        Ledger(SHARED, BLOCK, 10, memo, CIFAR),
        Ledger(SHARED, BLOCK, 1, single, CIFAR),
    ):
        assert 0 <= budget - ledger.total_bytes() < CIFAR


def test_a_budget_below_the_model_leaves_nothing():
    assert affordable_exemplars(100, 1000, 64) == 0


def test_the_ledger_leaves_the_classifier_out_unless_asked():
    network = grown(3)
    ledger = network.ledger(20, 64)
    assert ledger.parameters == 1_296 + 3 * 14_016
    assert ledger.exemplar_bytes == 20 * 64
    heads = (96 * 6 + 6) + (32 * 3 + 3)
    statistics = 2 * (8 + 16) + 3 * 2 * (32 + 32)
    assert ledger.uncounted_parameters == heads + statistics
    assert n_parameters(network) + n_buffers(network) == ledger.parameters + heads + statistics
    assert ledger.model_bytes(everything=True) - ledger.model_bytes() == 4 * (heads + statistics)
    assert ledger.total_bytes() == 4 * ledger.parameters + 1280


# --- backbones ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "shape", "shared", "block", "d"),
    [
        ("resnet32", (3, 32, 32), SHARED, BLOCK, 64),
        ("digits", (1, 8, 8), 1_296, 14_016, 32),
        ("enlarged", (1, 28, 28), 696, 2_232, 12),
    ],
)
def test_a_backbone_is_split_without_loss(name, shape, shared, block, d):
    backbone = build_backbone(name)
    assert (n_parameters(backbone.generalised), n_parameters(backbone.specialised)) == (
        shared,
        block,
    )
    x = torch.rand(2, *shape)
    features = backbone.specialised(backbone.generalised(x))
    assert features.shape == (2, d)
    copied = whole(backbone)
    assert n_parameters(copied.generalised) == 0
    assert n_parameters(copied.specialised) == shared + block
    assert torch.equal(copied.specialised.eval()(x), backbone.specialised(backbone.generalised(x)))


def test_the_shared_part_of_resnet32_halves_the_picture_once():
    assert resnet32_backbone().generalised(torch.rand(1, 3, 32, 32)).shape == (1, 32, 16, 16)


def test_an_unknown_backbone_is_refused():
    with pytest.raises(UsageError, match="did you mean 'resnet32'"):
        build_backbone("resnet23")


@pytest.mark.parametrize("wrong", [{"memory": -1}, {"epochs": 0}, {"growth": "most"}])
def test_a_configuration_that_cannot_work_is_refused(wrong):
    with pytest.raises(UsageError):
        MemoConfig(**wrong)


# --- herding --------------------------------------------------------------------------------


def points(seed, n=12, d=4):
    return unit_rows(np.random.default_rng(seed).normal(size=(n, d)) + 1)


@given(seed=st.integers(0, 500), m=st.integers(0, 15))
def test_herding_equals_an_obvious_loop(seed, m):
    rows = points(seed)
    mean, chosen = rows.mean(axis=0), []
    for k in range(1, min(m, 12) + 1):
        so_far = sum((rows[i] for i in chosen), np.zeros(4))
        free = [i for i in range(12) if i not in chosen]
        chosen.append(min(free, key=lambda i: np.linalg.norm(mean - (rows[i] + so_far) / k)))
    assert herd(rows, m).tolist() == chosen


@given(seed=st.integers(0, 200))
def test_each_greedy_step_is_the_best_of_all_ways_to_take_it(seed):
    rows = points(seed)
    mean = rows.mean(axis=0)
    picked = herd(rows, 3)
    assert picked[0] == np.linalg.norm(rows - mean, axis=1).argmin()
    assert len(set(picked.tolist())) == 3
    for k in (1, 2, 3):
        values = [
            np.linalg.norm(mean - rows[[*picked[: k - 1], i]].mean(axis=0))
            for i in range(12)
            if i not in picked[: k - 1]
        ]
        reached = np.linalg.norm(mean - rows[picked[:k]].mean(axis=0))
        assert reached == pytest.approx(min(values), abs=1e-12)


@given(seed=st.integers(0, 200), m=st.integers(1, 12))
def test_fewer_exemplars_are_a_prefix_of_more(seed, m):
    rows = points(seed)
    assert herd(rows, m).tolist() == herd(rows, 12)[:m].tolist()
    assert len(set(herd(rows, 12).tolist())) == 12


def test_herding_of_nothing_is_nothing_and_a_zero_row_stays_zero():
    assert herd(np.zeros((0, 3)), 2).tolist() == []
    assert unit_rows(np.array([[0.0, 0.0], [3.0, 4.0]])).tolist() == [[0, 0], [0.6, 0.8]]


def test_herding_by_class_keeps_the_quota_of_each():
    rows, classes = points(0), np.arange(12) % 3
    kept = herded_by_class(rows, classes, {0: 2, 2: 1})
    assert classes[kept].tolist() == [0, 0, 2]
    assert kept[:2].tolist() == (np.flatnonzero(classes == 0)[herd(rows[classes == 0], 2)]).tolist()


# --- the network ----------------------------------------------------------------------------


def grown(n_tasks, growth="specialised", train_base=True, seed=0):
    torch.manual_seed(seed)
    generator = seeded(seed)
    network = ExpandableNetwork(
        digits_backbone(), 2, generator, growth=growth, train_base=train_base
    )
    for _ in range(n_tasks - 1):
        network.expand(2, generator)
    return network


def test_a_new_block_is_a_copy_and_the_head_keeps_the_old_weights():
    network = grown(2)
    with torch.no_grad():
        for p in network.blocks[1].parameters():
            p.normal_()
    former = network.head
    network.expand(3, seeded(9))
    old, new = network.blocks[1].state_dict(), network.blocks[2].state_dict()
    assert all(torch.equal(old[key], new[key]) for key in old)
    assert network.head.weight.shape == (7, 3 * 32)
    assert torch.equal(network.head.weight[:4, :64], former.weight)
    assert torch.equal(network.head.bias[:4], former.bias)
    assert network.head.bias[4:].tolist() == [0, 0, 0]
    fresh = network.head.weight[:4, 64:]  # old classes on the new block: random, not zero
    assert fresh.abs().min() > 0
    assert network.auxiliary.out_features == 3 + 1
    assert network.auxiliary.in_features == 32


@pytest.mark.parametrize("n_tasks", [1, 2, 4])
def test_features_grow_with_the_tasks_and_logits_with_the_classes(n_tasks):
    x = torch.rand(3, 1, 8, 8)
    network = grown(n_tasks).eval()
    assert network.features(x).shape == (3, n_tasks * 32)
    assert network(x).shape == (3, 2 * n_tasks)
    logits, extra = network.both_heads(x)
    assert torch.equal(logits, network(x))
    assert (extra is None) == (n_tasks == 1)


def test_one_network_for_all_tasks_never_grows():
    network = grown(3, growth="none")
    assert len(network.blocks) == 1
    assert network.auxiliary is None
    assert network.head.weight.shape == (6, 32)
    assert all(p.requires_grad for p in network.parameters())


@pytest.mark.parametrize("train_base", [True, False])
def test_a_step_changes_what_it_may_and_nothing_else(train_base):
    network = grown(3, train_base=train_base)
    before = {key: value.clone() for key, value in network.state_dict().items()}
    optimiser = torch.optim.SGD(
        [p for p in network.parameters() if p.requires_grad], lr=0.1, weight_decay=0.1
    )
    network.train()
    logits, extra = network.both_heads(torch.rand(8, 1, 8, 8))
    (logits.square().mean() + extra.square().mean()).backward()
    optimiser.step()
    changed = {
        key for key, value in network.state_dict().items() if not torch.equal(value, before[key])
    }
    assert not {key for key in changed if key.startswith(("blocks.0.", "blocks.1."))}
    newest = {key for key in before if key.startswith("blocks.2.")}
    shared = {key for key in before if key.startswith("generalised.")}
    assert newest <= changed
    assert (shared <= changed) if train_base else not (shared & changed)
    assert {"head.weight", "head.bias", "auxiliary.weight"} <= changed


def test_the_shared_block_learns_in_the_first_task_whatever_the_setting():
    assert all(p.requires_grad for p in grown(1, train_base=False).generalised.parameters())


@given(seed=st.integers(0, 100), n_old=st.integers(1, 5))
def test_alignment_gives_new_rows_the_norm_of_old_ones(seed, n_old):
    network = grown(2)
    network.head, network.n_old = new_linear(64, n_old + 3, seeded(seed)), n_old
    with torch.no_grad():
        network.head.weight[n_old:] *= 4
        network.head.bias.normal_()
    before, bias = network.head.weight.detach().clone(), network.head.bias.detach().clone()
    gamma = network.align()
    norms = network.head.weight.norm(dim=1)
    assert norms[n_old:].mean().item() == pytest.approx(norms[:n_old].mean().item(), rel=1e-6)
    assert torch.equal(network.head.bias, bias)
    assert torch.equal(network.head.weight[:n_old], before[:n_old])
    ratios, former = norms[n_old:] / norms[n_old], before.norm(dim=1)[n_old:]
    assert torch.allclose(ratios, former / former[0])
    assert gamma == pytest.approx((norms[n_old] / former[0]).item(), rel=1e-5)


def test_auxiliary_targets_fold_old_classes_into_one():
    targets = torch.tensor([0, 3, 4, 5, 1])
    assert auxiliary_targets(targets, 4).tolist() == [0, 0, 1, 2, 0]
    for n_old, n_new in itertools.product((1, 4), (1, 3)):
        folded = auxiliary_targets(torch.arange(n_old + n_new), n_old)
        assert folded.tolist() == [0] * n_old + list(range(1, n_new + 1))
