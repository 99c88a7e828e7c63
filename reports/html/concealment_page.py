"""`report.html` of a concealment test. Nothing here computes a statistic."""

from __future__ import annotations

from typing import Any

import altair as alt

from attacks.results import Estimate
from reports import concealment_wording as words
from reports import wording
from reports.concealment_record import ConcealmentRecord
from reports.html import layers, palette
from reports.html.charts import Chart
from reports.html.shell import compile_chart, fill
from reports.text import interval, number, share

_COLOURS = {
    "edited": palette.SERIES,
    "edited, never-seen": palette.SECOND,
    "original": palette.MUTED,
    "reference": palette.LIMIT,
}


def render(record: ConcealmentRecord) -> str:
    """The whole page; self-contained and offline."""
    return fill(
        "concealment.html.j2",
        record=record,
        charts=[compile_chart(recovery_chart(record))],
        facts=words.facts(record),
        stages=words.stage_rows(record),
        members=[words.member_row(one) for one in record.members],
        zeros=[words.zeros_row(one) for one in record.zeros.layers],
        words=words,
        wording=wording,
    )


def recovery_chart(record: ConcealmentRecord) -> Chart:
    """Share of records recovered against steps, with exact bands."""
    values: list[dict[str, Any]] = []
    for curve in record.curves:
        if curve.starts == "random":
            continue
        for stage in curve.stages:
            sides: list[tuple[str, Estimate]] = [(curve.role, stage.share)]
            if curve.role == "edited":
                sides.append(("edited, never-seen", stage.nonmember_share))
            for name, estimate in sides:
                values.append(
                    {
                        "steps": "prompt" if stage.steps == 0 else str(stage.steps),
                        "who": name,
                        "share": layers.rounded(estimate.value),
                        "low": layers.rounded(estimate.low),
                        "high": layers.rounded(estimate.high),
                    }
                )
    who = [name for name in _COLOURS if any(row["who"] == name for row in values)]
    return Chart(
        id="recovery",
        title="Records recovered, by budget",
        description=(
            "Share of records of which an image is recovered: by their own prompts, then after so "
            "many steps of the embedding attack, with exact 95 % intervals. Erasure puts the "
            "edited model's curve onto that of never-seen records; concealment only delays it."
        ),
        spec=layers.finish(_layers(values, who), height=260),
        columns=("Model and records", "Steps", "Recovered", "95 % interval"),
        rows=tuple(
            (
                row["who"],
                row["steps"],
                share(row["share"]),
                interval(row["low"], row["high"], "share"),
            )
            for row in values
        ),
        note=f"{number(record.records.n_fit)} never-seen records set the thresholds.",
    )


def _layers(values: list[dict[str, Any]], who: list[str]) -> Any:
    order = list(dict.fromkeys(row["steps"] for row in values))
    base = alt.Chart(alt.Data(values=values))
    x = alt.X("steps:N", title="Steps of the attack", sort=order, axis=alt.Axis(labelAngle=0))
    colour = alt.Color(
        "who:N",
        title=None,
        scale=alt.Scale(domain=who, range=[_COLOURS[name] for name in who]),
    )
    y = alt.Y("share:Q", title="Share recovered", scale=alt.Scale(domain=[0, 1]))
    band = base.mark_rule(strokeWidth=2, opacity=0.5).encode(
        x=x, y=alt.Y("low:Q", title="Share recovered"), y2="high:Q", color=colour
    )
    line = base.mark_line(point=True, strokeWidth=2).encode(
        x=x, y=y, color=colour, tooltip=["who:N", "steps:N", "share:Q", "low:Q", "high:Q"]
    )
    return alt.layer(band, line)
