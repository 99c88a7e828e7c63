"""The charts of the report as Vega-Lite specifications, each with its table twin.

The points come from the record; here they are only chosen (thinned), clamped to the axes and
drawn. A chart holds no free text of the record except cleaned attack names.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import altair as alt

from attacks.results import CurvePoint, MembershipFinding, RocPoint, RuleResult
from reports.html import palette
from reports.text import clean, decimal, interval, number, share

FLOOR = 1e-4
"""Lowest false-positive rate that is drawn."""
HATCH_LINES = 14
FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"


@dataclass(frozen=True, slots=True)
class Chart:
    """One chart: what to draw, what to say, and the same figures as a table."""

    id: str
    title: str
    description: str
    spec: dict[str, Any]
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str = ""


def thin(points: Sequence[RocPoint], most: int) -> tuple[RocPoint, ...]:
    """At most `most` points, evenly by position on the log axis of the false-positive rate."""
    if len(points) <= most:
        return tuple(points)
    seen: dict[int, RocPoint] = {}
    for point in points:
        place = math.log10(max(point.fpr, FLOOR)) / -math.log10(FLOOR) + 1
        seen[round(place * (most - 2))] = point
    return (points[0], *(one for one in seen.values() if one is not points[0]))


def roc_chart(finding: MembershipFinding, chart_id: str, most: int) -> Chart:
    """ROC on two logarithmic axes, with its band and the region that the sample cannot resolve."""
    points = thin(finding.roc, most)
    layers = [
        *_unresolved(1 / max(finding.n_nonmembers, 1)),
        _markers(finding),
        _diagonal(),
        *_curve(points),
        *_estimates(finding),
    ]
    name = clean(finding.attack, 40)
    return Chart(
        id=chart_id,
        title=f"ROC of {name}",
        description=(
            f"Share of members above the threshold against share of nonmembers above it, for "
            f"{name}, both on logarithmic axes from 0.01 % to 100 %. The band is the 95 % "
            f"Clopper-Pearson interval; the hatched region lies below one in "
            f"{finding.n_nonmembers:,} nonmembers."
        ),
        spec=_finish(alt.layer(*layers), height=340),
        columns=("False alarms (FPR)", "Members found (TPR)", "95 % interval"),
        rows=tuple(
            (share(p.fpr), share(p.tpr), interval(p.tpr_low, p.tpr_high, "share")) for p in points
        ),
        note=f"{len(points)} of {len(finding.roc)} points; all of them are in audit.json."
        if len(points) < len(finding.roc)
        else "",
    )


def loss_chart(curve: Sequence[CurvePoint], chart_id: str = "loss") -> Chart:
    """Mean loss of members and nonmembers at each timestep."""
    values = [
        {"t": point.t, "who": who, "loss": _r(one.value), "low": _r(one.low), "high": _r(one.high)}
        for point in curve
        for who, one in (("members", point.members), ("nonmembers", point.nonmembers))
        if one.value is not None
    ]
    positive = all(row["loss"] > 0 and (row["low"] is None or row["low"] > 0) for row in values)
    return Chart(
        id=chart_id,
        title="Loss against timestep",
        description=(
            "Mean loss of members (solid line, circles) and nonmembers (dashed line, diamonds) at "
            "each timestep, with 95 % intervals of the means. Members below nonmembers is what "
            "memorization looks like on average."
        ),
        spec=_finish(_loss_layers(values, positive), height=300),
        columns=("Timestep", "Members", "95 % interval", "Nonmembers", "95 % interval"),
        rows=tuple(
            (
                number(p.t),
                number(p.members.value),
                _span(p.members.low, p.members.high),
                number(p.nonmembers.value),
                _span(p.nonmembers.low, p.nonmembers.high),
            )
            for p in curve
        ),
    )


def auc_chart(findings: Sequence[MembershipFinding], rule: RuleResult | None) -> Chart:
    """AUC of every attack with its interval, beside chance and the limit."""
    values = [
        {"attack": clean(f.attack, 24), "auc": _r(f.auc.value), "low": f.auc.low, "high": f.auc.high}
        for f in findings
        if f.auc.value is not None
    ]
    limit = rule.limit if rule else None
    return Chart(
        id="auc",
        title="Separation over all records (AUC)",
        description=(
            "One row per attack: the area under the ROC curve with its 95 % interval. 0.5 is "
            "guessing. The average over all records does not show a leak of a few of them."
        ),
        spec=_finish(_auc_layers(values, limit), height=max(70, 26 * len(values) + 20)),
        columns=("Attack", "AUC", "95 % interval"),
        rows=tuple(
            (clean(f.attack, 80), decimal(f.auc.value), interval(f.auc.low, f.auc.high))
            for f in findings
        ),
    )


def _finish(layered: alt.LayerChart, height: int) -> dict[str, Any]:
    """The specification with the house style; its width is that of the page."""
    axis = {
        "labelColor": palette.MUTED,
        "titleColor": palette.INK,
        "gridColor": palette.GRID,
        "domainColor": palette.SHADE,
        "tickColor": palette.SHADE,
        "labelFontSize": 12,
        "titleFontSize": 12.5,
        "titleFontWeight": 500,
        "titlePadding": 10,
        "labelFont": FONT,
        "titleFont": FONT,
    }
    spec: dict[str, Any] = layered.properties(height=height).to_dict()
    spec["width"] = "container"
    spec["autosize"] = {"type": "fit-x", "contains": "padding"}
    spec["background"] = None
    spec["config"] = {
        "axis": axis,
        "view": {"stroke": None},
        "font": FONT,
        "text": {"font": FONT, "fontSize": 12},
    }
    return spec


def _log_axis(field: str, title: str, kind: Any, ticks: tuple[float, ...]) -> Any:
    percent = "format(datum.value, '~%')"
    return kind(
        f"{field}:Q",
        scale=alt.Scale(type="log", domain=[FLOOR, 1], clamp=True),
        axis=alt.Axis(title=title, values=list(ticks), labelExpr=percent),
    )


def _x(field: str = "fpr") -> Any:
    ticks = (1e-4, 1e-3, 1e-2, 0.05, 1)
    return _log_axis(field, "False alarms: nonmembers above the threshold (FPR)", alt.X, ticks)


def _y(field: str = "tpr") -> Any:
    return _log_axis(field, "Members found (TPR)", alt.Y, (1e-4, 1e-3, 1e-2, 1e-1, 1))


def _clamp(value: float) -> float:
    return _r(min(1.0, max(FLOOR, value)))


def _r(value: float | None) -> Any:
    return None if value is None else float(f"{value:.4g}")


def _unresolved(edge: float) -> list[alt.Chart]:
    """Shade, hatch and label false-positive rates below one nonmember."""
    if edge <= FLOOR:
        return []
    edge = min(edge, 1.0)
    region = alt.Data(values=[{"a": FLOOR, "b": _r(edge), "low": FLOOR, "high": 1}])
    shade = (
        alt.Chart(region)
        .mark_rect(color=palette.SHADE, opacity=0.16)
        .encode(x=_x("a"), x2="b", y=_y("low"), y2="high")
    )
    steps = [FLOOR * (edge / FLOOR) ** (i / HATCH_LINES) for i in range(HATCH_LINES + 1)]
    hatch = (
        alt.Chart(alt.Data(values=[{"fpr": _r(step)} for step in steps]))
        .mark_rule(color=palette.SHADE, opacity=0.4, strokeWidth=1, strokeDash=[1, 4])
        .encode(x=_x())
    )
    where = [{"fpr": FLOOR, "label": "hatched: this sample cannot resolve"}]
    label = (
        alt.Chart(alt.Data(values=where))
        .mark_text(color=palette.MUTED, align="left", baseline="bottom", dy=-6)
        .encode(x=_x(), y=alt.value(0), text="label:N")
    )
    return [shade, hatch, label]


def _markers(finding: MembershipFinding) -> alt.Chart:
    rates = [{"fpr": _clamp(float(key))} for key in finding.tpr_at_fpr]
    return (
        alt.Chart(alt.Data(values=rates))
        .mark_rule(color=palette.MUTED, strokeDash=[2, 3], strokeWidth=1)
        .encode(x=_x())
    )


def _diagonal() -> alt.LayerChart:
    line = (
        alt.Chart(alt.Data(values=[{"fpr": FLOOR, "tpr": FLOOR}, {"fpr": 1, "tpr": 1}]))
        .mark_line(color=palette.MUTED, strokeDash=[6, 4], strokeWidth=1.3)
        .encode(x=_x(), y=_y())
    )
    label = (
        alt.Chart(alt.Data(values=[{"fpr": 0.25, "tpr": 0.25, "label": "chance"}]))
        .mark_text(color=palette.MUTED, align="left", baseline="top", dx=6, dy=4)
        .encode(x=_x(), y=_y(), text="label:N")
    )
    return line + label


def _curve(points: Sequence[RocPoint]) -> list[alt.Chart]:
    left = [p for p in points if p.fpr <= FLOOR][-1:]
    values = [
        {
            "fpr": _clamp(p.fpr),
            "tpr": _clamp(p.tpr),
            "low": _clamp(p.tpr_low),
            "high": _clamp(p.tpr_high),
        }
        for p in [*left, *(p for p in points if p.fpr > FLOOR)]
    ]
    base = alt.Chart(alt.Data(values=values))
    step: Any = "step-after"
    band = base.mark_area(color=palette.SERIES, opacity=0.16, interpolate=step).encode(
        x=_x(), y=_y("low"), y2="high"
    )
    line = base.mark_line(color=palette.SERIES, strokeWidth=2.2, interpolate=step).encode(
        x=_x(),
        y=_y(),
        order="fpr:Q",
        tooltip=[
            alt.Tooltip("fpr:Q", format=".3~%", title="false alarms"),
            alt.Tooltip("tpr:Q", format=".3~%", title="members found"),
        ],
    )
    return [band, line]


def _estimates(finding: MembershipFinding) -> list[alt.Chart]:
    """The point values at the policy's false-positive rates."""
    values = [
        {"fpr": _clamp(float(key)), "tpr": _clamp(one.value), "at": share(float(key))}
        for key, one in finding.tpr_at_fpr.items()
        if one.value is not None
    ]
    return [
        alt.Chart(alt.Data(values=values))
        .mark_point(
            shape="diamond", size=70, filled=True, color=palette.SERIES, stroke=palette.PAPER,
            opacity=1,
        )
        .encode(
            x=_x(),
            y=_y(),
            tooltip=[
                alt.Tooltip("at:N", title="at false alarms"),
                alt.Tooltip("tpr:Q", format=".3~%", title="members found"),
            ],
        )
    ]  # fmt: skip


def _loss_layers(values: list[dict[str, Any]], positive: bool) -> alt.LayerChart:
    names = ["members", "nonmembers"]
    base = alt.Chart(alt.Data(values=values))
    x = alt.X("t:Q", title="Timestep", scale=alt.Scale(nice=False))
    scale = alt.Scale(type="log" if positive else "linear", zero=False)
    colour = alt.Color(
        "who:N", scale=alt.Scale(domain=names, range=[palette.SERIES, palette.SECOND])
    )
    legend = alt.Legend(
        title=None,
        orient="top",
        labelColor=palette.INK,
        labelFontSize=12.5,
        symbolSize=110,
        symbolOpacity=1,
    )
    look = alt.Scale(domain=names, range=["circle", "diamond"])
    dash = alt.Scale(domain=names, range=[[1, 0], [6, 4]])
    y = alt.Y("loss:Q", title="Mean loss", scale=scale)
    band = base.mark_area(opacity=0.16).encode(
        x=x, y=alt.Y("low:Q", title="Mean loss", scale=scale), y2="high:Q", color=colour
    )
    line = base.mark_line(strokeWidth=2).encode(
        x=x, y=y, color=colour.legend(legend), strokeDash=alt.StrokeDash("who:N", scale=dash,
                                                                         legend=legend)
    )  # fmt: skip
    dots = base.mark_point(filled=True, size=46, opacity=1).encode(
        x=x,
        y=y,
        color=colour.legend(legend),
        shape=alt.Shape("who:N", scale=look, legend=legend),
        tooltip=[
            alt.Tooltip("who:N", title="records"),
            alt.Tooltip("t:Q", title="timestep"),
            alt.Tooltip("loss:Q", format=".4~g", title="mean loss"),
        ],
    )
    return alt.layer(band, line, dots)


def _auc_layers(values: list[dict[str, Any]], limit: float | None) -> alt.LayerChart:
    seen = [value for row in values for value in (row["low"], row["high"], row["auc"])]
    edges = [value for value in [*seen, limit, 0.4, 0.62] if value is not None]
    domain = [max(0.0, min(edges) - 0.01), min(1.0, max(edges) + 0.02)]
    base = alt.Chart(alt.Data(values=values))
    y = alt.Y("attack:N", title=None, sort=None)
    scale = alt.Scale(domain=domain, zero=False, nice=False)
    x = alt.X("auc:Q", title="AUC with 95 % interval", scale=scale, axis=alt.Axis(tickCount=8))
    bars = base.mark_rule(color=palette.SERIES, strokeWidth=2.4).encode(
        y=y, x=alt.X("low:Q", title="AUC with 95 % interval", scale=scale), x2="high:Q"
    )
    dots = base.mark_point(filled=True, size=80, color=palette.SERIES, opacity=1).encode(
        y=y, x=x, tooltip=["attack:N", alt.Tooltip("auc:Q", format=".3f", title="AUC")]
    )
    layers = [_rule_at(0.5, "chance", palette.MUTED, [6, 4], scale), bars, dots]
    if limit is not None:
        layers.insert(1, _rule_at(limit, "limit", palette.LIMIT, [2, 2], scale))
    return alt.layer(*layers)


def _rule_at(
    where: float, label: str, colour: str, dash: list[int], scale: alt.Scale
) -> alt.LayerChart:
    x = alt.X("at:Q", scale=scale, title="AUC with 95 % interval")
    base = alt.Chart(alt.Data(values=[{"at": where, "label": label}])).encode(x=x)
    line = base.mark_rule(color=colour, strokeDash=dash, strokeWidth=1.3)
    text = base.mark_text(color=colour, dy=-5, align="center", baseline="bottom").encode(
        y=alt.value(0), text="label:N"
    )
    return line + text


def _span(low: float | None, high: float | None) -> str:
    return interval(low, high, "count")
