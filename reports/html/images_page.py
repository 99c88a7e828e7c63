"""`images.html`: the page of a scan of images. Nothing here computes a statistic."""

from __future__ import annotations

from attacks.results import RuleResult
from reports import images_wording, text, wording
from reports.html.gauge import gauge
from reports.html.images_charts import copies_chart, similarity_chart
from reports.html.shell import compile_chart, fill
from reports.images_record import ImagesRecord


def render(record: ImagesRecord) -> str:
    """The whole page; self-contained and offline."""
    replication = record.finding.replication
    tau = None if replication is None else replication.tau
    charts = [
        compile_chart(similarity_chart(record.similarities, tau)),
        compile_chart(copies_chart(record.finding.by_copies)),
    ]
    return fill(
        "images.html.j2",
        record=record,
        charts=charts,
        rules=[(rule, gauge(rule)) for rule in record.rules],
        facts=images_wording.facts(record),
        questions=images_wording.CONTROLS,
        reading=images_wording.READING,
        replication=images_wording.replication_sentence(record),
        figure=_figure,
        wording=wording,
    )


def _figure(rule: RuleResult, which: str) -> str:
    return text.figure(getattr(rule, which), rule.unit)
