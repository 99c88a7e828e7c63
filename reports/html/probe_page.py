"""`report.html` of a probe. Nothing here computes a statistic."""

from __future__ import annotations

from typing import Any

import altair as alt

from reports import probe_wording, wording
from reports.html import layers, palette
from reports.html.charts import Chart
from reports.html.shell import compile_chart, fill
from reports.probe_record import ProbeRecord
from reports.text import clean, decimal, number, share


def render(record: ProbeRecord) -> str:
    """The whole page; self-contained and offline."""
    return fill(
        "probe.html.j2",
        record=record,
        charts=[
            compile_chart(c)
            for c in (
                step_map(record, "density"),
                step_map(record, "contrast"),
                overlap_map(record),
            )
        ],
        facts=probe_wording.facts(record),
        words=probe_wording,
        wording=wording,
    )


def step_map(record: ProbeRecord, what: str) -> Chart:
    """Layers x steps: share of the weights that a step marks, or how far their scores exceed."""
    cells = [
        (i, one.name, t, value)
        for i, one in enumerate(record.layers, start=1)
        for t, value in enumerate(getattr(one, f"step_{what}"), start=1)
    ]
    titles = {
        "density": "Weights marked, by layer and step",
        "contrast": "Excess of the top scores over the reference, by layer and step",
    }
    shown = share if what == "density" else number
    return Chart(
        id=f"map-{what}",
        title=titles[what],
        description="The darker a cell, the larger the figure. Layers in the order of a call.",
        spec=_heat(
            [{"x": t, "y": i, "v": layers.rounded(max(v, 0))} for i, _, t, v in cells],
            "Step of the sampler",
            "Layer",
            24 * len(record.layers) + 40,
        ),
        columns=("Layer", "Step", "Figure"),
        rows=tuple((f"{i}: {clean(n, 80)}", str(t), shown(v)) for i, n, t, v in cells),
    )


def overlap_map(record: ProbeRecord) -> Chart:
    """Sets x sets: mean overlap of their masks."""
    cells = [
        (a, b, record.matrix[i][j])
        for i, a in enumerate(record.set_names)
        for j, b in enumerate(record.set_names)
    ]
    return Chart(
        id="map-overlap",
        title="Overlap of the masks of every two sets",
        description="Intersection over union, mean over steps and layers; 1 on the diagonal.",
        spec=_heat(
            [{"x": b, "y": a, "v": layers.rounded(v)} for a, b, v in cells],
            "Set",
            "Set",
            24 * len(record.set_names) + 60,
        ),
        columns=("Sets", "Overlap"),
        rows=tuple((f"{a}, {b}", decimal(v)) for a, b, v in cells),
    )


def _heat(values: list[dict[str, Any]], x: str, y: str, height: int) -> dict[str, Any]:
    """One colour of the palette, its opacity the figure: dark mode and print follow."""
    chart = (
        alt.Chart(alt.Data(values=values))
        .mark_rect(color=palette.SERIES)
        .encode(
            x=alt.X("x:O", title=x, sort=None, axis=alt.Axis(labelOverlap=True)),
            y=alt.Y("y:O", title=y, sort=None),
            opacity=alt.Opacity("v:Q", scale=alt.Scale(range=[0.03, 1]), legend=None),
            tooltip=["x:O", "y:O", "v:Q"],
        )
    )
    return layers.finish(alt.layer(chart), height=height)
