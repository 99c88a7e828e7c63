"""The HTML report: chooses what to show from the record and fills the template.

Nothing here computes a statistic or decides anything; the verdict is printed as it was recorded.
"""

from __future__ import annotations

import base64
import hashlib
import re
from importlib import resources
from typing import Any

import jinja2
from markupsafe import Markup

from attacks.results import MembershipFinding, RuleResult
from reports import crosswalk, text, wording
from reports.coverage import coverage_rows
from reports.html import charts, compiled
from reports.html.gauge import gauge
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
    style = _read("style.css")
    script = compiled.script()
    return (
        _environment()
        .get_template("report.html.j2")
        .render(
            record=record,
            main=deciding_finding(record),
            ordered=_ordered(record),
            coverage=coverage_rows(record),
            rules=[(rule, gauge(rule)) for rule in record.rules],
            citations=_citations(record),
            frameworks=_cited_frameworks(record),
            charts=_charts(record, points),
            wording=wording,
            marks=crosswalk.MARKS,
            style=Markup(style),  # noqa: S704
            script=Markup(script),  # noqa: S704
            csp=_policy(style, script),
        )
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
        "roc": [_compile(chart) for chart in rocs],
        "scores": _compile(charts.distribution_chart(shown[0])) if shown else None,
        "auc": _compile(charts.auc_chart(record.findings, rule)) if record.findings else None,
        "loss": _compile(charts.loss_chart(record.loss_curve)) if record.loss_curve else None,
        "shadows": _compile(charts.shadow_chart(record.shadow_curve))
        if record.shadow_curve
        else None,
    }


def _compile(chart: charts.Chart) -> dict[str, Any]:
    return {
        "chart": chart,
        "spec": compiled.spec_json(chart),
        "svg": compiled.static_svg(chart),
    }


def _citations(record: AuditRecord) -> tuple[crosswalk.Citation, ...]:
    kinds = dict.fromkeys(finding.kind for finding in record.findings) or {"membership": None}
    return tuple(row for kind in kinds for row in crosswalk.citations(kind))


def _cited_frameworks(record: AuditRecord) -> tuple[crosswalk.Framework, ...]:
    cited = {row.framework for row in _citations(record)}
    return tuple(one for one in crosswalk.frameworks() if one.key in cited)


def _policy(style: str, script: str) -> str:
    """A content security policy that allows this script and this style sheet and nothing else."""
    return (
        f"default-src 'none'; script-src {_digest(script)}; style-src {_digest(style)}; "
        "img-src data:; base-uri 'none'; form-action 'none'"
    )


def _digest(source: str) -> str:
    digest = hashlib.sha256(source.encode("utf-8")).digest()
    return f"'sha256-{base64.b64encode(digest).decode('ascii')}'"


def _read(name: str) -> str:
    return resources.files("reports.html").joinpath(name).read_text(encoding="utf-8")


def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(_read),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        finalize=_visible,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        share=text.share,
        rate=text.rate,
        number=text.number,
        decimal=text.decimal,
        p_value=text.p_value,
        flat=text.flat,
        seconds=text.seconds,
        megabytes=text.megabytes,
        cut=text.clean,
        swatch=_swatch,
    )
    environment.globals.update(figure=_figure, interval=text.interval)
    return environment


def _visible(value: Any) -> Any:
    """Every plain string that the template prints is made visible before it is escaped.

    A space between a figure and its percent sign does not break the line.
    """
    if not isinstance(value, str) or hasattr(value, "__html__"):
        return value
    return re.sub(r"(?<=\d) %", f"{text.NARROW}%", text.clean(value))


def _figure(rule: RuleResult, which: str) -> str:
    return text.figure(getattr(rule, which), rule.unit)


def _swatch(colour: str) -> str:
    """The colour if it is #rrggbb, grey otherwise."""
    digits = colour[1:]
    is_colour = len(colour) == 7 and colour[0] == "#" and all(c in "0123456789abcdefABCDEF" for c in digits)  # fmt: skip
    return colour if is_colour else "#808080"
