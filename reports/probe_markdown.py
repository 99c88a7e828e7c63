"""`report.md` of a probe: the summary, short and escaped."""

from __future__ import annotations

from reports import probe_wording, text, wording
from reports.markdown import escape, table_header, table_row
from reports.probe_record import ProbeRecord


def render(record: ProbeRecord) -> str:
    """The summary."""
    f = record.finding
    lines = [
        f"## auditor: probe, {probe_wording.OUTCOMES[f.outcome].lower()}",
        "",
        f"**{escape(text.clean(f.sentence, 400))}**",
        "",
        escape(text.clean(f.headline, 600)),
        "",
        f"Not tested: {escape(text.clean(f.untested, 600))}",
        "",
        *table_header(*probe_wording.OVERLAPS),
        *(table_row(*row) for row in probe_wording.overlap_rows(record)),
        "",
        *table_header("Mask", "Share of the probed layers"),
        *(table_row(*row) for row in probe_wording.share_rows(record)),
        "",
        *table_header(*probe_wording.LAYERS),
        *(table_row(*row) for row in probe_wording.layer_rows(record)),
        "",
        *(f"{escape(head)}: {escape(body)}\n" for head, body in probe_wording.READING),
        wording.NOT_ADVICE,
        "",
    ]
    return "\n".join(lines)
