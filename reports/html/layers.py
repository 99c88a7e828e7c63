"""The marks of the charts: what is drawn, in which order, on which axes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import altair as alt

from attacks.results import MembershipFinding, RocPoint
from reports.html import palette
from reports.text import rate

FLOOR = 1e-4
"""Lowest false-positive rate that is drawn."""
HATCH_LINES = 14
FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"


def finish(layered: Any, height: int, **data_sets: list[dict[str, Any]]) -> dict[str, Any]:
    """The specification in the house style, as wide as the page.

    Not validated here, which would take most of the time of a report; a test does it.
    """
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
    spec: dict[str, Any] = layered.properties(height=height).to_dict(validate=False)
    if data_sets:
        spec["datasets"] = data_sets
    spec["width"] = "container"
    spec["autosize"] = {"type": "fit-x", "contains": "padding"}
    spec["background"] = "transparent"
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
    return _log_axis(field, "False alarms (FPR)", alt.X, ticks)


def _y(field: str = "tpr") -> Any:
    return _log_axis(field, "Members found (TPR)", alt.Y, (1e-4, 1e-3, 1e-2, 1e-1, 1))


def _clamp(value: float) -> float:
    return rounded(min(1.0, max(FLOOR, value)))


def rounded(value: float | None) -> Any:
    """Four significant digits: finer than a pixel, half the bytes."""
    return None if value is None else float(f"{value:.4g}")


def unresolved(edge: float) -> list[Any]:
    """Shade, hatch and label false-positive rates below one nonmember."""
    if edge <= FLOOR:
        return []
    edge = min(edge, 1.0)
    region = alt.Data(values=[{"a": FLOOR, "b": rounded(edge), "low": FLOOR, "high": 1}])
    shade = (
        alt.Chart(region)
        .mark_rect(color=palette.SHADE, opacity=0.16)
        .encode(x=_x("a"), x2="b", y=_y("low"), y2="high")
    )
    steps = [FLOOR * (edge / FLOOR) ** (i / HATCH_LINES) for i in range(HATCH_LINES + 1)]
    hatch = (
        alt.Chart(alt.Data(values=[{"fpr": rounded(step)} for step in steps]))
        .mark_rule(color=palette.SHADE, opacity=0.7, strokeWidth=1, strokeDash=[1, 3])
        .encode(x=_x())
    )
    where = [{"fpr": FLOOR, "label": "hatched: this sample cannot resolve"}]
    label = (
        alt.Chart(alt.Data(values=where))
        .mark_text(color=palette.MUTED, align="left", baseline="bottom", dy=-6)
        .encode(x=_x(), y=alt.value(0), text="label:N")
    )
    return [shade, hatch, label]


def markers(finding: MembershipFinding) -> Any:
    """Dotted verticals at the false-positive rates of the policy."""
    rates = [{"fpr": _clamp(float(key))} for key in finding.tpr_at_fpr]
    return (
        alt.Chart(alt.Data(values=rates))
        .mark_rule(color=palette.MUTED, strokeDash=[2, 3], strokeWidth=1)
        .encode(x=_x())
    )


def diagonal() -> Any:
    """Guessing: as many members found as nonmembers accused."""
    line = (
        alt.Chart(alt.Data(values=[{"fpr": FLOOR, "tpr": FLOOR}, {"fpr": 1, "tpr": 1}]))
        .mark_line(color=palette.MUTED, strokeDash=[6, 4], strokeWidth=1.3)
        .encode(x=_x(), y=_y())
    )
    label = (
        alt.Chart(alt.Data(values=[{"fpr": 0.1, "tpr": 0.1, "label": "chance"}]))
        .mark_text(color=palette.MUTED, align="left", baseline="top", dx=6, dy=4)
        .encode(x=_x(), y=_y(), text="label:N")
    )
    return line + label


def curve_values(points: Sequence[RocPoint]) -> list[dict[str, float]]:
    """What `curve` draws; of the points off the left edge only the highest."""
    left = [p for p in points if p.fpr <= FLOOR][-1:]
    return [
        {
            "fpr": _clamp(p.fpr),
            "tpr": _clamp(p.tpr),
            "low": _clamp(p.tpr_low),
            "high": _clamp(p.tpr_high),
        }
        for p in [*left, *(p for p in points if p.fpr > FLOOR)]
    ]


def curve(data_name: str) -> list[Any]:
    """The ROC as steps, with its band, over a named data set (inline data is copied by Altair)."""
    base = alt.Chart(alt.NamedData(data_name))
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


def estimates(finding: MembershipFinding) -> list[Any]:
    """The point values at the policy's false-positive rates."""
    values = [
        {"fpr": _clamp(float(key)), "tpr": _clamp(one.value), "at": rate(float(key))}
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


def loss_layers(values: list[dict[str, Any]], positive: bool) -> Any:
    """Two lines told apart by colour, dash and symbol; a logarithmic axis where it can be."""
    names = ["members", "nonmembers"]
    base = alt.Chart(alt.Data(values=values))
    x = alt.X("t:Q", title="Timestep", scale=alt.Scale(nice=False))
    scale = alt.Scale(type="log") if positive else alt.Scale(zero=False)
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
        x=x,
        y=alt.Y("low:Q", title="Mean loss", scale=scale),
        y2="high:Q",
        color=colour.legend(legend),
    )
    line = base.mark_line(strokeWidth=2).encode(
        x=x,
        y=y,
        color=colour.legend(legend),
        strokeDash=alt.StrokeDash("who:N", scale=dash, legend=legend),
    )
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


def distribution_layers(values: list[dict[str, Any]], attack: str) -> Any:
    """Shares of both sides at or above a score of one attack."""
    return _two_sides(values, f"Score of {attack}", "at or above", "step-before")


def distance_layers(values: list[dict[str, Any]]) -> Any:
    """Shares of both sides within a distance of a drawn image."""
    return _two_sides(values, "Distance of the nearest image", "within", "step-after")


def _two_sides(values: list[dict[str, Any]], title: str, relation: str, step: Any) -> Any:
    """Two step lines told apart by colour and dash."""
    names = ["members", "nonmembers"]
    legend = alt.Legend(title=None, orient="top", labelColor=palette.INK, labelFontSize=12.5)
    colours = alt.Scale(domain=names, range=[palette.SERIES, palette.SECOND])
    dashes = alt.Scale(domain=names, range=[[1, 0], [6, 4]])
    return (
        alt.Chart(alt.Data(values=values))
        .mark_line(strokeWidth=2, interpolate=step)
        .encode(
            x=alt.X("score:Q", title=title, scale=alt.Scale(zero=False)),
            y=alt.Y("share:Q", title=f"Records {relation}", axis=alt.Axis(format="~%")),
            color=alt.Color("who:N", scale=colours, legend=legend),
            strokeDash=alt.StrokeDash("who:N", scale=dashes, legend=legend),
            tooltip=[
                alt.Tooltip("who:N", title="records"),
                alt.Tooltip("score:Q", format=".4~g"),
                alt.Tooltip("share:Q", format=".3~%", title=relation),
            ],
        )
    )


def shadow_layers(values: list[dict[str, Any]]) -> Any:
    """One line for each attack, told apart by colour and dash, over the number of shadow models."""
    base = alt.Chart(alt.Data(values=values))
    legend = alt.Legend(title=None, orient="top", labelColor=palette.INK, labelFontSize=12.5)
    x = alt.X("n:Q", title="Shadow models", scale=alt.Scale(type="log", base=2))
    y_scale = alt.Scale(zero=False)
    line = base.mark_line(strokeWidth=2, point=True).encode(
        x=x,
        y=alt.Y("auc:Q", title="AUC with 95 % interval", scale=y_scale),
        color=alt.Color("attack:N", legend=legend),
        strokeDash=alt.StrokeDash("attack:N", legend=legend),
        tooltip=["attack:N", "n:Q", alt.Tooltip("auc:Q", format=".3f", title="AUC")],
    )
    bars = base.mark_rule(opacity=0.5).encode(
        x=x,
        y=alt.Y("low:Q", scale=y_scale),
        y2="high:Q",
        color=alt.Color("attack:N", legend=legend),
    )
    return alt.layer(bars, line)


def auc_layers(values: list[dict[str, Any]], limit: float | None) -> Any:
    """One interval for each attack, beside chance and the limit."""
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


def _rule_at(where: float, label: str, colour: str, dash: list[int], scale: alt.Scale) -> Any:
    x = alt.X("at:Q", scale=scale, title="AUC with 95 % interval")
    base = alt.Chart(alt.Data(values=[{"at": where, "label": label}])).encode(x=x)
    line = base.mark_rule(color=colour, strokeDash=dash, strokeWidth=1.3)
    text = base.mark_text(color=colour, dy=-5, align="center", baseline="bottom").encode(
        y=alt.value(0), text="label:N"
    )
    return line + text
