"""From findings and controls to rules, verdict and exit code.

A rule FAILS on a lower bound or a test, PASSES on upper bounds, and is otherwise INCONCLUSIVE.
FAIL is corrected over attacks; PASS needs no correction, since every bound has to hold. Controls
come first: a comparison that cannot be trusted is INVALID, whatever the scores say, and nothing
passes unless an attack has found records planted in a copy of the model.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

from attacks.extraction.generation import GenerationFinding
from attacks.outcomes import EXIT_CODES, REQUIRED, overall_outcome, reasons_invalid
from attacks.results import (
    ControlResult,
    ControlStatus,
    MembershipFinding,
    Outcome,
    RuleResult,
)
from attacks.wording import p_equals
from auditor import wording
from auditor.evaluate import Evaluation
from auditor.policy import Policy
from auditor.rules import (
    NO_SCORES,
    Case,
    auc_rule,
    extracted_rule,
    identified_rule,
    reversed_p_values,
    tpr_rule,
)


@dataclass(frozen=True, slots=True)
class Judgement:
    """The verdict with everything that it changed."""

    outcome: Outcome
    exit_code: int
    """0 pass, 1 fail, 3 inconclusive or invalid."""
    rules: tuple[RuleResult, ...]
    findings: tuple[MembershipFinding, ...]
    """The findings, final: `supports_pass` and `is_named` account for the controls."""
    controls: tuple[ControlResult, ...]
    """The controls given, and the direction check."""
    sentence: str
    """The verdict in one sentence."""
    headline: str
    """The number behind it with its interval."""
    untested: str
    """What was not tested, in one sentence."""


def judge(
    evaluation: Evaluation,
    controls: Sequence[ControlResult],
    policy: Policy,
    *,
    n_train: int | None = None,
    extraction: GenerationFinding | None = None,
    not_tested: Sequence[str] = wording.OTHER_ATTACK_CLASSES,
) -> Judgement:
    """Judge an evaluation by its controls and a policy.

    n_train: size of the training set, to extrapolate from the sample; None if not declared.
    extraction: what came back out of the target, if it was drawn from.
    not_tested: attack classes that this audit left out, for the sentence that says so.
    """
    everything = (*controls, direction_control(evaluation, policy))
    case = _case(evaluation, everything, policy, n_train)
    rules: tuple[RuleResult, ...] = (identified_rule(case), auc_rule(case), tpr_rule(case))
    if extraction is not None:
        rules += (extracted_rule(extraction, policy),)
        not_tested = [name for name in not_tested if name != wording.REGURGITATION]
    outcome = overall_outcome([rule.outcome for rule in rules])
    findings = _final_findings(case, is_leak_shown=rules[0].outcome is Outcome.FAIL)
    return Judgement(
        outcome=outcome,
        exit_code=EXIT_CODES[outcome],
        rules=rules,
        findings=findings,
        controls=everything,
        sentence=wording.sentence(outcome, rules, case.invalid, evaluation, extraction),
        headline=wording.headline(outcome, rules, evaluation, policy),
        untested=wording.untested(findings, not_tested),
    )


def direction_control(evaluation: Evaluation, policy: Policy) -> ControlResult:
    """Whether an AUC is shown to be below the policy's lower limit (Holm over attacks).

    Scores below chance mean a sign error or a shift between the sets, so the control FAILS; if
    the target declares a mitigation they are a leak instead, and the control only WARNS.
    """
    p_values = reversed_p_values(evaluation, policy)
    limit = policy.rules.auc.lower
    if not p_values:
        return ControlResult("direction", ControlStatus.NOT_RUN, f"Not run: {NO_SCORES}.")
    attack, p = min(p_values.items(), key=lambda item: item[1])
    figures: dict[str, float | int | str | bool | None] = {
        "attack": attack,
        "auc": evaluation.statistics[attack].auc.value,
        "p_value": p,
        "limit": limit,
    }
    if p > policy.alpha_fail:
        text = f"No attack is shown to have an AUC below {limit:g} (smallest {p_equals(p)})."
        return ControlResult("direction", ControlStatus.PASSED, text, figures)
    value = evaluation.statistics[attack].auc.value
    text = f"The scores of {attack} are reversed: AUC {value:.3f}, shown to be below {limit:g} "
    text += f"({p_equals(p)})"
    if policy.target_declares_mitigation:
        text += "; the target declares a mitigation, so this counts as a leak."
        return ControlResult("direction", ControlStatus.WARNING, text, figures)
    text += ": a sign error or a shift between the two sets."
    return ControlResult("direction", ControlStatus.FAILED, text, figures)


def _case(
    evaluation: Evaluation,
    controls: Sequence[ControlResult],
    policy: Policy,
    n_train: int | None,
) -> Case:
    invalid = reasons_invalid(controls)
    ran = {c.name for c in controls if c.status is not ControlStatus.NOT_RUN}
    established = {
        c.name for c in controls if c.status in (ControlStatus.PASSED, ControlStatus.WARNING)
    }
    supporting: tuple[str, ...] = ()
    blocked = [f"a {name} control" for name in REQUIRED if name not in ran]
    if any(c.name == "captions" and c.status is ControlStatus.NOT_RUN for c in controls):
        blocked.append("the captions of the records")
    if any(c.name == "caption match" and c.status is ControlStatus.FAILED for c in controls):
        blocked.append("captions that belong to their records")
    if "positive" not in established:
        was_tried = "positive" in ran or any(c.name == "positive" and c.figures for c in controls)
        again = "a positive control that is established" if was_tried else ""
        blocked.append(again or "a positive control (records planted in a copy of the model)")
    else:
        supporting = tuple(f.attack for f in evaluation.findings if f.supports_pass)
        covered = {evaluation.access[attack] for attack in supporting}
        required: tuple[str, ...] = policy.access or tuple(sorted(set(evaluation.access.values())))
        blocked += [
            f"a {access} attack that catches its positive control within {policy.accepted_dose} "
            "exposures"
            for access in required
            if access not in covered
        ]
    return Case(evaluation, policy, invalid, tuple(blocked), supporting, "blind" in ran, n_train)


def _final_findings(case: Case, *, is_leak_shown: bool) -> tuple[MembershipFinding, ...]:
    final = []
    for finding in case.evaluation.findings:
        top = finding.top_members
        if not is_leak_shown:
            top = tuple(dataclasses.replace(record, is_named=False) for record in top)
        supports = finding.attack in case.supporting
        final.append(dataclasses.replace(finding, supports_pass=supports, top_members=top))
    return tuple(final)
