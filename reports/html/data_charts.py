"""Charts of a data scan: the histogram of memorization, and shares by class or group."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import altair as alt

from reports.data_record import Bin, Breakdown
from reports.html import layers, palette
from reports.html.charts import Chart
from reports.text import clean, decimal, interval, number, share

MOST_GROUPS = 40
"""Groups that a chart shows; the table has all of them."""


def histogram_chart(bins: Sequence[Bin], threshold: float) -> Chart:
    """Records by memorization; the count axis is a square root, so that few records show."""
    values = [
        {
            "low": layers.rounded(one.low),
            "high": layers.rounded(one.high),
            "n": one.n_records,
            "zero": 0,
        }
        for one in bins
        if one.n_records
    ]
    x = alt.X(
        "low:Q",
        title="Memorization",
        scale=alt.Scale(domain=[bins[0].low, bins[-1].high], nice=False),
    )
    y = alt.Y("n:Q", title="Records (square-root axis)", scale=alt.Scale(type="sqrt"))
    bars = (
        alt.Chart(alt.Data(values=values))
        .mark_rect(color=palette.SERIES, opacity=1)
        .encode(
            x=x,
            x2="high:Q",
            y=y,
            y2="zero:Q",
            tooltip=[
                alt.Tooltip("low:Q", title="from"),
                alt.Tooltip("high:Q", title="to"),
                alt.Tooltip("n:Q", title="records"),
            ],
        )
    )
    line = (
        alt.Chart(alt.Data(values=[{"at": threshold}]))
        .mark_rule(color=palette.LIMIT, strokeDash=[4, 3], strokeWidth=1.5)
        .encode(x=alt.X("at:Q", title="Memorization"))
    )
    return Chart(
        id="histogram",
        title="Memorization, record by record",
        description=(
            "Number of records by memorization, from where only other records count (0) to where "
            f"nothing else teaches the label (1). The dashed line is the threshold of {threshold:g}."
        ),
        spec=layers.finish(alt.layer(bars, line), height=260),
        columns=("Memorization", "Records", "Sure"),
        rows=tuple(
            (
                f"{decimal(one.low)} to {decimal(one.high)}",
                number(one.n_records),
                number(one.n_sure),
            )
            for one in bins
        ),
    )


def breakdown_chart(breakdown: Breakdown) -> Chart:
    """Share of memorized records in each group, with limits that hold at once."""
    most = sorted(breakdown.groups, key=lambda group: -group.share)[:MOST_GROUPS]
    values: list[dict[str, Any]] = [
        {
            "group": clean(one.group, 24),
            "share": layers.rounded(one.share),
            "low": layers.rounded(one.low),
            "high": layers.rounded(one.high),
        }
        for one in most
    ]
    y = alt.Y("group:N", title=None, sort=None)
    axis, title = alt.Axis(format="~%"), "Memorized records"
    base = alt.Chart(alt.Data(values=values))
    bars = base.mark_rule(color=palette.SERIES, strokeWidth=2.4).encode(
        y=y, x=alt.X("low:Q", title=title, axis=axis), x2="high:Q"
    )
    dots = base.mark_point(filled=True, size=80, color=palette.SERIES, opacity=1).encode(
        y=y,
        x=alt.X("share:Q", title=title, axis=axis),
        tooltip=["group:N", alt.Tooltip("share:Q", format=".3~%", title="memorized")],
    )
    words = {"class": "class", "group": "group", "copies": "number of copies"}[breakdown.by]
    return Chart(
        id=f"by-{breakdown.by}",
        title=f"Memorized records by {words}",
        description=(
            "One row each: the share of records at or above the threshold. The intervals are "
            "exact, and all of them hold together with 95 % confidence."
        ),
        spec=layers.finish(alt.layer(bars, dots), height=max(70, 26 * len(values) + 20)),
        columns=("Group", "Records", "Memorized", "Share", "95 % interval"),
        rows=tuple(
            (
                clean(one.group, 60),
                number(one.n_records),
                number(one.n_memorized),
                share(one.share),
                interval(one.low, one.high, "share"),
            )
            for one in breakdown.groups
        ),
        note=f"The chart shows {len(most)} of {len(breakdown.groups)}."
        if len(most) < len(breakdown.groups)
        else "",
    )
