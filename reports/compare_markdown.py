"""`compare.md`: the summary of a comparison, short and escaped."""

from __future__ import annotations

from reports import compare_text, text, wording
from reports.compare_record import CompareRecord
from reports.markdown import escape, table_header, table_row


def render(record: CompareRecord) -> str:
    """The summary."""
    c = record.conclusion
    lines = [
        f"## auditor: {compare_text.ANSWERS[c.answer].lower()}",
        "",
        f"**{escape(text.clean(c.sentence, 800))}**",
        "",
        escape(text.clean(c.headline, 800)),
        "",
        f"Not tested: {escape(text.clean(c.untested, 600))}",
        *_list("Warnings", record.warnings),
        *_table("AUC", compare_text.AUC, [compare_text.auc_row(one) for one in record.attacks]),
        *_table(
            "Members at the top",
            compare_text.TOP,
            [compare_text.top_row(one) for one in record.attacks],
        ),
        "",
        escape(compare_text.top_note(record)),
    ]
    if record.extraction is not None:
        rows = [compare_text.extraction_row(record.extraction)]
        lines += _table("Extraction", compare_text.EXTRACTION, rows)
    if record.accuracy:
        rows = [compare_text.accuracy_row(one) for one in record.accuracy]
        lines += _table("Accuracy", compare_text.ACCURACY, rows)
    if record.quality is not None:
        rows = [compare_text.quality_row(one) for one in record.quality.rows]
        lines += _table("Quality of generated images", compare_text.QUALITY, rows)
        lines += ["", escape(compare_text.quality_note(record.quality))]
    rules = [compare_text.verdict_row(record), *map(compare_text.rule_row, record.rules)]
    lines += _table("Verdicts", compare_text.RULES, rules)
    lines += _list("Notes", record.notes)
    return "\n".join([*lines, "", wording.NOT_ADVICE, ""])


def _table(title: str, columns: tuple[str, ...], rows: list[tuple[str, ...]]) -> list[str]:
    return [
        "", f"### {title}", "", *table_header(*columns), *(table_row(*row) for row in rows)
    ]  # fmt: skip


def _list(title: str, items: tuple[str, ...]) -> list[str]:
    if not items:
        return []
    return ["", f"### {title}", "", *(f"- {escape(text.clean(item, 600))}" for item in items)]
