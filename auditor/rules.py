"""The rules of a policy, judged on figures alone: `identified`, `auc` and `tpr@1%`."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass

from attacks.extraction.generation import GenerationFinding
from attacks.results import Outcome, RuleResult
from attacks.statistics.identified import TopEvidence
from attacks.statistics.multiplicity import holm
from attacks.statistics.power import nonmembers_to_fail, records_for_auc, records_to_pass
from auditor import wording
from auditor.evaluate import AttackStatistics, Evaluation
from auditor.policy import Policy

NO_SCORES = "no attack gave scores"
SUSPICIOUS = 0.1
"""Uncorrected p of the members above all nonmembers from which a FAIL is worth more records."""


@dataclass(frozen=True, slots=True)
class Case:
    """What all rules look at."""

    evaluation: Evaluation
    policy: Policy
    invalid: tuple[str, ...]
    """Why the membership rules are INVALID."""
    blocked: tuple[str, ...]
    """What a PASS lacks, as things to do."""
    supporting: tuple[str, ...]
    """Attacks on which a PASS may rest."""
    has_blind: bool
    n_train: int | None
    """Size of the training set, if declared."""

    @property
    def statistics(self) -> dict[str, AttackStatistics]:
        """Figures by attack."""
        return self.evaluation.statistics

    @property
    def n_attacks(self) -> int:
        """How many attacks gave scores."""
        return len(self.evaluation.findings)


def reversed_p_values(evaluation: Evaluation, policy: Policy) -> dict[str, float]:
    """Holm p-value of "AUC is not below the policy's lower limit", by attack."""
    raw = [s.auc.p_below(policy.rules.auc.lower) for s in evaluation.statistics.values()]
    return dict(zip(evaluation.statistics, holm(raw).tolist(), strict=True))


def _undecided(
    case: Case, rule: str, metric: str, limit: float | None, unit: str = "share"
) -> RuleResult | None:
    """The result of a rule whose scores are not looked at: no finding, or an invalid audit."""
    if case.invalid:
        text = f"The measurement cannot be trusted: {' '.join(case.invalid)}"
        outcome = Outcome.INVALID
        return RuleResult(rule, metric, outcome, None, None, None, limit, None, text, unit=unit)
    if not case.evaluation.findings:
        text = f"Nothing was measured: {NO_SCORES}."
        needed = "at least one membership attack that can run on this target"
        outcome = Outcome.INCONCLUSIVE
        return RuleResult(
            rule, metric, outcome, None, None, None, limit, None, text, needed=needed, unit=unit
        )
    return None


def identified_rule(case: Case) -> RuleResult:
    """The primary rule: single members that stand out."""
    rule = case.policy.rules.identified
    fpr = wording.percent(rule.fpr)
    metric = f"share of members at or above the score that {fpr} of nonmembers reach"
    early = _undecided(case, "identified", metric, rule.limit)
    if early is not None:
        return early
    p = case.evaluation.identified_p
    if p is not None and p <= case.policy.alpha_fail:
        return _identified_fail(case, p)
    among = case.supporting or tuple(case.statistics)
    worst = max(among, key=lambda name: case.statistics[name].tpr_upper.bound)
    bound, count = case.statistics[worst].tpr_upper
    finding = next(f for f in case.evaluation.findings if f.attack == worst)
    tpr = finding.tpr_at_fpr[f"{rule.fpr:g}"]
    is_pass = not case.blocked and bound < rule.limit
    text = wording.identified_bound(worst, bound, count, rule.limit, case.evaluation, case.policy)
    return RuleResult(
        rule="identified",
        metric=metric,
        outcome=Outcome.PASS if is_pass else Outcome.INCONCLUSIVE,
        value=tpr.value,
        low=tpr.low,
        high=bound,
        limit=rule.limit,
        attack=worst,
        explanation=text,
        p_value=p,
        needed=None if is_pass else _identified_needed(case, worst),
        unit="share",
        extrapolation=wording.extrapolation(bound, case.evaluation, case.n_train),
    )


def _identified_fail(case: Case, p: float) -> RuleResult:
    """Evidence that members leak; what fails is a lower bound above 0, not the PASS limit."""
    ends: list[tuple[str, TopEvidence, float, str]] = []
    for name, s in case.statistics.items():
        ends.append((name, s.top, s.identified_p, "above"))
        if s.bottom is not None and s.identified_p_low is not None:
            ends.append((name, s.bottom, s.identified_p_low, "below"))
    best = max(ends, key=lambda end: (end[1].leaked_at_least, -end[2], -end[1].p_value))
    attack, evidence, side = best[0], best[1], best[3]
    n = case.evaluation.n_members
    text = wording.identified_fail(attack, evidence, side, p, case.evaluation, case.policy)
    return RuleResult(
        rule="identified",
        metric="share of members shown to leak",
        outcome=Outcome.FAIL,
        value=evidence.counts[evidence.best_rank] / n,
        low=case.evaluation.leaked_at_least / n,
        high=None,
        limit=0.0,
        attack=attack,
        explanation=text if case.has_blind else f"{text} {wording.NO_BLIND}",
        p_value=p,
        unit="share",
    )


def _identified_needed(case: Case, worst: str) -> str:
    """What would decide the rule: controls first, then records."""
    rule, policy = case.policy.rules.identified, case.policy
    needed = list(case.blocked)
    bound, count = case.statistics[worst].tpr_upper
    if bound < rule.limit:
        return "; ".join(needed)
    sizes = case.evaluation.n_members, case.evaluation.n_nonmembers
    enough = records_to_pass(count, *sizes, fpr=rule.fpr, limit=rule.limit, alpha=policy.alpha_pass)
    highest = min((s.top for s in case.statistics.values()), key=lambda top: top.p_values[1])
    top = highest.counts[1]
    more = nonmembers_to_fail(top, *sizes, n_attacks=case.n_attacks, alpha=policy.alpha_fail)
    advice = []
    if more is not None and (enough is None or highest.p_values[1] <= SUSPICIOUS):
        text = f"about {wording.rounded(more)} nonmembers to FAIL if {top} members stay above all"
        advice.append(text)
    if enough is not None:
        advice.append(wording.records(*enough, "to PASS if the shares stay as they are"))
    needed.append(" or ".join(advice) or "more records of both kinds")
    return "; ".join(needed)


def auc_rule(case: Case) -> RuleResult:
    """The secondary rule: the ranking as a whole."""
    rule, policy = case.policy.rules.auc, case.policy
    metric = "area under the ROC curve"
    early = _undecided(case, "auc", metric, rule.upper, "number")
    if early is not None:
        return early
    names = list(case.statistics)
    above = holm([case.statistics[name].auc.p_above(rule.upper) for name in names])
    failing = [(float(p), name, rule.upper) for p, name in zip(above, names, strict=True)]
    if policy.target_declares_mitigation:
        failing += [
            (p, name, rule.lower) for name, p in reversed_p_values(case.evaluation, policy).items()
        ]
        # Two one-sided families share the error.
        failing = [(min(1.0, 2 * p), name, limit) for p, name, limit in failing]
    p, attack, limit = min(failing)
    if p <= policy.alpha_fail:
        return _auc_fail(case, metric, attack, limit, p)
    among = case.supporting or tuple(names)
    alpha = policy.alpha_pass
    worst = max(among, key=lambda name: _auc_excess(case, name))
    estimate = case.statistics[worst].auc
    low, high = estimate.lower(alpha), estimate.upper(alpha)
    is_pass = not case.blocked and _auc_excess(case, worst) < 0
    near = rule.upper if high - rule.upper >= rule.lower - low else rule.lower
    return RuleResult(
        rule="auc",
        metric=metric,
        outcome=Outcome.PASS if is_pass else Outcome.INCONCLUSIVE,
        value=estimate.value,
        low=low,
        high=high,
        limit=near,
        attack=worst,
        explanation=wording.auc_bound(worst, estimate, low, high, rule, is_pass),
        p_value=p,
        needed=None if is_pass else _auc_needed(case, worst, near),
    )


def _auc_excess(case: Case, name: str) -> float:
    """How far the one-sided bounds of an attack reach past the limits; negative inside."""
    rule, estimate = case.policy.rules.auc, case.statistics[name].auc
    alpha = case.policy.alpha_pass
    return max(estimate.upper(alpha) - rule.upper, rule.lower - estimate.lower(alpha))


def _auc_fail(case: Case, metric: str, attack: str, limit: float, p: float) -> RuleResult:
    estimate = case.statistics[attack].auc
    families = 2 if case.policy.target_declares_mitigation else 1
    alpha = case.policy.alpha_fail / (case.n_attacks * families)
    low, high = estimate.lower(alpha), estimate.upper(alpha)
    text = wording.auc_fail(attack, estimate, low, high, limit, p)
    return RuleResult(
        rule="auc",
        metric=metric,
        outcome=Outcome.FAIL,
        value=estimate.value,
        low=low,
        high=high,
        limit=limit,
        attack=attack,
        explanation=text if case.has_blind else f"{text} {wording.NO_BLIND}",
        p_value=p,
    )


def _auc_needed(case: Case, worst: str, limit: float) -> str:
    needed = list(case.blocked)
    if _auc_excess(case, worst) >= 0:
        estimate, policy = case.statistics[worst].auc, case.policy
        is_inside = policy.rules.auc.lower < estimate.value < policy.rules.auc.upper
        alpha = policy.alpha_pass if is_inside else policy.alpha_fail / case.n_attacks
        enough = records_for_auc(estimate, limit, alpha=alpha)
        verb = "to PASS" if is_inside else "to FAIL"
        needed.append(
            wording.records(*enough, f"{verb} if the AUC stays as it is")
            if enough is not None
            else f"more records than any sample has: the AUC lies at the limit {limit:g}"
        )
    return "; ".join(needed)


def tpr_rule(case: Case) -> RuleResult:
    """TPR at 1 % FPR: reported, and judged when the policy sets a limit."""
    limit, alpha = case.policy.rules.tpr_at_1.limit, case.policy.alpha_pass
    metric = "share of members found at 1 % false positives"
    early = _undecided(case, "tpr@1%", metric, limit)
    if early is not None:
        return early if limit is not None else dataclasses.replace(early, outcome=None, needed=None)
    names = list(case.statistics)
    adjusted = holm([case.statistics[name].tpr_1_p for name in names]).tolist()
    p, failing = min(zip(adjusted, names, strict=True))
    is_fail = limit is not None and p <= case.policy.alpha_fail
    among = case.supporting or tuple(names)
    worst = max(among, key=lambda name: case.statistics[name].tpr_1.high or 0.0)
    attack = failing if is_fail else worst
    tpr = case.statistics[attack].tpr_1
    is_below = limit is not None and tpr.high is not None and tpr.high < limit
    outcome: Outcome | None = None
    if limit is not None:
        is_pass = is_below and not case.blocked
        outcome = Outcome.PASS if is_pass else Outcome.INCONCLUSIVE
        outcome = Outcome.FAIL if is_fail else outcome
    needed = None
    if outcome is Outcome.INCONCLUSIVE:
        needed = "; ".join([*case.blocked, *([] if is_below else ["more records of both kinds"])])
    return RuleResult(
        rule="tpr@1%",
        metric=metric,
        outcome=outcome,
        value=tpr.value,
        low=tpr.low,
        high=tpr.high,
        limit=limit,
        attack=attack,
        explanation=wording.tpr(attack, tpr, limit, alpha),
        p_value=None if limit is None else p,
        needed=needed,
        unit="share",
    )


def extracted_rule(found: GenerationFinding, policy: Policy) -> RuleResult:
    """Training records that the model drew again: verbatim evidence, valid whatever a control says.

    FAIL above the limit. PASS needs the upper bound over the tried records below the limit of
    `identified`, and the matcher to recognise planted copies.
    """
    rule = policy.rules.extracted
    most = policy.rules.identified.limit
    outcome, needed = Outcome.INCONCLUSIVE, []
    if found.n_planted_found < rule.control_share * found.n_planted or not found.n_planted:
        needed.append("a matcher that recognises planted copies of training records")
    if found.rate_upper >= most:
        needed.append(f"about {wording.rounded(n_tried_to_pass(most))} members that are prompted")
    if not needed:
        outcome = Outcome.PASS
    if found.n_extracted > rule.limit:
        outcome, needed = Outcome.FAIL, []
    return RuleResult(
        rule="extracted",
        metric="training records that the model draws again",
        outcome=outcome,
        value=found.n_extracted,
        low=None,
        high=None,
        limit=rule.limit,
        attack=found.attack,
        explanation=wording.extracted(found),
        p_value=found.p_value,
        needed="; ".join(needed) or None,
        unit="count",
    )


def n_tried_to_pass(limit: float) -> int:
    """Records that have to be tried without one coming back, for a 95 % bound below the limit."""
    return math.floor(math.log(0.05) / math.log1p(-limit)) + 1
