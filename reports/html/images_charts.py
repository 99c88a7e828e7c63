"""Charts of a scan of images: similarities against the background, and rates by copies."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import altair as alt

from attacks.extraction.results import CopyRate
from reports.html import layers, palette
from reports.html.charts import Chart
from reports.images_record import SimilarityBin
from reports.text import clean, decimal, interval, number, share


def similarity_chart(bins: Sequence[SimilarityBin], tau: float | None) -> Chart:
    """Shares of generated and of held-out pictures by similarity to their nearest record."""
    values: list[dict[str, Any]] = []
    for one in bins:
        for who, height in (("generated", one.generated), ("held out", one.background)):
            if height is not None:
                values.append(
                    {"at": layers.rounded(one.low), "share": layers.rounded(height), "who": who}
                )
    names = ["generated", "held out"]
    legend = alt.Legend(title=None, orient="top", labelColor=palette.INK, labelFontSize=12.5)
    colours = alt.Scale(domain=names, range=[palette.SERIES, palette.SECOND])
    dashes = alt.Scale(domain=names, range=[[1, 0], [6, 4]])
    title = "Similarity to the nearest training record"
    axis = alt.X(
        "at:Q", title=title, scale=alt.Scale(domain=[bins[0].low, bins[-1].high], nice=False)
    )
    step: Any = "step-after"
    lines = (
        alt.Chart(alt.Data(values=values))
        .mark_line(strokeWidth=2, interpolate=step)
        .encode(
            x=axis,
            y=alt.Y("share:Q", title="Pictures", axis=alt.Axis(format="~%")),
            color=alt.Color("who:N", scale=colours, legend=legend),
            strokeDash=alt.StrokeDash("who:N", scale=dashes, legend=legend),
        )
    )
    parts: list[Any] = [lines]
    if tau is not None:
        parts.append(
            alt.Chart(alt.Data(values=[{"at": layers.rounded(tau)}]))
            .mark_rule(color=palette.LIMIT, strokeDash=[4, 3], strokeWidth=1.5)
            .encode(x=axis)
        )
    return Chart(
        id="similarity",
        title="Similarity to the nearest training record",
        description=(
            "Share of pictures by the similarity of their embedding to that of the nearest training "
            "record. The dashed vertical is the threshold that few held-out pictures exceed."
        ),
        spec=layers.finish(alt.layer(*parts), height=260),
        columns=("Similarity", "Generated", "Held out"),
        rows=tuple(
            (
                f"{decimal(one.low)} to {decimal(one.high)}",
                share(one.generated),
                share(one.background),
            )
            for one in bins
            if one.generated or one.background
        ),
    )


def copies_chart(rates: Sequence[CopyRate]) -> Chart:
    """Share of the training records in each range of copies that were reproduced."""
    values = [
        {
            "copies": clean(one.copies, 24),
            "share": layers.rounded(one.share.value),
            "low": layers.rounded(one.share.low),
            "high": layers.rounded(one.share.high),
        }
        for one in rates
    ]
    y = alt.Y("copies:N", title="Copies in the training set", sort=None)
    axis, title = alt.Axis(format="~%"), "Records reproduced"
    base = alt.Chart(alt.Data(values=values))
    bars = base.mark_rule(color=palette.SERIES, strokeWidth=2.4).encode(
        y=y, x=alt.X("low:Q", title=title, axis=axis), x2="high:Q"
    )
    dots = base.mark_point(filled=True, size=80, color=palette.SERIES, opacity=1).encode(
        y=y,
        x=alt.X("share:Q", title=title, axis=axis),
        tooltip=["copies:N", alt.Tooltip("share:Q", format=".3~%", title="reproduced")],
    )
    return Chart(
        id="by-copies",
        title="Records reproduced, by copies in the training set",
        description=(
            "One row each: the share of the distinct training records of which a verified copy was "
            "generated. The intervals are exact, and all of them hold together with 95 % confidence."
        ),
        spec=layers.finish(alt.layer(bars, dots), height=max(70, 26 * len(values) + 20)),
        columns=("Copies", "Records", "Reproduced", "Share", "95 % interval"),
        rows=tuple(
            (
                clean(one.copies, 24),
                number(one.n_records),
                number(one.n_copied),
                share(one.share.value),
                interval(one.share.low, one.share.high, "share"),
            )
            for one in rates
        ),
    )
