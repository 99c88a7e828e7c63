"""`images.md`: the summary of a scan of images, short and escaped."""

from __future__ import annotations

from reports import images_wording, text, wording
from reports.images_record import ImagesRecord
from reports.markdown import escape, table_header, table_row

_PAIRS = 20


def render(record: ImagesRecord) -> str:
    """The summary."""
    verdict = record.verdict
    lines = [
        f"## auditor: {wording.OUTCOMES[verdict.outcome]}",
        "",
        f"**{escape(text.clean(verdict.sentence, 600))}**",
        "",
        escape(text.clean(verdict.headline, 600)),
        "",
        f"Not tested: {escape(text.clean(verdict.untested, 600))}",
        "",
        *table_header("Rule", "Outcome", "Observed", "Interval", "Limit", "What would decide it"),
    ]
    for rule in record.rules:
        outcome = wording.OUTCOMES[rule.outcome] if rule.outcome else "reported"
        lines.append(
            table_row(
                rule.rule,
                outcome,
                text.figure(rule.value, rule.unit),
                text.interval(rule.low, rule.high, rule.unit),
                text.figure(rule.limit, rule.unit),
                text.clean(rule.needed or text.DASH, 300),
            )
        )
    lines += ["", *table_header("Fact", "Figure")]
    lines += [
        table_row(name, text.clean(value, 80)) for name, value in images_wording.facts(record)
    ]
    lines += ["", "### Controls", "", *table_header("Control", "Status", "Why")]
    lines += [
        table_row(one.name, one.status.value, text.clean(one.summary, 400))
        for one in record.controls
    ]
    lines += ["", "### By copies in the training set", "", *_rates(record)]
    lines += ["", "### Nearest pairs", "", *_pairs(record)]
    lines += ["", "### Against held-out pictures", ""]
    lines += [escape(images_wording.replication_sentence(record))]
    lines += ["", "### Encoder", "", escape(text.clean(record.matching.limits, 600))]
    if record.sets.notes:
        lines += ["", "### Notes", ""]
        lines += [f"- {escape(text.clean(note, 400))}" for note in record.sets.notes]
    return "\n".join([*lines, "", f"<sub>{wording.NOT_ADVICE}</sub>", ""])


def _rates(record: ImagesRecord) -> list[str]:
    lines = table_header("Copies", "Records", "Reproduced", "Share", "95 % interval, all at once")
    return lines + [
        table_row(
            one.copies,
            text.number(one.n_records),
            text.number(one.n_copied),
            text.share(one.share.value),
            text.interval(one.share.low, one.share.high, "share"),
        )
        for one in record.finding.by_copies
    ]


def _pairs(record: ImagesRecord) -> list[str]:
    lines = table_header(
        "Generated", "Training", "Similarity", "Distance", "Laid over", "Copies", "Copy"
    )
    lines += [
        table_row(
            one.generated_id,
            one.training_id,
            text.decimal(one.similarity),
            text.decimal(one.distance),
            one.registration,
            text.number(one.multiplicity),
            text.flat(one.is_copy),
        )
        for one in record.finding.pairs[:_PAIRS]
    ]
    f = record.finding
    limit = f"Distance: {f.convention}; a copy up to {text.number(f.limit)}, from {f.limit_source}."
    return [*lines, "", escape(text.clean(limit, 400))]
