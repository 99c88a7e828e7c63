"""`data.html`: the page of a data scan. Nothing here computes a statistic."""

from __future__ import annotations

from reports import data_wording, wording
from reports.data_record import DataRecord
from reports.html.data_charts import breakdown_chart, histogram_chart
from reports.html.shell import compile_chart, fill


def render(record: DataRecord) -> str:
    """The whole page; self-contained and offline."""
    histogram = histogram_chart(record.histogram, record.memorization.threshold)
    charts = [compile_chart(histogram)]
    charts += [compile_chart(breakdown_chart(one)) for one in record.breakdowns if one.groups]
    return fill(
        "data.html.j2",
        record=record,
        charts=charts,
        facts=data_wording.facts(record),
        means=data_wording.MEANS,
        reading=data_wording.READING,
        tails=[(tail, data_wording.tail_sentence(tail)) for tail in record.long_tail],
        not_advice=wording.NOT_ADVICE,
    )
