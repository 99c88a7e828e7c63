"""`prompts.html`: the page of a scan of prompts. Nothing here computes a statistic."""

from __future__ import annotations

import altair as alt

from reports import prompts_wording, wording
from reports.html import layers, palette
from reports.html.charts import Chart
from reports.html.shell import compile_chart, fill
from reports.prompts_record import PromptsRecord, ScorePoint
from reports.text import decimal, number


def render(record: PromptsRecord) -> str:
    """The whole page; self-contained and offline."""
    return fill(
        "prompts.html.j2",
        record=record,
        charts=[compile_chart(histogram(record.histogram, record.watched.primary))],
        facts=prompts_wording.facts(record),
        detectors=[prompts_wording.detector_row(record, one) for one in record.detectors],
        prompts=[prompts_wording.prompt_row(record, one) for one in record.top],
        words=prompts_wording,
        wording=wording,
    )


def histogram(points: tuple[ScorePoint, ...], primary: str) -> Chart:
    """Primary scores of prompts and references."""
    values = [
        {
            "low": layers.rounded(p.low),
            "high": layers.rounded(p.high),
            "n": n,
            "zero": 0,
            "who": who,
        }
        for p in points
        for who, n in (("prompts", p.n_prompts), ("references", p.n_references))
        if n
    ]
    chart = (
        alt.Chart(alt.Data(values=values))
        .mark_rect(opacity=0.6)
        .encode(
            x=alt.X("low:Q", title=f"Score of {primary}", scale=alt.Scale(zero=False)),
            x2="high:Q",
            y=alt.Y("n:Q", title="Prompts (square-root axis)", scale=alt.Scale(type="sqrt")),
            y2="zero:Q",
            color=alt.Color(
                "who:N",
                title=None,
                scale=alt.Scale(
                    domain=["prompts", "references"], range=[palette.SERIES, palette.SECOND]
                ),
            ),
            tooltip=["who:N", "low:Q", "high:Q", "n:Q"],
        )
    )
    return Chart(
        id="scores",
        title=f"Scores of the primary detector, {primary}",
        description=(
            "Number of prompts and of reference prompts by score. Memorized prompts lie to the "
            "right of the references."
        ),
        spec=layers.finish(alt.layer(chart), height=240),
        columns=("Score", "Prompts", "References"),
        rows=tuple(
            (f"{decimal(p.low)} to {decimal(p.high)}", number(p.n_prompts), number(p.n_references))
            for p in points
        ),
    )
