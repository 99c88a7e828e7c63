"""Whether a record that was read contradicts itself: what follows from what stands beside it.

A record that somebody edited by hand must not be rendered as if a scan had said it. This looks at
what is determined by the record alone; `SHA256SUMS` tells whether any byte has changed.

rules        <- figures, limits of the policy, controls
verdict      <- rules
exit code    <- verdict
sentences    <- the numbers of the rules, where they are derived from them
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from attacks.outcomes import EXIT_CODES, REQUIRED, overall_outcome, reasons_invalid
from attacks.results import ControlStatus, MembershipFinding, Outcome, RuleResult
from attacks.wording import p_equals, percent
from reports.record import AuditRecord
from reports.text import clean

EXTRACTED = "extracted"
ALWAYS_JUDGED = ("auc", "identified", "tpr@1%")
"""Rules of every scan of a model; others of the policy are for other scans."""
TOLERANCE = 1e-9
"""Difference of two figures that counts as none."""


def contradictions(record: AuditRecord) -> Iterator[str]:
    """What does not follow, each in words that name the place; nothing if all does."""
    yield from _verdict(record)
    yield from _completeness(record)
    yield from (f"rule '{EXTRACTED}' {text}" for text in _extracted(record))
    for rule in record.rules:
        if rule.rule == EXTRACTED:
            continue  # not about scores: no control makes it invalid
        name = f"rule '{clean(rule.rule, 40)}'"
        for check in (_validity, _order, _policy_limit, _outcome, _finding_agrees):
            yield from (f"{name} {text}" for text in check(record, rule))
    yield from _sentences(record)


def _verdict(record: AuditRecord) -> Iterator[str]:
    verdict = record.verdict
    wanted = overall_outcome([rule.outcome for rule in record.rules])
    if verdict.outcome is not wanted:
        yield f"the verdict is {verdict.outcome}, but its rules give {wanted}"
    code = EXIT_CODES[verdict.outcome]
    if verdict.exit_code != code:
        yield f"the exit code is {verdict.exit_code}, but {verdict.outcome} has {code}"


def _completeness(record: AuditRecord) -> Iterator[str]:
    names = [rule.rule for rule in record.rules]
    if len(set(names)) < len(names):
        yield "a rule is judged twice"
    judged = [*ALWAYS_JUDGED, *([EXTRACTED] if record.extraction else [])]
    missing = [name for name in judged if name in record.policy.rules and name not in names]
    if missing:
        yield f"rule '{clean(missing[0], 40)}' of the policy is not judged"
    sizes = {(finding.n_members, finding.n_nonmembers) for finding in record.findings}
    if record.data.unit == "record" and record.findings:
        sizes.add((record.data.n_members, record.data.n_nonmembers))
    if len(sizes) > 1:
        yield "the findings do not agree about how many records were evaluated"


def _validity(record: AuditRecord, rule: RuleResult) -> Iterator[str]:
    """A failed control makes every judged rule invalid, and nothing else does."""
    is_invalid = bool(reasons_invalid(record.controls))
    if rule.outcome is None or (rule.outcome is Outcome.INVALID) == is_invalid:
        return
    yield (
        f"is {rule.outcome}, although a control failed that makes it invalid"
        if is_invalid
        else "is invalid, although no control failed that makes it so"
    )


def _order(record: AuditRecord, rule: RuleResult) -> Iterator[str]:
    figures = [figure for figure in (rule.low, rule.value, rule.high) if figure is not None]
    if any(a > b + TOLERANCE for a, b in zip(figures[:-1], figures[1:], strict=True)):
        yield "has a value outside its own bounds"


def _policy_limit(record: AuditRecord, rule: RuleResult) -> Iterator[str]:
    """The limit is that of the policy; what fails `identified` is any leak at all."""
    stated = record.policy.rules.get(rule.rule)
    if not isinstance(stated, dict):
        return
    if rule.rule == "identified" and rule.outcome is Outcome.FAIL:
        allowed: tuple[object, ...] = (0.0,)
    else:
        allowed = tuple(stated[k] for k in ("limit", "upper", "lower") if k in stated)
    if allowed and rule.limit not in allowed:
        yield "has another limit than the policy"
    if (rule.outcome is None) != (rule.limit is None):
        yield "has a limit but no outcome" if rule.outcome is None else "is judged without a limit"


def _outcome(record: AuditRecord, rule: RuleResult) -> Iterator[str]:
    """The outcome against the figures, the limit and the p-value of the same rule."""
    alpha, p, limit = record.policy.alpha_fail, rule.p_value, rule.limit
    if rule.outcome in (None, Outcome.INVALID) or limit is None:
        return
    is_fail = rule.outcome is Outcome.FAIL
    if is_fail and p is None:
        yield "fails without a p-value"
    if alpha is not None and p is not None and is_fail != (p <= alpha):
        yield f"is {rule.outcome} at {p_equals(p)}, with alpha_fail {alpha:g} of the policy"
    if rule.rule == "auc" and is_fail:
        bound, side = (rule.low, 1) if limit > 0.5 else (rule.high, -1)
        if bound is None or side * (bound - limit) < -TOLERANCE:
            yield f"fails although its bound does not lie beyond the limit {limit:g}"
    if rule.outcome is Outcome.PASS:
        yield from _pass(record, rule, limit)


def _pass(record: AuditRecord, rule: RuleResult, limit: float) -> Iterator[str]:
    """Bounds below the limit, an attack that caught its control, and every control."""
    stated = record.policy.rules.get(rule.rule)
    inside = rule.rule == "auc" and isinstance(stated, dict)
    upper = stated.get("upper", limit) if inside and isinstance(stated, dict) else limit
    lower = stated.get("lower", 0.0) if inside and isinstance(stated, dict) else None
    if rule.high is None or rule.high >= upper:
        yield f"passes although its upper bound is not below the limit {upper:g}"
    if lower is not None and (rule.low is None or rule.low <= lower):
        yield f"passes although its lower bound is not above the limit {lower:g}"
    finding = _finding(record, rule)
    if finding is None or not finding.supports_pass:
        yield "passes on an attack that cannot support a pass"
    ran = {c.name for c in record.controls if c.status is not ControlStatus.NOT_RUN}
    missing = [name for name in (*REQUIRED, "positive") if name not in ran]
    if missing:
        yield f"passes without the {missing[0]} control"


def _finding_agrees(record: AuditRecord, rule: RuleResult) -> Iterator[str]:
    """The figures of a rule are those of the attack that decided it."""
    if rule.attack is None:
        return
    finding = _finding(record, rule)
    if finding is None:
        yield "was decided by an attack that has no finding"
        return
    if rule.rule == "identified" and rule.outcome is Outcome.FAIL:
        least = max(1, *(one.identified.leaked_at_least for one in record.findings))
        if rule.low is None or rule.low * finding.n_members < least - 1e-6:
            yield "states fewer leaked members than its findings"
        return
    values = {
        "auc": (rule.value, finding.auc.value),
        "tpr@1%": (rule.value, _tpr(finding, 0.01)),
        "identified": (rule.value, _tpr(finding, _fpr(record))),
    }
    mine, theirs = values.get(rule.rule, (None, None))
    if rule.outcome is not Outcome.INVALID and not _is_same(mine, theirs):
        yield "has another value than the finding behind it"


def _extracted(record: AuditRecord) -> Iterator[str]:
    """What came back out, against the finding and the limit."""
    rule = next((rule for rule in record.rules if rule.rule == EXTRACTED), None)
    found = record.extraction
    if rule is None or found is None:
        if rule is not None:
            yield "was decided by an attack that has no finding"
        return
    stated = record.policy.rules.get(EXTRACTED)
    limit = stated.get("limit") if isinstance(stated, dict) else rule.limit
    if rule.limit != limit:
        yield "has another limit than the policy"
    if rule.value != found.n_extracted or len(found.records) > found.n_extracted:
        yield "has another value than the finding behind it"
    if (rule.outcome is Outcome.FAIL) != (found.n_extracted > (rule.limit or 0)):
        yield f"is {rule.outcome} with {found.n_extracted} records and a limit of {rule.limit:g}"
    if any(max(r.distance, r.repeated_distance) > found.threshold for r in found.records):
        yield "counts a record that lies beyond its threshold"


def _sentences(record: AuditRecord) -> Iterator[str]:
    """The words begin with the outcome and hold the numbers that they are made from."""
    verdict = record.verdict
    start = f"{verdict.outcome.upper()}:"
    if not verdict.sentence.startswith(start):
        yield f"the sentence of the verdict does not begin with '{start}'"
    found = record.extraction
    if found is not None and found.n_extracted and verdict.outcome is Outcome.FAIL:
        if f" {found.n_extracted:,} training record" not in verdict.sentence:
            yield "the sentence of the verdict does not say how many records came back"
        return
    identified = next((rule for rule in record.rules if rule.rule == "identified"), None)
    if identified is None or not record.findings:
        return
    if identified.outcome is Outcome.FAIL and identified.low is not None:
        n = record.findings[0].n_members
        count = f"at least {round(identified.low * n):,} of"
        if f"{count} the {n:,} evaluated" not in verdict.sentence:
            yield f"the sentence of the verdict does not say '{count} the {n:,} evaluated'"
        if f"{count} {n:,}" not in verdict.headline:
            yield f"the headline does not say '{count} {n:,}'"
    elif verdict.outcome in (Outcome.PASS, Outcome.INCONCLUSIVE):
        bound = percent(1.0 if identified.high is None else identified.high)
        if bound not in verdict.headline:
            yield f"the headline does not give the bound {bound}"
    reasons = reasons_invalid(record.controls)
    if verdict.outcome is Outcome.INVALID and reasons and reasons[0] not in verdict.sentence:
        yield "the sentence of the verdict does not name the control that failed"


def _finding(record: AuditRecord, rule: RuleResult) -> MembershipFinding | None:
    return next((one for one in record.findings if one.attack == rule.attack), None)


def _fpr(record: AuditRecord) -> float:
    stated = record.policy.rules.get("identified")
    fpr = stated.get("fpr") if isinstance(stated, dict) else None
    return fpr if isinstance(fpr, float) else 0.001


def _tpr(finding: MembershipFinding, fpr: float) -> float | None:
    found = finding.tpr_at_fpr.get(f"{fpr:g}")
    return None if found is None else found.value


def _is_same(a: float | None, b: float | None) -> bool:
    if a is None or b is None:
        return a is b
    return math.isclose(a, b, rel_tol=0, abs_tol=TOLERANCE)
