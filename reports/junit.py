"""JUnit XML for CI: one test case for each rule of the policy.

JUnit knows no "inconclusive". Most viewers show `skipped` as green, so it would pass silently:

    pass            a plain test case
    fail            <failure>
    inconclusive    <error>: the question could not be answered, and the gate exits 3
    invalid         <error>
    only reported   <skipped>, with that reason

The numbers are in <system-out>. If the verdict is not a pass and no rule says so, a test case
`verdict` carries it.
"""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Mapping, Sequence
from datetime import datetime

from attacks.results import Outcome, RuleResult
from reports import text, wording
from reports.record import AuditRecord, Verdict


def render(record: AuditRecord) -> str:
    """The XML text."""
    return document(
        "auditor." + text.clean(record.target.name, 120).replace(".", "_"),
        record.rules,
        record.verdict,
        (record.environment.started, record.environment.finished),
        _properties(record),
    )


def document(
    suite_name: str,
    rules: Sequence[RuleResult],
    verdict: Verdict,
    times: tuple[datetime, datetime],
    properties: Mapping[str, object],
) -> str:
    """The XML text of any record with rules and a verdict.

    suite_name: name of suite and classes; dots would read as packages. times: start and end.
    """
    cases = [_rule_case(suite_name, rule) for rule in rules]
    if verdict.outcome is not Outcome.PASS and not any(_is_red(case) for case in cases):
        cases.append(_verdict_case(suite_name, verdict))
    counts = {
        "tests": str(len(cases)),
        "failures": str(sum(case.find("failure") is not None for case in cases)),
        "errors": str(sum(case.find("error") is not None for case in cases)),
        "skipped": str(sum(case.find("skipped") is not None for case in cases)),
        "time": f"{(times[1] - times[0]).total_seconds():.3f}",
    }
    root = ET.Element("testsuites", {"name": "auditor", **counts})
    stamp = times[0].strftime("%Y-%m-%dT%H:%M:%S")
    suite = ET.SubElement(root, "testsuite", {"name": suite_name, "timestamp": stamp, **counts})
    listed = ET.SubElement(suite, "properties")
    for name, value in properties.items():
        ET.SubElement(listed, "property", {"name": name, "value": text.clean(value, 600)})
    suite.extend(cases)
    ET.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ET.tostring(root, encoding="unicode") + "\n"


def _properties(record: AuditRecord) -> dict[str, object]:
    return {
        "verdict": record.verdict.outcome.value,
        "sentence": record.verdict.sentence,
        "untested": record.verdict.untested,
        "policy": f"{record.policy.name} {record.policy.sha256}",
        "members": record.data.n_members,
        "nonmembers": record.data.n_nonmembers,
        "seed": record.seed,
        "note": wording.NOT_ADVICE,
    }


def _rule_case(suite_name: str, rule: RuleResult) -> ET.Element:
    case = ET.Element("testcase", {"name": text.clean(rule.rule, 200), "classname": suite_name})
    says = text.clean(rule.explanation, 800)
    if rule.outcome is None:
        ET.SubElement(case, "skipped", {"message": "reported only; the policy sets no limit"})
    elif rule.outcome is not Outcome.PASS:
        _complain(case, rule.outcome, says, _numbers(rule))
    ET.SubElement(case, "system-out").text = f"{says}\n{_numbers(rule)}"
    return case


def _verdict_case(suite_name: str, verdict: Verdict) -> ET.Element:
    case = ET.Element("testcase", {"name": "verdict", "classname": suite_name})
    _complain(case, verdict.outcome, text.clean(verdict.sentence), text.clean(verdict.headline))
    return case


def _complain(case: ET.Element, outcome: Outcome, says: str, numbers: str) -> None:
    tag = "failure" if outcome is Outcome.FAIL else "error"
    message = f"{outcome.value}: {says}"
    ET.SubElement(case, tag, {"message": message, "type": outcome.value}).text = numbers


def _is_red(case: ET.Element) -> bool:
    return case.find("failure") is not None or case.find("error") is not None


def _numbers(rule: RuleResult) -> str:
    lines = [
        f"observed {text.figure(rule.value, rule.unit)}",
        f"interval {text.interval(rule.low, rule.high, rule.unit)}",
        f"limit {text.figure(rule.limit, rule.unit)}",
    ]
    if rule.p_value is not None:
        lines.append(f"p {text.p_value(rule.p_value)}")
    if rule.attack:
        lines.append(f"decided by {text.clean(rule.attack, 80)}")
    if rule.needed:
        lines.append(f"would be decided by {text.clean(rule.needed, 300)}")
    return "\n".join(lines)
