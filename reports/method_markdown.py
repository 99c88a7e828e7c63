"""A Markdown summary of a method's audit; text of the record cannot open a tag, link or cell."""

from __future__ import annotations

from collections.abc import Sequence

from reports import method_text, text, wording
from reports.markdown import escape
from reports.method_record import Leak, MethodRecord

CLAIM = ("Seed", "Method", "Baseline", "Difference")
COMPARISONS = ("Attack", "Records", "AUC, method", "AUC, baseline", "Difference", "Answer")
MODELS = (
    "Model", "Attack", "Records", "AUC", "TPR at 1 % FPR", "Members and nonmembers", "Test accuracy"
)  # fmt: skip
OWN = ("Question", "Figure", "Method", "Baseline")


def render(record: MethodRecord) -> str:
    """The whole summary."""
    one = record.method
    lines = [
        f"## {escape(text.clean(one.title, 120))}",
        "",
        f"**{escape(text.clean(record.answer.sentence, 600))}**",
        "",
        escape(text.clean(record.answer.headline, 1200)),
        "",
        f"Not tested: {escape(record.answer.untested)}",
        "",
        "### The claim",
        "",
        f"{escape(text.clean(one.claim, 400))} Rule: {escape(text.clean(record.claim.rule, 600))}.",
        "",
        *table(CLAIM, method_text.claim_rows(record.claim)),
        "",
        *(
            f"- {escape(check.name)}: {'yes' if check.passed else 'no'}"
            for check in record.claim.checks
        ),
        "",
        "### The leak beside the baseline",
        "",
        *(_leak(record.leak) if record.leak else [escape(record.leak_missing)]),
        "",
        "### Its own question",
        "",
        escape(text.clean(one.privacy_question, 400)),
        "",
        *table(OWN, method_text.own_rows(record)),
        "",
        "### Controls",
        "",
        *table(
            ("Control", "Status", "What came out"),
            [(c.name, c.status.value, text.clean(c.summary, 400)) for c in record.controls],
        ),
        "",
        f"<sub>{escape(_facts(record))} {wording.NOT_ADVICE}</sub>",
        "",
    ]
    return "\n".join(lines)


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """A table with escaped cells."""
    return [
        f"| {' | '.join(head)} |",
        f"|{'---|' * len(head)}",
        *(f"| {' | '.join(escape(cell) for cell in row)} |" for row in rows),
    ]


def _leak(leak: Leak) -> list[str]:
    return [
        *(line for words in method_text.HOW for line in (escape(words), "")),
        *table(COMPARISONS, method_text.comparison_rows(leak)),
        "",
        f"Test accuracy: {escape(method_text.utility_row(leak))}.",
        "",
        f"Canaries found against the twin: {escape(method_text.canary_row(leak))}.",
        "",
        "<details><summary>Every model</summary>",
        "",
        *table(MODELS, method_text.model_rows(leak)),
        "",
        "</details>",
    ]


def _facts(record: MethodRecord) -> str:
    data, e = record.data, record.environment
    return (
        f"{data.n_pool:,} records in the pool, {data.n_canaries} of them canaries, {data.n_test:,} "
        f"for tests; {record.trials} trials from seed {record.seed}; {e.device}, "
        f"{text.seconds(sum(e.seconds.values()))}."
    )
