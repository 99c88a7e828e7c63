"""The sentences of a verdict: plain English, each number with its bound, nothing promised."""

from __future__ import annotations

import math
from collections.abc import Sequence

from attacks.extraction.generation import GenerationFinding
from attacks.results import MembershipFinding, Outcome, RuleResult, TprAtFpr
from attacks.statistics.auc import Auc
from attacks.statistics.identified import TopEvidence
from attacks.wording import p_equals, percent
from auditor.evaluate import Evaluation
from auditor.policy import AucRule, Policy

REGURGITATION = "verbatim regurgitation"
OTHER_ATTACK_CLASSES = (
    "attribute inference",
    "exfiltration",
    REGURGITATION,
    "model inversion",
    "reconstruction",
)
"""What a membership audit leaves out of the classes in EDPB Opinion 28/2024, paragraph 55."""
NO_BLIND = (
    "No blind baseline was run, so a difference between the two sets of records could also be "
    "the cause."
)
"""Caveat of a FAIL without its baseline."""


def rounded(count: int) -> str:
    """A count, rounded up to two significant digits, with separators."""
    step = 10 ** max(len(str(count)) - 2, 0)
    return f"{-(-count // step) * step:,}"


def records(n_members: int, n_nonmembers: int, purpose: str) -> str:
    """How many records something takes."""
    counts = f"{rounded(n_members)} members and {rounded(n_nonmembers)} nonmembers"
    return f"about {counts} {purpose}"


def identified_bound(
    attack: str, bound: float, count: int, limit: float, evaluation: Evaluation, policy: Policy
) -> str:
    """What the upper bound of the primary rule says, and what a sample cannot say."""
    relation = "below" if bound < limit else "not below"
    fpr = percent(policy.rules.identified.fpr)
    return (
        f"At most {percent(bound)} of members score as high as the top {fpr} of nonmembers "
        f"({confidence(policy.alpha_pass)} upper bound; {attack}), {relation} the limit of "
        f"{percent(limit)}; {count} of {evaluation.n_members:,} members lie above the threshold "
        f"behind this bound. A sample cannot show that no single person is affected."
    )


def identified_fail(
    attack: str,
    evidence: TopEvidence,
    side: str,
    p: float,
    evaluation: Evaluation,
    policy: Policy,
) -> str:
    """The evidence that members stand out."""
    rank = evidence.best_rank
    end = "top" if side == "above" else "bottom"
    which = f"every nonmember but {rank - 1}" if rank > 1 else "every nonmember"
    return (
        f"In {attack}, {evidence.counts[rank]:,} of {evaluation.n_members:,} members score {side} "
        f"{which}; chance alone explains the {end} of the rankings with {p_equals(p)}, "
        f"corrected over {_attacks(len(evaluation.findings))}. Members that leak: at least "
        f"{evaluation.leaked_at_least:,} ({confidence(policy.alpha_fail)} confidence)."
    )


def auc_bound(
    attack: str, estimate: Auc, low: float, high: float, rule: AucRule, is_pass: bool
) -> str:
    """What the bounds of the AUC say."""
    inside = rule.lower < low and high < rule.upper
    relation = "inside" if inside else "not inside"
    tail = "" if is_pass or not inside else ", but a PASS lacks its controls"
    return (
        f"The attack {attack} ranks a random member above a random nonmember in "
        f"{percent(estimate.value)} of pairs (50 % is chance; bounds {percent(low)} to "
        f"{percent(high)}), {relation} the limits of {percent(rule.lower)} and "
        f"{percent(rule.upper)}{tail}."
    )


def auc_fail(attack: str, estimate: Auc, low: float, high: float, limit: float, p: float) -> str:
    """That the ranking as a whole gives members away."""
    side, bound = ("above", low) if limit > 0.5 else ("below", high)
    least = "at least" if limit > 0.5 else "at most"
    return (
        f"The attack {attack} ranks a random member above a random nonmember in "
        f"{percent(estimate.value)} of pairs, and in {least} {percent(bound)} after correction "
        f"over attacks ({p_equals(p)}): {side} the limit of {percent(limit)}."
    )


def tpr(attack: str, estimate: TprAtFpr, limit: float | None, alpha: float) -> str:
    """TPR at 1 % FPR in words."""
    value = f"finds {percent(estimate.value)} of members" if estimate.value is not None else None
    low = f"at least {percent(estimate.low)}, " if estimate.low is not None else ""
    high = f"at most {percent(estimate.high)}" if estimate.high is not None else "no upper bound"
    judged = "Reported only." if limit is None else f"The limit is {percent(limit)}."
    start = value or f"has no resolvable value ({estimate.reason})"
    return (
        f"At 1 % false positives {attack} {start} ({low}{high}; each bound at "
        f"{confidence(alpha)}). {judged}"
    )


def confidence(alpha: float) -> str:
    """The confidence that an error probability leaves."""
    return percent(1 - alpha)


def sentence(
    outcome: Outcome,
    rules: Sequence[RuleResult],
    invalid: Sequence[str],
    evaluation: Evaluation,
    extraction: GenerationFinding | None = None,
) -> str:
    """The verdict in one sentence for a reader who knows no statistics."""
    identified = rules[0]
    if extraction is not None and rules[-1].outcome is Outcome.FAIL:
        return f"FAIL: the model draws {_records(extraction.n_extracted)} again."
    if outcome is Outcome.INVALID:
        return f"INVALID: this measurement cannot be trusted. {invalid[0]}"
    if outcome is Outcome.FAIL and identified.outcome is Outcome.FAIL:
        return (
            f"FAIL: at least {evaluation.leaked_at_least:,} of the {evaluation.n_members:,} "
            f"evaluated training {evaluation.unit}s can be told from {evaluation.unit}s that the "
            "model never saw."
        )
    if outcome is Outcome.FAIL:
        return (
            "FAIL: as a whole, training records can be told from records that the model never saw "
            "more often than the policy allows."
        )
    if outcome is Outcome.PASS:
        return (
            "PASS: no attack singles out training records by more than chance, and what the "
            "attacks that found planted records could have missed is bounded by the policy's limits."
        )
    needed = next((r.needed for r in rules if r.outcome is Outcome.INCONCLUSIVE and r.needed), None)
    tail = f" To decide: {needed}." if needed else ""
    return f"INCONCLUSIVE: this audit shows neither a leak nor that there is none.{tail}"


def headline(
    outcome: Outcome, rules: Sequence[RuleResult], evaluation: Evaluation, policy: Policy
) -> str:
    """The number behind the verdict with its bound, and its extrapolation where it passes."""
    if rules[-1].rule == "extracted" and rules[-1].outcome is Outcome.FAIL:
        return rules[-1].explanation
    if not evaluation.findings:
        drawn = rules[-1].rule == "extracted"
        return rules[-1].explanation if drawn else "No attack gave scores, so there is no number."
    if outcome is Outcome.INVALID:
        return "No number is given: a control failed."
    failed = next((rule for rule in rules if rule.outcome is Outcome.FAIL), None)
    if failed is not None and failed.rule == "identified":
        return (
            f"Members that leak: at least {evaluation.leaked_at_least:,} of "
            f"{evaluation.n_members:,} ({percent(failed.low or 0)}), "
            f"{confidence(policy.alpha_fail)} confidence over "
            f"{_attacks(len(evaluation.findings))}; {failed.attack} shows it most clearly "
            f"({p_equals(failed.p_value or 0)})."
        )
    return failed.explanation if failed is not None else _bound_headline(rules, evaluation, policy)


def _bound_headline(rules: Sequence[RuleResult], evaluation: Evaluation, policy: Policy) -> str:
    identified = rules[0]
    bound = 1.0 if identified.high is None else identified.high
    text = (
        f"At most {percent(bound)} of members score as high as the top "
        f"{percent(policy.rules.identified.fpr)} of nonmembers "
        f"({confidence(policy.alpha_pass)} upper bound on {evaluation.n_members:,} members; the "
        f"limit is {percent(identified.limit or 0)})"
    )
    return f"{text}; {identified.extrapolation}." if identified.extrapolation else f"{text}."


def extrapolation(bound: float, evaluation: Evaluation, n_train: int | None) -> str | None:
    """The bound over the whole training set; None if its size, counted in units, is unknown."""
    if n_train is None or evaluation.unit != "record":
        return None
    most = min(n_train, math.ceil(bound * n_train))
    return f"at most {most:,} of {n_train:,} training records"


def untested(findings: Sequence[MembershipFinding], classes: Sequence[str]) -> str:
    """What this audit does not cover: what follows `Not tested:`."""
    parts = [", ".join(classes)] if classes else []
    missed = [finding.attack for finding in findings if not finding.supports_pass]
    if missed:
        parts.append(
            f"membership by {', '.join(missed)}, which did not show on planted records that "
            "they would notice"
        )
    if not findings:
        parts.append("membership inference, since no attack gave scores")
    parts.append("attacks that are not in this version")
    return f"{'; '.join(parts)}."


def extracted(found: GenerationFinding) -> str:
    """What was drawn, what came back, and how far everything else stayed away."""
    prompts = f" for {found.n_prompts:,} prompts" if found.n_prompts else ""
    drawn = f"Of {found.n_images:,} images drawn{prompts}, "
    if found.n_extracted:
        nearest = found.records[0].distance
        return (
            f"{drawn}some are copies of {_records(found.n_extracted)}: the nearest lies "
            f"{nearest:.3f} away from its record, and no record that the model never saw comes "
            f"nearer than {found.background:.3f}. Each was drawn a second time to confirm it."
        )
    if found.threshold <= 0:
        return f"{drawn}none can be claimed as a copy: {'; '.join(found.warnings)}."
    return (
        f"{drawn}none is a copy of a training record; at most {percent(found.rate_upper)} of "
        f"{found.n_tried:,} records that were tried come back (95 % upper bound). "
        f"{found.n_planted_found} of {found.n_planted} planted copies were recognised."
    )


def _records(count: int) -> str:
    return "1 training record" if count == 1 else f"{count:,} training records"


def _attacks(count: int) -> str:
    return "1 attack" if count == 1 else f"{count} attacks"
