"""A Markdown summary for pull requests: short, escaped, at most 65,000 characters.

Text of the record is hostile: it cannot open a tag, a link, a mention, a table cell or code.
"""

from __future__ import annotations

import re

from attacks.extraction.generation import GenerationFinding
from attacks.results import Estimate, RuleResult
from attacks.wording import plural
from reports import text, wording
from reports.coverage import coverage_rows
from reports.record import AuditRecord

MAX_CHARS = 65_000
"""GitHub refuses comments above 65,536 characters."""
MARKER = "<!-- auditor-report -->"
"""A CI step finds its earlier comment by this line."""
_ROWS = 60
_SPECIAL = re.compile(r"([\\`*_{}\[\]()#+!|~<>&=$^-])")
_AUTOMATIC = re.compile(r"(@|#|GH-|www\.|:(?=//))(?=\S)", re.IGNORECASE)


def render(record: AuditRecord) -> str:
    """The comment."""
    verdict = record.verdict
    head = [
        MARKER,
        f"## auditor: {wording.OUTCOMES[verdict.outcome]}",
        "",
        f"**{escape(text.clean(verdict.sentence, 600))}**",
        "",
        escape(text.clean(verdict.headline, 600)),
        "",
        f"Not tested: {escape(text.clean(verdict.untested, 600))}",
        "",
        *_rules(record),
    ]
    parts = [
        head,
        _details("Coverage", _coverage(record)),
        _details("Attacks", _attacks(record)),
        *([_details("Attribute inference", _attributes(record))] if record.attributes else []),
        *([_details("Extraction", _extraction(record.extraction))] if record.extraction else []),
        *(
            [_details("The collection as a whole", _collections(record))]
            if record.collections
            else []
        ),
        _details("Controls", _controls(record)),
    ]
    foot = ["", f"<sub>{_facts(record)} {wording.NOT_ADVICE}</sub>", ""]
    return _fit(parts, foot)


def escape(words: str) -> str:
    """Text that Markdown prints as it is, on one line, linking and mentioning nobody."""
    apart = _AUTOMATIC.sub("\\1\u200b", words.replace("\n", " "))
    return _SPECIAL.sub(r"\\\1", apart).replace("\\<", "&lt;").replace("\\>", "&gt;").replace(
        "\\&", "&amp;"
    )  # fmt: skip


def _fit(parts: list[list[str]], foot: list[str]) -> str:
    """Leave out whole parts from the end, and say so, rather than cut inside one."""
    note = ["", "Parts were left out for length; they are in the HTML report."]
    for keep in range(len(parts), 0, -1):
        lines = [line for part in parts[:keep] for line in part]
        lines += foot if keep == len(parts) else note + foot
        if len(out := "\n".join(lines)) <= MAX_CHARS:
            return out
    return "\n".join([*parts[0], *note, *foot])[:MAX_CHARS]


def _rules(record: AuditRecord) -> list[str]:
    if not record.rules:
        return ["The record holds no rule."]
    lines = table_header(
        "Rule", "Outcome", "Observed", "Low", "High", "Limit", "What would decide it"
    )
    return lines + [_rule(rule) for rule in record.rules[:_ROWS]]


def _rule(rule: RuleResult) -> str:
    outcome = wording.OUTCOMES[rule.outcome] if rule.outcome else "reported"
    return table_row(
        f"{text.clean(rule.rule, 60)}: {text.clean(rule.metric, 160)}",
        outcome,
        text.figure(rule.value, rule.unit),
        text.figure(rule.low, rule.unit),
        text.figure(rule.high, rule.unit),
        text.figure(rule.limit, rule.unit),
        text.clean(rule.needed, 200) if rule.needed else text.DASH,
    )


def _coverage(record: AuditRecord) -> list[str]:
    lines = table_header("Class of attack (EDPB Opinion 28/2024)", "Paragraph", "Status", "Why")
    return lines + [
        table_row(text.clean(row.name, 80), row.clause, row.status, text.clean(row.reason, 240))
        for row in coverage_rows(record)[:_ROWS]
    ]


def _attacks(record: AuditRecord) -> list[str]:
    lines = table_header(
        "Attack", "AUC", "Above the top nonmember", "Leaked, at least", "Bound at 0.1 %"
    )
    for one in record.findings[:_ROWS]:
        strict = one.tpr_at_fpr.get("0.001")
        lines.append(
            table_row(
                text.clean(one.attack, 60),
                f"{text.decimal(one.auc.value)} ({text.interval(one.auc.low, one.auc.high)})",
                text.number(one.identified.members_above.get("1")),
                f"{one.identified.leaked_at_least} of {one.n_members}",
                text.share(strict.high if strict else None),
            )
        )
    return lines


def _attributes(record: AuditRecord) -> list[str]:
    lines = table_header(
        "Column", "Imputation, members", "Attack, members", "Gain, members", "Leak", "Shown"
    )
    for one in record.attributes[:_ROWS]:
        lines.append(
            table_row(
                text.clean(one.column, 60),
                text.share(one.imputed_members.value),
                text.share(one.attacked_members.value),
                _with_interval(one.advantage_members),
                _with_interval(one.leak),
                "yes" if one.is_shown else "no",
            )
        )
    return [wording.ATTRIBUTES, "", *lines]


def _extraction(found: GenerationFinding) -> list[str]:
    lines = table_header("Copies in training", "Records tried", "Came back", "Share")
    for one in found.by_copies:
        lines.append(
            table_row(
                one.copies, f"{one.n_records:,}", f"{one.n_copied:,}",
                f"{text.share(one.share.value)} ({text.interval(one.share.low, one.share.high, 'share')})",
            )
        )  # fmt: skip
    return [wording.EXTRACTION, "", *lines]


def _with_interval(one: Estimate) -> str:
    return f"{text.decimal(one.value)} ({text.interval(one.low, one.high)})"


def _collections(record: AuditRecord) -> list[str]:
    lines = table_header("Attack", "p", "What it says")
    return lines + [
        table_row(
            text.clean(one.attack, 60), text.decimal(one.p_value), text.clean(one.explanation, 400)
        )
        for one in record.collections[:_ROWS]
    ]


def _controls(record: AuditRecord) -> list[str]:
    lines = table_header("Control", "Status", "What came out")
    return lines + [
        table_row(text.clean(one.name, 60), one.status.value, text.clean(one.summary, 300))
        for one in record.controls[:_ROWS]
    ]


def _facts(record: AuditRecord) -> str:
    data = record.data
    facts = (
        f"{text.clean(record.target.name, 80)}, {plural(data.n_members, 'member')}, "
        f"{plural(data.n_nonmembers, 'nonmember')}, seed {record.seed}, "
        f"policy {text.clean(record.policy.name, 40)} ({text.clean(record.policy.sha256, 12)})."
    )
    return escape(facts)


def _details(title: str, lines: list[str]) -> list[str]:
    return ["", f"<details><summary>{title}</summary>", "", *lines, "", "</details>"]


def table_header(*cells: str) -> list[str]:
    """The two lines that open a table."""
    return [f"| {' | '.join(cells)} |", f"|{'---|' * len(cells)}"]


def table_row(*cells: str) -> str:
    """One line of a table, its cells escaped."""
    return f"| {' | '.join(escape(cell) for cell in cells)} |"
