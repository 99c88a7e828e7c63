"""`compare.html`: the page of a comparison. Nothing here computes a statistic."""

from __future__ import annotations

from typing import Any

import altair as alt

from reports import compare_text, wording
from reports.compare_record import CompareRecord
from reports.html import layers, palette
from reports.html.charts import Chart
from reports.html.shell import compile_chart, fill
from reports.text import clean


def render(record: CompareRecord) -> str:
    """The whole page; self-contained and offline."""
    extraction = record.extraction
    return fill(
        "compare.html.j2",
        record=record,
        tone=compare_text.TONES[record.conclusion.answer],
        charts=[compile_chart(difference_chart(record))],
        facts=compare_text.facts(record),
        aucs=[compare_text.auc_row(one) for one in record.attacks],
        tops=[compare_text.top_row(one) for one in record.attacks],
        extraction=[] if extraction is None else [compare_text.extraction_row(extraction)],
        accuracy=[compare_text.accuracy_row(one) for one in record.accuracy],
        quality=[]
        if record.quality is None
        else [compare_text.quality_row(one) for one in record.quality.rows],
        rules=[compare_text.verdict_row(record), *map(compare_text.rule_row, record.rules)],
        words=compare_text,
        wording=wording,
    )


def difference_chart(record: CompareRecord) -> Chart:
    """Difference of the AUC by attack with its interval, zero and the margin."""
    found = [(clean(one.attack, 40), one.auc.difference) for one in record.attacks]
    values = [
        {
            "attack": name,
            "value": layers.rounded(one.value),
            "low": layers.rounded(one.low),
            "high": layers.rounded(one.high),
        }
        for name, one in found
    ]
    return Chart(
        id="differences",
        title="AUC after minus before",
        description=(
            "One row an attack: the paired difference of the area under the ROC curve with its "
            "95 % interval. Left of zero the second model leaks less. The dashed line is the "
            "margin."
        ),
        spec=layers.finish(_layers(values, record.margin), height=30 * len(values) + 20),
        columns=("Attack", "Difference", "95 % interval"),
        rows=tuple(
            (name, compare_text.signed(one.value), compare_text.limits(one.low, one.high))
            for name, one in found
        ),
    )


def _layers(values: list[dict[str, Any]], margin: float) -> Any:
    """One interval for each attack, beside zero and the margin."""
    edges = [margin, 0.0, *(row[end] for row in values for end in ("low", "high"))]
    scale = alt.Scale(domain=[min(edges) - 0.01, max(edges) + 0.01], zero=False, nice=False)
    axis = alt.Axis(tickCount=8)
    title = "Difference of the AUC with 95 % interval"
    base = alt.Chart(alt.Data(values=values))
    y = alt.Y("attack:N", title=None, sort=None)
    bars = base.mark_rule(color=palette.SERIES, strokeWidth=2.4).encode(
        y=y, x=alt.X("low:Q", title=title, scale=scale, axis=axis), x2="high:Q"
    )
    dots = base.mark_point(filled=True, size=80, color=palette.SERIES, opacity=1).encode(
        y=y,
        x=alt.X("value:Q", title=title, scale=scale, axis=axis),
        tooltip=["attack:N", alt.Tooltip("value:Q", format="+.3f", title="difference")],
    )
    lines = (
        alt.Chart(alt.Data(values=[{"at": at}]))
        .mark_rule(color=colour, strokeDash=dash, strokeWidth=1.3)
        .encode(x=alt.X("at:Q", title=title, scale=scale, axis=axis))
        for at, colour, dash in ((0.0, palette.MUTED, [1, 0]), (margin, palette.LIMIT, [6, 4]))
    )
    return alt.layer(*lines, bars, dots)
