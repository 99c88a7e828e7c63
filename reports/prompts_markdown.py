"""`prompts.md`: the summary of a scan of prompts, short and escaped."""

from __future__ import annotations

from reports import prompts_wording, text, wording
from reports.markdown import escape, table_header, table_row
from reports.prompts_record import PromptsRecord

_PROMPTS = 20


def render(record: PromptsRecord) -> str:
    """The summary."""
    v = record.verdict
    rule = record.rules[0]
    lines = [
        f"## auditor: prompts, {wording.OUTCOMES[v.outcome].lower()}",
        "",
        f"**{escape(text.clean(v.sentence, 400))}**",
        "",
        escape(text.clean(v.headline, 400)),
        "",
        escape(text.clean(rule.explanation, 1200)),
    ]
    if rule.needed:
        lines += ["", f"Needed: {escape(text.clean(rule.needed, 800))}"]
    lines += [
        "",
        f"Not tested: {escape(text.clean(v.untested, 400))}",
        "",
        f"References: {escape(prompts_wording.REFERENCES[record.prompts.reference_kind])}.",
        "",
        "### Detectors",
        "",
        *table_header(*prompts_wording.DETECTORS),
        *(table_row(*prompts_wording.detector_row(record, one)) for one in record.detectors),
        "",
        escape(prompts_wording.BLIND),
        "",
        "### The highest scores",
        "",
        *table_header(*prompts_wording.PROMPTS),
        *(table_row(*prompts_wording.prompt_row(record, one)) for one in record.top[:_PROMPTS]),
        "",
        "### Controls",
        "",
        *table_header("Control", "Status", "What came out"),
        *(
            table_row(one.name, one.status.value, text.clean(one.summary, 600))
            for one in record.controls
        ),
        "",
        wording.NOT_ADVICE,
        "",
    ]
    return "\n".join(lines)
