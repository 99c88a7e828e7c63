"""MEMO trained: its invariants, its claim, what happens when it is stubbed, and its question."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from attacks.errors import DataError
from attacks.protocols import Classifier
from auditor.methods import Records, method
from auditor.methods.classifiers import UNSEEN_LOGIT
from auditor.methods.memo import question, tradeoff
from auditor.methods.memo.config import MemoConfig
from auditor.methods.memo.network import ExpandableNetwork
from auditor.methods.memo.training import class_order, increments

MEMO = method("memo")
TINY = MemoConfig(epochs=1, memory=11)


@pytest.fixture(scope="module")
def pool() -> Records:
    return MEMO.default_data(quick=True).pool.take(np.arange(200))


@pytest.fixture(scope="module")
def half(pool):
    return np.random.default_rng(1).permutation(np.arange(200) < 120)


def same_weights(one, two):
    states = [model.network.state_dict() for model in (one, two)]
    return all(torch.equal(states[0][key], states[1][key]) for key in states[0])


def test_tasks_come_in_the_order_of_the_seed_and_store_within_the_budget(pool, half):
    order = class_order(pool.classes[half], 3)
    kept = set(np.flatnonzero(half).tolist())
    former = {}
    for t, learner in enumerate(increments(pool, half, 3, TINY), start=1):
        assert learner.seen.tolist() == order[: 2 * t].tolist()
        assert len(learner.network.blocks) == t
        sizes = {len(rows) for rows in learner.exemplars}
        assert sizes == {11 // (2 * t)}
        assert len(learner.stored) <= TINY.memory
        assert len(set(learner.stored.tolist())) == len(learner.stored)
        assert set(learner.stored.tolist()) <= kept
        for c, rows in zip(learner.seen, learner.exemplars, strict=True):
            assert (pool.classes[rows] == c).all()
            assert rows.tolist() == former.get(c, rows)[: len(rows)].tolist()
            former[c] = rows
    assert t == 5


def test_old_blocks_stay_as_they_are_while_later_tasks_are_learned(pool, half):
    learners, former = increments(pool, half, 0, TINY), None
    for learner in learners:
        state = learner.network.state_dict()
        if former is not None:
            old = [key for key in former if key.startswith("blocks.")]
            assert old
            assert all(torch.equal(state[key], former[key]) for key in old)
        former = {key: value.clone() for key, value in state.items()}


def test_the_new_rows_are_as_long_as_the_old_ones_after_every_later_task(pool, half):
    for learner in increments(pool, half, 0, TINY):
        norms = learner.network.head.weight.norm(dim=1)
        n_old = learner.network.n_old
        if n_old:
            assert norms[n_old:].mean().item() == pytest.approx(norms[:n_old].mean().item(), 1e-5)


def test_same_seed_same_model_and_other_seed_another(pool, half):
    one, two = (MEMO.train(pool, half, 5, TINY) for _ in range(2))
    assert same_weights(one, two)
    assert one.parts["exemplars"].tolist() == two.parts["exemplars"].tolist()
    other = MEMO.train(pool, half, 6, TINY)
    assert not same_weights(one, other)


def test_training_leaves_the_global_generator_alone(pool, half):
    torch.manual_seed(7)
    before = torch.get_rng_state()
    MEMO.train(pool, half, 0, TINY)
    assert torch.equal(torch.get_rng_state(), before)


def test_records_outside_keep_have_no_influence(pool, half):
    changed = Records(np.where(half[:, None, None, None], pool.features, 0.5), pool.classes)
    one, two = (MEMO.train(r, half, 0, TINY) for r in (pool, changed))
    assert same_weights(one, two)


def test_the_target_answers_for_every_class_and_says_what_it_keeps(pool, half):
    keep = half & (pool.classes != 4)
    model: Classifier = MEMO.train(pool, keep, 0, TINY)
    logits = model.logits(pool.features[:7])
    assert logits.shape == (7, 10)
    assert (logits[:, 4] == UNSEEN_LOGIT).all()
    assert (np.delete(logits, 4, axis=1) > UNSEEN_LOGIT).all()
    parts = model.parts
    assert np.array_equal(parts["exemplar_images"], pool.features[parts["exemplars"]])
    assert parts["ledger"].exemplar_bytes == 64 * len(parts["exemplars"])
    assert 4 not in parts["seen"]


def test_without_memory_only_models_are_kept(pool, half):
    model = MEMO.train(pool, half, 0, replace(TINY, memory=0))
    assert len(model.parts["exemplars"]) == 0
    found = {f.name: f for f in MEMO.own_question(model, pool, half)}
    assert found["stored_records"].estimate.value == 0
    assert found["membership_exemplars"].estimate.value is None
    assert found["membership_discarded"].estimate.value is not None


def test_one_class_is_no_increment(pool):
    with pytest.raises(DataError, match="two classes"):
        MEMO.train(pool, pool.classes == 3, 0, TINY)


# --- the claim ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def claim():
    return MEMO.claim(quick=True)


def test_memo_beats_one_network_when_exemplars_are_scarce(claim):
    assert claim.holds
    assert claim.mean >= 0.10
    assert min(claim.effects) > 0
    assert len(claim.seeds) == 3


def test_the_claim_fails_when_new_blocks_learn_nothing(claim, monkeypatch):
    """The mechanism stubbed: blocks are appended, but only the first ever learns."""
    freeze, train = ExpandableNetwork._freeze, ExpandableNetwork.train

    def frozen(self):
        freeze(self)
        if self.n_old and self.grows:
            self.blocks.requires_grad_(False)

    def still(self, mode=True):
        train(self, mode)
        if self.n_old and self.grows:
            self.blocks.eval()
        return self

    measured = tradeoff.average_accuracy

    def scores(data, keep, seed, config):
        if config.growth == "none":  # the baseline has no such blocks: what was measured holds
            return np.full(5, claim.baseline[seed])
        return measured(data, keep, seed, config)

    monkeypatch.setattr(ExpandableNetwork, "_freeze", frozen)
    monkeypatch.setattr(ExpandableNetwork, "train", still)
    monkeypatch.setattr(tradeoff, "average_accuracy", scores)
    stubbed = MEMO.claim(quick=True)
    assert stubbed.baseline == pytest.approx(claim.baseline)
    assert not stubbed.holds


def test_equal_bytes_are_shared_out_by_the_ledger():
    sizes = {
        growth: tradeoff.exemplars_within(70_000, growth, n_tasks=5)
        for growth in ("none", "specialised", "backbone")
    }
    assert sizes == {"none": 74, "specialised": 28, "backbone": 14}
    points = [tradeoff.CurvePoint(b, 0, (a,)) for b, a in ((10, 0.2), (20, 0.4), (40, 0.4))]
    assert tradeoff.area(points) == pytest.approx((10 * 0.3 + 20 * 0.4) / 30)


def test_the_curve_has_every_contestant_at_every_budget(monkeypatch):
    seen = []
    monkeypatch.setattr(
        tradeoff, "average_accuracy", lambda data, keep, seed, c: seen.append(c) or np.ones(5)
    )
    curves = tradeoff.equal_bytes((70_000, 90_000), (0, 1))
    assert set(curves) == {"single", "copies", "memo"}
    assert [p.budget_bytes for p in curves["memo"]] == [70_000, 90_000]
    assert {c.backbone for c in seen} == {"enlarged"}
    assert all(p.accuracies == (1.0, 1.0) for points in curves.values() for p in points)


@pytest.mark.slow
def test_at_equal_bytes_the_best_choice_depends_on_the_budget():
    result = MEMO.claim()
    assert result.holds
    assert (
        result.figures["memo: area under the curve"]
        > result.figures["copies: area under the curve"]
    )


# --- the question ---------------------------------------------------------------------------


def test_kinds_of_members_are_told_apart(pool, half):
    model = MEMO.train(pool, half, 0, TINY)
    kinds = question.member_kinds(model, pool, half)
    newest = set(model.parts["seen"][-2:].tolist())
    assert sorted(np.concatenate(kinds[:3]).tolist()) == np.flatnonzero(half).tolist()
    assert sorted(np.concatenate(kinds[3:]).tolist()) == np.flatnonzero(~half).tolist()
    assert set(pool.classes[np.concatenate([kinds.new, kinds.out_new])].tolist()) == newest
    assert not newest & set(pool.classes[np.concatenate([kinds.ex, kinds.old])].tolist())
    assert set(kinds.ex.tolist()) < set(model.parts["exemplars"].tolist())
    lookalikes = question.would_be_kept(model, pool, kinds)
    assert set(lookalikes.tolist()) <= set(kinds.out_early.tolist())
    assert np.bincount(pool.classes[lookalikes]).max() <= 1


def test_planted_confidence_comes_out_by_kind():
    kinds = question.Kinds(*(np.arange(i * 10, i * 10 + 10) for i in range(5)))
    confidence = np.zeros(50)
    confidence[kinds.ex] = 2
    confidence[kinds.new] = 1
    found = {f.name: f for f in question.kind_findings(confidence, kinds, kinds.out_early[:3])}
    values = {name: f.estimate.value for name, f in found.items()}
    assert values == {
        "membership_exemplars": 1,
        "membership_exemplars_matched": 1,
        "membership_discarded": 0.5,
        "membership_newest": 1,
        "exemplars_above_discarded": 1,
    }
    assert found["membership_exemplars"].control.value == 0.5


def test_an_overfitted_store_is_easier_to_recognise_than_what_was_discarded():
    """Twenty epochs on few records: exemplars, replayed in every task, stand out."""
    pool = MEMO.default_data().pool.take(np.arange(600))
    keep = np.random.default_rng(0).permutation(np.arange(600) < 300)
    model = MEMO.train(pool, keep, 0, MemoConfig(epochs=20, memory=50))
    found = {f.name: f for f in MEMO.own_question(model, pool, keep)}
    assert found["stored_records"].is_certain
    assert found["stored_records"].estimate.value == 50
    assert found["stored_bytes"].estimate.value == 50 * 64
    exemplars, old = found["membership_exemplars"], found["membership_discarded"]
    assert exemplars.estimate.low > 0.5
    assert exemplars.estimate.value > exemplars.control.value
    assert exemplars.estimate.value > old.estimate.value
    assert found["choice_guessed"].estimate.low > 0.5
    for f in found.values():
        assert f.estimate.low <= f.estimate.value <= f.estimate.high


def test_an_untrained_learner_stores_but_does_not_remember(pool):
    """The null: with a rate of almost 0 no kind of member can be told, on average over splits."""
    values = {"membership_discarded": [], "membership_newest": []}
    for split in range(8):
        keep = np.random.default_rng(split).permutation(np.arange(200) < 100)
        model = MEMO.train(pool, keep, split, replace(TINY, rate=1e-12))
        found = {f.name: f for f in MEMO.own_question(model, pool, keep)}
        assert found["stored_records"].estimate.value == 10
        for name, seen in values.items():
            seen.append(found[name].estimate.value)
    for seen in values.values():
        assert np.mean(seen) == pytest.approx(0.5, abs=0.05)
