"""`report.md` of a concealment test, short and escaped."""

from __future__ import annotations

from reports import concealment_wording as words
from reports import text, wording
from reports.concealment_record import ConcealmentRecord
from reports.markdown import escape, table_header, table_row

_RECORDS = 20


def render(record: ConcealmentRecord) -> str:
    """The summary."""
    v, c = record.verdict, record.conclusion
    lines = [
        f"## auditor: concealment test, {words.ANSWERS[record.answer].lower()}",
        "",
        f"**{escape(text.clean(v.sentence, 400))}**",
        "",
        escape(text.clean(v.headline, 600)),
        "",
        escape(words.MEANS[record.answer]),
        "",
        *(f"- {escape(text.clean(reason, 600))}" for reason in c.reasons),
        *(f"- needed: {escape(text.clean(one, 600))}" for one in c.needed),
        "",
        f"Not tested: {escape(text.clean(v.untested, 400))}.",
        "",
        "### Recovery by budget",
        "",
        *table_header(*words.STAGES),
        *(table_row(*row) for row in words.stage_rows(record)),
        "",
        "### Records, the nearest first",
        "",
        *table_header(*words.MEMBERS),
        *(table_row(*words.member_row(one)) for one in record.members[:_RECORDS]),
        "",
        "### Zeros",
        "",
        escape(words.zeros_sentence(record)),
        "",
    ]
    if record.zeros.layers:
        lines += [
            *table_header(*words.ZEROS),
            *(table_row(*words.zeros_row(one)) for one in record.zeros.layers[:_RECORDS]),
            "",
        ]
    return "\n".join([*lines, wording.NOT_ADVICE, ""])
