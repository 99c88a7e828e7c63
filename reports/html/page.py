"""The HTML report: chooses what to show from the record and fills the template.

Nothing here computes a statistic or decides anything; the verdict is printed as it was recorded.
"""

from __future__ import annotations

from typing import Any

from attacks.results import MembershipFinding, RuleResult
from reports import crosswalk, text, wording
from reports.coverage import coverage_rows
from reports.html import charts
from reports.html.gauge import gauge
from reports.html.shell import compile_chart, fill
from reports.record import AuditRecord

MAX_BYTES = 2_000_000
CHART_POINTS = (1200, 600, 250)
"""ROC points in the whole page; the next budget is taken if the page comes out too big."""
MAX_ROC_CHARTS = 12


def render(record: AuditRecord) -> str:
    """The whole page; self-contained, at most 2 MB."""
    page = ""
    for points in CHART_POINTS:
        page = _page(record, points)
        if len(page.encode("utf-8")) <= MAX_BYTES:
            break
    return page


def deciding_finding(record: AuditRecord) -> MembershipFinding | None:
    """The finding that the first rule rests on; else the first one."""
    by_name = {finding.attack: finding for finding in record.findings}
    for rule in record.rules:
        if rule.attack in by_name:
            return by_name[rule.attack]
    return record.findings[0] if record.findings else None


def _page(record: AuditRecord, points: int) -> str:
    return fill(
        "report.html.j2",
        record=record,
        main=deciding_finding(record),
        ordered=_ordered(record),
        coverage=coverage_rows(record),
        rules=[(rule, gauge(rule)) for rule in record.rules],
        citations=_citations(record),
        frameworks=_cited_frameworks(record),
        charts=_charts(record, points),
        figure=_figure,
        wording=wording,
        marks=crosswalk.MARKS,
    )


def _ordered(record: AuditRecord) -> list[MembershipFinding]:
    """The deciding finding first, the others as recorded."""
    main = deciding_finding(record)
    return sorted(record.findings, key=lambda finding: finding is not main)


def _charts(record: AuditRecord, points: int) -> dict[str, Any]:
    """Charts with their compiled forms: the ROC curves, the AUC overview, the loss curve."""
    shown = _ordered(record)[:MAX_ROC_CHARTS]
    most = max(24, points // max(len(shown), 1))
    rocs = [
        charts.roc_chart(finding, f"roc-{i}", min(most, 260))
        for i, finding in enumerate(shown)
        if finding.roc
    ]
    rule = next((rule for rule in record.rules if rule.rule == "auc"), None)
    return {
        "roc": [compile_chart(chart) for chart in rocs],
        "scores": compile_chart(charts.distribution_chart(shown[0])) if shown else None,
        "auc": compile_chart(charts.auc_chart(record.findings, rule)) if record.findings else None,
        "loss": compile_chart(charts.loss_chart(record.loss_curve)) if record.loss_curve else None,
        "distances": compile_chart(charts.distance_chart(record.extraction))
        if record.extraction and record.extraction.distribution
        else None,
        "shadows": compile_chart(charts.shadow_chart(record.shadow_curve))
        if record.shadow_curve
        else None,
    }


def _citations(record: AuditRecord) -> tuple[crosswalk.Citation, ...]:
    found = [finding.kind for finding in record.findings]
    found += [finding.kind for finding in record.attributes]
    found += [record.extraction.kind] if record.extraction else []
    found += [one.kind for one in record.collections]
    kinds = dict.fromkeys(found or ["membership"])
    return tuple(row for kind in kinds for row in crosswalk.citations(kind))


def _cited_frameworks(record: AuditRecord) -> tuple[crosswalk.Framework, ...]:
    cited = {row.framework for row in _citations(record)}
    return tuple(one for one in crosswalk.frameworks() if one.key in cited)


def _figure(rule: RuleResult, which: str) -> str:
    return text.figure(getattr(rule, which), rule.unit)
