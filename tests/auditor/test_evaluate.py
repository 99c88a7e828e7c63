"""From scores to findings."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from attacks.errors import DataError, ShapeError
from attacks.statistics.auc import auc
from attacks.statistics.identified import count_above, top_evidence
from auditor.evaluate import evaluate
from auditor.policy import Policy
from tests.attacks.statistics.draws import correlated_noise
from tests.auditor.verdict_cases import entry, evaluated, record_table


def _leaky(seed: int = 0, leaked: int = 20) -> np.ndarray:
    scores = correlated_noise(np.random.default_rng(seed), 2, 500)
    scores[0, :leaked] += 7
    return scores


def test_a_finding_holds_the_figures_of_its_attack() -> None:
    scores = _leaky()
    evaluation = evaluated(scores, 200)
    assert (evaluation.n_members, evaluation.n_nonmembers, evaluation.unit) == (200, 300, "record")
    for row, finding in zip(scores, evaluation.findings, strict=True):
        inside, outside = row[:200], row[200:]
        assert finding.auc == auc(inside, outside).interval()
        assert finding.identified.members_above == {
            str(r): count_above(inside, outside, r) for r in (1, 3, 10)
        }
        top = top_evidence(inside, outside, level=0.01 / 6)  # two attacks, three ranks
        assert finding.identified.leaked_at_least == top.leaked_at_least
        assert finding.identified.p_value == top.p_value
        assert set(finding.tpr_at_fpr) == {"0.001", "0.01", "0.05"}
        assert finding.tpr_at_fpr["0.001"].value is None
        assert "not resolvable" in (finding.tpr_at_fpr["0.001"].reason or "")
        assert finding.tpr_at_fpr["0.01"].fpr == 0.01
        assert finding.supports_pass
        assert len(finding.roc) <= 400
        assert finding.detectable.value is not None
    assert evaluation.identified_p is not None
    assert evaluation.identified_p <= 0.01
    assert 5 <= evaluation.leaked_at_least <= 20
    assert evaluation.statistics["a1"].identified_p > 0.01


def test_top_records_are_ranked_named_and_described() -> None:
    scores = _leaky()
    leaky, clean = evaluated(scores, 200).findings
    assert [r.rank for r in leaky.top_members[:20]] == list(range(1, 21))
    assert {r.record_id for r in leaky.top_members if r.is_named} >= {f"r{i}" for i in range(20)}
    first = leaky.top_members[0]
    row = int(np.argmax(scores[0]))
    assert first.record_id == f"r{row}"
    assert (first.multiplicity, first.colour, first.size) == (
        row % 3 + 1,
        f"#0000{row % 100:02d}",
        "8 x 8",
    )
    assert first.score == scores[0, row]
    assert first.comparable is None
    assert all(r.is_member for r in leaky.top_members)
    # An attack without evidence of its own names nobody, whatever another one shows.
    assert not any(r.is_named for r in clean.top_members)
    assert len(clean.top_members) == 10
    assert len(leaky.top_nonmembers) == 20
    assert not any(r.is_member or r.is_named for r in leaky.top_nonmembers)
    outside = sorted(scores[0, 200:], reverse=True)[:20]
    assert [r.score for r in leaky.top_nonmembers] == outside


def test_at_most_fifty_are_named_and_small_sets_are_listed_whole() -> None:
    finding = evaluated(_leaky(leaked=120)[:1], 200).findings[0]
    assert len(finding.top_members) == 50
    small = evaluated(np.arange(9.0)[None], 4).findings[0]
    assert (len(small.top_members), len(small.top_nonmembers)) == (4, 5)


def test_ties_share_the_best_rank() -> None:
    finding = evaluated(np.array([[5.0, 5, 1, 5, 2, 0]]), 3).findings[0]
    assert [r.rank for r in finding.top_members] == [1, 1, 5]
    assert [r.rank for r in finding.top_nonmembers] == [1, 4, 6]
    assert any("repeat another score" in w for w in finding.warnings)


def test_naming_needs_nonmembers_of_similar_blind_score() -> None:
    scores, blind = _leaky(), np.random.default_rng(1).normal(size=500)
    blind[:3] = 9.0  # three of the leaked records come from an odd source
    finding = evaluated(scores, 200, blind_score=blind).findings[0]
    by_id = {r.record_id: r for r in finding.top_members}
    width = 0.2 * blind.std()
    for i in range(20):
        record = by_id[f"r{i}"]
        similar = bool(sum(abs(b - blind[i]) <= width for b in blind[200:]) >= 5)
        assert record.comparable is similar
        assert record.is_named is similar
    assert [by_id[f"r{i}"].comparable for i in range(3)] == [False] * 3
    assert sum(by_id[f"r{i}"].is_named for i in range(20)) >= 12


def test_subjects_are_the_unit_when_given() -> None:
    rng = np.random.default_rng(3)
    scores = rng.normal(size=(1, 400))
    subjects = np.arange(400) // 4
    evaluation = evaluated(scores, 200, subjects=subjects)
    finding = evaluation.findings[0]
    assert (finding.n_members, finding.n_nonmembers, evaluation.unit) == (50, 50, "subject")
    best = scores[0].reshape(100, 4).max(axis=1)
    assert finding.auc == auc(best[:50], best[50:]).interval()
    top = finding.top_members[0]
    assert top.record_id == f"r{int(np.argmax(scores[0, :200]))}"
    with pytest.raises(DataError, match="split the records by subject"):
        evaluated(scores, 199, subjects=subjects)


def test_copies_of_one_subject_are_not_independent_evidence() -> None:
    """Three copies of each of four subjects above all others: 12 records, but 4 units."""
    rng = np.random.default_rng(3)
    scores = np.repeat(rng.normal(size=400), 3)[None].copy()
    scores[0, :12] += 9
    subjects = np.repeat(np.arange(400), 3)
    assert (evaluated(scores, 600).identified_p or 1) <= 0.01
    assert (evaluated(scores, 600, subjects=subjects).identified_p or 1) > 0.01


def test_dose_access_and_variant() -> None:
    entries = {"a0": entry(64, variant="no caption"), "a1": entry(None)}
    policy = Policy(training_exposures=32)
    first, second = evaluated(_leaky(), 200, policy, entries=entries).findings
    assert first.title == "Loss threshold (no caption)"
    assert (first.positive_control_dose, first.supports_pass) == (64, False)
    assert (second.positive_control_dose, second.supports_pass) == (None, False)
    assert evaluated(_leaky(), 200, entries=entries).findings[0].supports_pass


def test_the_low_end_counts_only_when_a_mitigation_is_declared() -> None:
    scores = -_leaky()
    assert (evaluated(scores, 200).identified_p or 0) > 0.01
    declared = evaluated(scores, 200, Policy(target_declares_mitigation=True))
    assert declared.identified_p is not None
    assert declared.identified_p <= 0.01
    assert declared.leaked_at_least >= 5
    assert (declared.statistics["a0"].identified_p_low or 1) <= 0.01
    assert declared.statistics["a0"].identified_p > 0.01


def test_a_policy_with_its_own_fpr_gets_its_figure() -> None:
    policy = Policy.model_validate({"rules": {"identified": {"fpr": 0.02}}})
    finding = evaluated(_leaky(), 200, policy).findings[0]
    assert "0.02" in finding.tpr_at_fpr


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_scores_without_a_rank_are_refused(bad: float) -> None:
    scores = _leaky()
    scores[1, 3] = bad
    with pytest.raises(DataError, match="1 of 500 scores of a1 are NaN or infinite"):
        evaluated(scores, 200)


def test_scores_that_do_not_fit_are_refused() -> None:
    records = record_table(3, 3)
    with pytest.raises(ShapeError, match=r"scores of x of shape \(6,\), got \(5,\)"):
        evaluate({"x": np.zeros(5)}, records, {"x": entry()}, Policy(), seed=0)
    with pytest.raises(DataError, match="do not match attacks"):
        evaluate({"x": np.zeros(6)}, records, {"y": entry()}, Policy(), seed=0)
    with pytest.raises(DataError, match="one group is empty"):
        record_table(6, 0)
    with pytest.raises(ShapeError, match="6 values of sizes"):
        dataclasses.replace(records, sizes=("a",))


def test_no_attack_gives_no_finding() -> None:
    evaluation = evaluate({}, record_table(3, 4), {}, Policy(), seed=0)
    assert evaluation.findings == ()
    assert evaluation.identified_p is None
    assert (evaluation.n_members, evaluation.n_nonmembers) == (3, 4)


def test_same_seed_same_evaluation() -> None:
    scores = _leaky(5, 3)
    first, again = evaluated(scores, 200), evaluated(scores, 200)
    assert first.findings == again.findings
    assert first.identified_p == again.identified_p


@pytest.mark.parametrize(("n1", "n0"), [(1, 1), (1, 5), (5, 1)])
def test_single_records_do_not_break_anything(n1: int, n0: int) -> None:
    for scores in (np.zeros((1, n1 + n0)), np.arange(n1 + n0, dtype=float)[None]):
        finding = evaluated(scores, n1).findings[0]
        assert finding.auc.low is not None
        assert finding.auc.high is not None
        assert 0 <= finding.auc.low <= finding.auc.high <= 1
        assert finding.identified.leaked_at_least == 0


def test_an_attack_is_said_to_beat_its_blind_twin_only_where_it_does() -> None:
    from auditor.evaluate import _beside_its_twin
    from auditor.units import units_of

    rng = np.random.default_rng(0)
    is_member = np.arange(200) < 100
    table = record_table(100, 100)
    strong, weak = rng.normal(size=200) + 2 * is_member, rng.normal(size=200)
    (ahead,) = _beside_its_twin(units_of("a", strong, table), weak, table)
    (behind,) = _beside_its_twin(units_of("a", weak, table), strong, table)
    assert "the attack beats it" in ahead
    assert "the attack is not shown to beat it" in behind
    assert _beside_its_twin(units_of("a", weak, table), None, table) == ()
