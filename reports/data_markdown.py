"""`data.md`: the summary of a data scan, short and escaped."""

from __future__ import annotations

from reports import data_wording, text
from reports.data_record import Breakdown, DataRecord, LongTail
from reports.markdown import escape, table_header, table_row

_RECORDS, _GROUPS = 20, 60


def render(record: DataRecord) -> str:
    """The summary."""
    m, checks = record.memorization, record.checks
    lines = [
        "## auditor: memorization in a data set",
        "",
        f"**{escape(text.clean(record.headline, 600))}**",
        "",
        data_wording.MEANS,
        "",
        *table_header("Fact", "Figure"),
        *(table_row(name, value) for name, value in data_wording.facts(record)),
        table_row("Without a figure", text.number(m.n_refused)),
        table_row(
            "Agreement of two halves of the models", text.decimal(checks.half_correlation.value)
        ),
        table_row("Bookkeeping identities hold", text.flat(checks.identities_hold)),
    ]
    lines += ["", f"### The most memorized records (threshold {text.number(m.threshold)})", ""]
    lines += _records(record)
    for breakdown in record.breakdowns:
        lines += ["", f"### By {data_wording.BY[breakdown.by]}", "", *_breakdown(breakdown)]
    if record.influence is not None:
        i = record.influence
        lines += [
            "",
            "### Influence on the test set",
            "",
            f"{text.number(i.n_found)} pairs of one class at or above "
            f"{text.number(i.threshold)}, {text.number(i.n_sure)} of them sure; "
            f"{text.number(i.n_test_affected)} of {text.number(record.data.n_test)} test records "
            f"are affected, {text.number(i.n_test_affected_by_one)} by a single record.",
        ]
    for tail in record.long_tail:
        lines += ["", f"### Long tail, by {tail.by}", "", *_tail(tail)]
    notes = (*record.data.notes, *record.training.notes)
    if notes:
        lines += ["", "### Notes", "", *(f"- {escape(text.clean(note, 400))}" for note in notes)]
    return "\n".join([*lines, ""])


def _records(record: DataRecord) -> list[str]:
    if not record.top:
        return ["No record reaches the threshold."]
    lines = table_header("Record", "Memorization", "95 % interval", "Confidence", "Copies", "Sure")
    return lines + [
        table_row(
            one.record_id,
            text.decimal(one.memorization),
            text.interval(one.low, one.high),
            text.decimal(one.confidence_memorization),
            text.number(one.multiplicity),
            text.flat(one.is_sure),
        )
        for one in record.top[:_RECORDS]
    ]


def _breakdown(breakdown: Breakdown) -> list[str]:
    lines = table_header("Group", "Records", "Memorized", "Share", "95 % interval, all at once")
    return lines + [
        table_row(
            text.clean(one.group, 60),
            text.number(one.n_records),
            text.number(one.n_memorized),
            text.share(one.share),
            text.interval(one.low, one.high, "share"),
        )
        for one in breakdown.groups[:_GROUPS]
    ]


def _tail(tail: LongTail) -> list[str]:
    lines = [escape(data_wording.tail_sentence(tail))]
    if tail.total is None:
        return lines
    lines += ["", *table_header("Group", "Rows", "Suppressed", "Excess error within the group")]
    return lines + [
        table_row(
            text.clean(one.group, 60),
            text.number(one.n_records),
            text.number(one.n_suppressed),
            text.share(one.cost_within),
        )
        for one in tail.groups[:_GROUPS]
    ]
