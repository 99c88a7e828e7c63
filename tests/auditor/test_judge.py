"""From findings and controls to a verdict, and simulations of the whole gate."""

from __future__ import annotations

import re

import numpy as np
import pytest

from attacks.manifest import Access
from attacks.outcomes import overall_outcome
from attacks.results import ControlResult, ControlStatus, Outcome
from auditor import evaluate as evaluate_module
from auditor.evaluate import evaluate
from auditor.judge import Judgement, direction_control, judge
from auditor.policy import Policy, preset_policy
from auditor.top_records import TopRecords
from tests.attacks.statistics.draws import correlated_noise
from tests.auditor.verdict_cases import CONTROLS, controls, entry, evaluated, record_table

FORBIDDEN = re.compile(r"compliant|certified|anonymous|removed|erased", re.IGNORECASE)
WITH_TPR_LIMIT = Policy.model_validate({"rules": {"tpr@1%": {"limit": 0.06}}})
MITIGATED = Policy(target_declares_mitigation=True)


def _clean(seed: int = 4, n_attacks: int = 2, n: int = 800) -> np.ndarray:
    return correlated_noise(np.random.default_rng(seed), n_attacks, 2 * n)


def _leaky(leaked: int = 20, seed: int = 4) -> np.ndarray:
    scores = _clean(seed)
    scores[:, :leaked] += 7
    return scores


def _outcomes(judgement: Judgement) -> list[Outcome | None]:
    return [rule.outcome for rule in judgement.rules]


def _texts(judgement: Judgement) -> str:
    rules = [t for r in judgement.rules for t in (r.explanation, r.needed, r.metric) if t]
    summaries = [c.summary for c in judgement.controls]
    parts = [judgement.sentence, judgement.headline, judgement.untested, *rules, *summaries]
    return "\n".join(parts)


def test_pass() -> None:
    judgement = judge(evaluated(_clean(), 800), controls(), Policy(), n_train=10_000)
    assert judgement.outcome is Outcome.PASS
    assert judgement.exit_code == 0
    assert _outcomes(judgement) == [Outcome.PASS, Outcome.PASS, None]
    identified = judgement.rules[0]
    assert identified.high is not None
    assert identified.high < 0.03 == identified.limit
    most = int(np.ceil(identified.high * 10_000))
    assert identified.extrapolation == f"at most {most} of 10,000 training records"
    assert identified.extrapolation in judgement.headline
    assert [rule.unit for rule in judgement.rules] == ["share", "number", "share"]
    assert "95 % upper bound" in judgement.headline
    assert "cannot show that no single person" in identified.explanation
    assert "attribute inference" in judgement.untested
    assert all(f.supports_pass for f in judgement.findings)
    assert judgement.controls[-1].name == "direction"
    assert judgement.controls[-1].status is ControlStatus.PASSED
    assert judgement.rules[2].explanation.endswith("Reported only.")


def test_fail_by_identified_records() -> None:
    evaluation = evaluated(_leaky(), 800)
    judgement = judge(evaluation, controls(), Policy())
    assert judgement.outcome is Outcome.FAIL
    assert judgement.exit_code == 1
    rule = judgement.rules[0]
    assert rule.outcome is Outcome.FAIL
    assert rule.low == evaluation.leaked_at_least / 800 > 0
    assert rule.value is not None
    assert rule.value >= rule.low > rule.limit == 0
    assert rule.p_value is not None
    assert rule.p_value <= 0.01
    assert f"at least {evaluation.leaked_at_least} of the 800" in judgement.sentence
    assert any(r.is_named for f in judgement.findings for r in f.top_members)
    assert "every nonmember" in rule.explanation


def test_fail_by_mass_leak() -> None:
    scores = _clean()
    scores[1, :800] = np.random.default_rng(0).uniform(0, 1.5, 800)  # high, but never on top
    judgement = judge(evaluated(scores, 800), controls(), Policy())
    rule = judgement.rules[1]
    assert judgement.rules[0].outcome is not Outcome.FAIL
    assert rule.outcome is Outcome.FAIL
    assert rule.attack == "a1"
    assert rule.low is not None
    assert 0.6 < rule.low < (rule.value or 0)
    assert rule.p_value is not None
    assert rule.p_value <= 0.01
    assert judgement.exit_code == 1
    assert "as a whole" in judgement.sentence
    assert judgement.headline == rule.explanation


def test_fail_counts_although_the_attack_missed_its_control() -> None:
    entries = {"a0": entry(None), "a1": entry(None)}
    judgement = judge(evaluated(_leaky(), 800, entries=entries), controls(), Policy())
    assert judgement.outcome is Outcome.FAIL


@pytest.mark.parametrize("name", ["competence", "negative", "blind"])
@pytest.mark.parametrize("scores", [_clean(), _leaky()])
def test_a_failed_control_makes_every_membership_rule_invalid(
    name: str, scores: np.ndarray
) -> None:
    statuses = {name: ControlStatus.FAILED}
    judgement = judge(evaluated(scores, 800, WITH_TPR_LIMIT), controls(**statuses), WITH_TPR_LIMIT)
    assert _outcomes(judgement) == [Outcome.INVALID] * 3
    assert (judgement.outcome, judgement.exit_code) == (Outcome.INVALID, 3)
    assert f"{name} control: The {name} says so." in judgement.sentence
    assert not any(r.is_named for f in judgement.findings for r in f.top_members)


@pytest.mark.parametrize("name", CONTROLS)
@pytest.mark.parametrize("status", [None, ControlStatus.NOT_RUN])
def test_nothing_passes_without_every_control(name: str, status: ControlStatus | None) -> None:
    statuses = {name: status}
    judgement = judge(evaluated(_clean(), 800), controls(**statuses), Policy())
    assert judgement.outcome is Outcome.INCONCLUSIVE
    assert judgement.exit_code == 3
    assert _outcomes(judgement) == [Outcome.INCONCLUSIVE, Outcome.INCONCLUSIVE, None]
    assert f"a {name} control" in (judgement.rules[0].needed or "")
    assert f"a {name} control" in judgement.sentence


def test_a_warning_does_not_block_a_pass() -> None:
    statuses = {name: ControlStatus.WARNING for name in CONTROLS}
    judgement = judge(evaluated(_clean(), 800), controls(**statuses), Policy())
    assert judgement.outcome is Outcome.PASS


def test_a_positive_control_that_is_not_established_blocks_a_pass_but_no_fail() -> None:
    missing = controls(positive=ControlStatus.FAILED)
    judgement = judge(evaluated(_clean(), 800), missing, Policy())
    assert judgement.outcome is Outcome.INCONCLUSIVE
    assert "established" in (judgement.rules[0].needed or "")
    assert not any(f.supports_pass for f in judgement.findings)
    assert judge(evaluated(_leaky(), 800), missing, Policy()).outcome is Outcome.FAIL


def test_captions_that_fit_no_record_block_a_pass_but_no_fail() -> None:
    mismatch = ControlResult("caption match", ControlStatus.FAILED, "They fit no better.")
    given = (*controls(), mismatch)
    judgement = judge(evaluated(_clean(), 800), given, Policy())
    assert judgement.outcome is Outcome.INCONCLUSIVE
    assert "captions that belong" in (judgement.rules[0].needed or "")
    assert judge(evaluated(_leaky(), 800), given, Policy()).outcome is Outcome.FAIL
    ignored = ControlResult("caption match", ControlStatus.WARNING, "Text changes nothing.")
    heedless = judge(evaluated(_clean(), 800), (*controls(), ignored), Policy())
    assert heedless.outcome is Outcome.PASS


def test_a_fail_without_blind_baseline_says_so() -> None:
    judgement = judge(evaluated(_leaky(), 800), controls(blind=None), Policy())
    assert judgement.outcome is Outcome.FAIL
    assert "No blind baseline" in judgement.rules[0].explanation


@pytest.mark.parametrize(
    ("doses", "outcome"),
    [
        ((16, 16), "pass"),
        ((16, None), "pass"),
        ((None, None), "inconclusive"),
        ((64, 128), "pass"),
        ((128, 128), "inconclusive"),
    ],
)
def test_a_pass_rests_on_an_attack_caught_at_an_accepted_dose(
    doses: tuple[int | None, int | None], outcome: str
) -> None:
    entries = {"a0": entry(doses[0]), "a1": entry(doses[1])}
    judgement = judge(evaluated(_clean(), 800, entries=entries), controls(), Policy())
    assert judgement.outcome == outcome
    missed = [f"a{i}" for i, dose in enumerate(doses) if dose is None or dose > 64]
    for name in missed:
        assert name in judgement.untested


def test_the_bound_of_an_attack_that_missed_its_control_does_not_count_for_pass() -> None:
    scores = _clean()
    # Sixteen members tie with nonmembers 4 to 12: that counts against PASS and not for FAIL.
    outside = 800 + np.argsort(-scores[1, 800:])
    scores[1, outside[3:12]] = scores[1, outside[3]]
    scores[1, :16] = scores[1, outside[3]]
    both = judge(evaluated(scores, 800), controls(), Policy())
    assert both.outcome is Outcome.INCONCLUSIVE
    assert both.rules[0].attack == "a1"
    entries = {"a0": entry(16), "a1": entry(None)}
    one = judge(evaluated(scores, 800, entries=entries), controls(), Policy())
    assert one.outcome is Outcome.PASS
    assert one.rules[0].attack == "a0"


def test_every_access_class_that_ran_needs_a_caught_attack_unless_the_policy_claims_less() -> None:
    entries = {"a0": entry(16), "a1": entry(None, Access.WHITE_BOX)}
    evaluation = evaluated(_clean(), 800, entries=entries)
    judgement = judge(evaluation, controls(), Policy())
    assert judgement.outcome is Outcome.INCONCLUSIVE
    assert "a white-box attack that catches its positive control" in judgement.sentence
    narrow = Policy(access=("grey-box",))
    assert judge(evaluation, controls(), narrow).outcome is Outcome.PASS
    wide = Policy(access=("grey-box", "black-box"))
    assert judge(evaluation, controls(), wide).outcome is Outcome.INCONCLUSIVE


def test_reversed_scores_are_invalid_unless_a_mitigation_is_declared() -> None:
    scores = _clean()
    scores[0, :800] -= 1
    evaluation = evaluated(scores, 800)
    control = direction_control(evaluation, Policy())
    assert control.status is ControlStatus.FAILED
    assert control.figures["attack"] == "a0"
    judgement = judge(evaluation, controls(), Policy())
    assert judgement.outcome is Outcome.INVALID
    assert "sign error" in judgement.sentence
    declared = judge(evaluated(scores, 800, MITIGATED), controls(), MITIGATED)
    assert declared.outcome is Outcome.FAIL
    assert declared.rules[1].outcome is Outcome.FAIL
    assert declared.rules[1].limit == 0.40
    assert declared.rules[1].high is not None
    assert declared.rules[1].high < 0.40
    assert declared.controls[-1].status is ControlStatus.WARNING


def test_a_slightly_low_auc_is_no_reversal() -> None:
    scores = _clean()
    scores[:, :800] -= 0.25  # AUC .43: every 95 % interval excludes one half
    judgement = judge(evaluated(scores, 800), controls(), Policy())
    assert judgement.controls[-1].status is ControlStatus.PASSED
    assert judgement.rules[1].outcome is not Outcome.FAIL


def test_records_at_the_low_end_fail_when_a_mitigation_is_declared() -> None:
    scores = -_leaky()
    assert judge(evaluated(scores, 800), controls(), Policy()).outcome is not Outcome.FAIL
    judgement = judge(evaluated(scores, 800, MITIGATED), controls(), MITIGATED)
    assert judgement.rules[0].outcome is Outcome.FAIL
    assert "score below every nonmember" in judgement.rules[0].explanation


def test_no_finding_never_passes() -> None:
    evaluation = evaluate({}, record_table(800, 800), {}, WITH_TPR_LIMIT, seed=0)
    judgement = judge(evaluation, controls(), WITH_TPR_LIMIT)
    assert _outcomes(judgement) == [Outcome.INCONCLUSIVE] * 3
    assert judgement.exit_code == 3
    assert "no attack gave scores" in judgement.untested
    assert judgement.rules[0].needed
    assert judgement.controls[-1].status is ControlStatus.NOT_RUN


@pytest.mark.parametrize(
    ("outcomes", "overall"),
    [
        (["pass", "fail", "invalid"], "fail"),
        (["pass", "inconclusive", "invalid"], "invalid"),
        (["pass", "inconclusive", None], "inconclusive"),
        (["pass", "pass", None], "pass"),
        ([None], "inconclusive"),
        ([], "inconclusive"),
    ],
)
def test_overall_outcome(outcomes: list[str | None], overall: str) -> None:
    assert overall_outcome([None if o is None else Outcome(o) for o in outcomes]) == overall


def test_the_tpr_rule_judges_only_with_a_limit() -> None:
    clean = judge(evaluated(_clean(), 800, WITH_TPR_LIMIT), controls(), WITH_TPR_LIMIT).rules[2]
    assert clean.outcome is Outcome.PASS
    assert clean.high is not None
    assert clean.high < 0.06
    scores = _clean()
    scores[1, :160] += 7
    leaky = judge(evaluated(scores, 800, WITH_TPR_LIMIT), controls(), WITH_TPR_LIMIT).rules[2]
    assert leaky.outcome is Outcome.FAIL
    assert leaky.attack == "a1"
    assert leaky.low is not None
    assert leaky.low > 0.06
    few = judge(evaluated(scores[:, 700:900], 100, WITH_TPR_LIMIT), controls(), WITH_TPR_LIMIT)
    assert few.rules[2].outcome is Outcome.INCONCLUSIVE
    assert "more records" in (few.rules[2].needed or "")
    blind = judge(evaluated(scores, 800), controls(blind=ControlStatus.FAILED), Policy()).rules[2]
    assert blind.outcome is None


def test_an_inconclusive_rule_says_how_many_records_decide() -> None:
    strict = preset_policy("strict")
    judgement = judge(evaluated(_clean(), 800, strict), controls(), strict)
    rule = judgement.rules[0]
    assert rule.outcome is Outcome.INCONCLUSIVE
    found = re.search(r"about ([\d,]+) members and ([\d,]+) nonmembers to PASS", rule.needed or "")
    assert found
    assert 800 < int(found[1].replace(",", "")) < 20_000
    scores = _clean()
    scores[:, :800] += 0.3  # AUC .58
    rule = judge(evaluated(scores, 800), controls(), Policy()).rules[1]
    assert rule.outcome is Outcome.INCONCLUSIVE
    assert "to PASS if the AUC stays" in (rule.needed or "")
    few = np.random.default_rng(0).normal(size=(1, 300))
    few[0, :5] += 9
    rule = judge(evaluated(few, 150), controls(), Policy()).rules[0]
    assert re.search(r"about [\d,]+ nonmembers to FAIL if 5 members", rule.needed or "")


def test_five_planted_fail_with_the_nonmembers_that_the_advice_names() -> None:
    rng = np.random.default_rng(0)
    few = rng.normal(-5, 1, size=(1, 300))
    few[0, :5] += 30
    advice = judge(evaluated(few, 150), controls(), Policy()).rules[0].needed or ""
    n0 = int(re.search(r"about ([\d,]+) nonmembers to FAIL", advice)[1].replace(",", ""))  # type: ignore[index]
    more = np.r_[few[0, :150], rng.normal(-5, 1, n0)][None]
    judgement = judge(evaluated(more, 150, permutations=9999), controls(), Policy())
    assert judgement.outcome is Outcome.FAIL


def test_texts_promise_nothing() -> None:
    cases = [
        (evaluated(_clean(), 800), controls(), Policy()),
        (evaluated(_leaky(), 800), controls(blind=None), Policy()),
        (evaluated(-_leaky(), 800, MITIGATED), controls(), MITIGATED),
        (evaluated(_clean(), 800), controls(positive=None), Policy()),
        (evaluated(_leaky(), 800), controls(blind=ControlStatus.FAILED), Policy()),
        (evaluate({}, record_table(3, 3), {}, Policy(), seed=0), controls(), Policy()),
    ]
    for case in cases:
        text = _texts(judge(*case, n_train=5000))
        assert not FORBIDDEN.search(text), text
        for wrong in ("None", "nan", "..", "  ", "1 members", "1 attacks"):
            assert wrong not in text, text


# --- simulations of the gate ---------------------------------------------------------------------


@pytest.fixture
def without_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out curves and tables, which take most of the time and decide nothing."""
    monkeypatch.setattr(evaluate_module, "roc_curve", lambda *_: ())
    monkeypatch.setattr(evaluate_module, "top_records", lambda *_: TopRecords((), ()))


def _shares(
    runs: int,
    seed: int,
    leaked: int = 0,
    shift: float = 6.0,
    seen_by: int = 8,
    n: int = 600,
    permutations: int = 399,
) -> dict[Outcome, float]:
    """Share of each outcome over runs with 8 attacks of noise correlation .5."""
    rng, ended = np.random.default_rng(seed), dict.fromkeys(Outcome, 0.0)
    for _ in range(runs):
        scores = correlated_noise(rng, 8, 2 * n)
        scores[:seen_by, :leaked] += shift
        evaluation = evaluated(scores, n, permutations=permutations)
        ended[judge(evaluation, controls(), Policy()).outcome] += 1 / runs
    return ended


@pytest.mark.usefixtures("without_pictures")
def test_clean_targets_rarely_fail_and_mostly_pass() -> None:
    ended = _shares(400, seed=1)
    assert ended[Outcome.FAIL] <= 0.02
    assert ended[Outcome.PASS] >= 0.80
    assert ended[Outcome.INVALID] == 0


@pytest.mark.usefixtures("without_pictures")
@pytest.mark.parametrize("seen_by", [8, 1])
def test_twelve_leaked_of_six_hundred_fail(seen_by: int) -> None:
    """Averages pass this leak: its AUC is about .51."""
    # p is about .006 when one attack of eight sees it: too few permutations would blur that.
    ended = _shares(
        80, seed=2, leaked=12, seen_by=seen_by, permutations=399 if seen_by == 8 else 3999
    )
    assert ended[Outcome.FAIL] >= (0.97 if seen_by == 8 else 0.95)
    assert ended[Outcome.PASS] <= 0.01


@pytest.mark.slow
@pytest.mark.usefixtures("without_pictures")
def test_outcomes_at_other_strengths_and_sizes() -> None:
    weak = _shares(400, seed=3, leaked=12, shift=3)
    assert weak[Outcome.PASS] <= 0.04
    assert weak[Outcome.FAIL] == pytest.approx(0.68, abs=0.08)
    half = _shares(400, seed=4, leaked=6)
    assert half[Outcome.FAIL] == pytest.approx(0.31, abs=0.08)
    small = _shares(400, seed=5, n=400)
    assert small[Outcome.PASS] == pytest.approx(0.36, abs=0.08)
    assert small[Outcome.FAIL] <= 0.02
