"""The private twin of a report of prompts: their texts, trigger words marked. On `--reveal` alone."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from jinja2 import Environment

from auditor.targets.tokens import spelled
from reports.files import write_atomic
from reports.text import share

if TYPE_CHECKING:
    from auditor.prompts.scan import Detected, PromptScan
    from reports.prompts_record import PromptFigures, PromptsRecord

STRONG = 1.5
"""Times its even share from which a word is marked."""

_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>PRIVATE: prompts behind a scan</title>
<style>body{font:16px system-ui;margin:2rem}li{margin:1rem 0}mark{padding:0 .2em}</style></head><body>
<h1>Private: prompts behind a scan</h1>
<p>This page shows prompts. Keep it as you keep them; do not attach it to a report. Marked words have
more than their part in the score.</p>
<ol>{% for row in rows %}<li><code>{{ row.id }}</code> {{ row.why }}<br>
{% for word, part, strong in row.words %}{% if strong %}<mark title="{{ part }}">{{ word }}</mark>{% else %}<span title="{{ part }}">{{ word }}</span>{% endif %} {% endfor %}
<br><small>{{ row.text }}</small></li>{% endfor %}</ol>
</body></html>
"""


def write_revealed(path: Path, scan: PromptScan, detected: Detected, record: PromptsRecord) -> None:
    """Write the prompts that the report lists, their trigger words marked (mode 600)."""
    rows = [
        {
            "id": figures.prompt_id,
            "why": _why(figures),
            "words": _words(detected, int(i), figures),
            "text": scan.suspects[i].text,
        }
        for i, figures in zip(detected.order, record.top, strict=False)
    ]
    page = Environment(autoescape=True).from_string(_PAGE).render(rows=rows)
    write_atomic(path, page, mode=0o600)


def _why(figures: PromptFigures) -> str:
    flag = "flagged" if figures.is_flagged else "not flagged"
    return f"{flag}, confirmed" if figures.is_confirmed else flag


def _words(detected: Detected, i: int, figures: PromptFigures) -> list[tuple[str, str, bool]]:
    """(word, share, whether it is marked) in the order of the prompt."""
    words = spelled(detected.tokens[i])
    parts = [0.0] * len(words)
    for trigger in figures.triggers:
        parts[trigger.word - 1] += trigger.share
    return [
        (word, share(part), part > STRONG / len(words))
        for word, part in zip(words, parts, strict=True)
    ]
