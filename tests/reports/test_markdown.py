from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from attacks.results import Outcome
from reports import markdown, text
from tests.reports.samples import hostile, sample


@pytest.mark.parametrize("outcome", list(Outcome))
def test_says_the_verdict_and_what_was_not_tested(outcome: Outcome) -> None:
    record = sample(outcome)
    comment = markdown.render(record)
    assert comment.startswith(markdown.MARKER)
    assert f"## auditor: {outcome.value.capitalize()}" in comment
    assert "not legal advice" in comment
    assert comment.count("| not tested |") == 5
    assert len(comment) < 12_000


def test_hostile_text_is_inert_and_fits() -> None:
    comment = markdown.render(hostile())
    assert len(comment) <= markdown.MAX_CHARS
    tags = set(re.findall(r"</?([a-zA-Z]+)", comment))
    assert tags <= {"details", "summary", "sub"}
    assert "@octocat" not in comment
    assert "https://" not in comment
    assert "www.evil" not in comment
    assert not re.search(r"(?<!\\)`", comment)
    assert not re.search(r"(?<!\\)\]\(", comment)


def test_tables_keep_their_shape_whatever_is_in_them() -> None:
    width = None
    for line in markdown.render(hostile()).splitlines():
        if not line.startswith("|"):
            width = None
            continue
        cells = len(re.findall(r"(?<!\\)\|", line))
        width = width or cells
        assert cells == width


@given(st.text())
def test_escape_never_leaves_a_live_character(words: str) -> None:
    escaped = markdown.escape(text.clean(words))
    assert "\n" not in escaped
    assert not re.search(r"(?<!\\)(\\\\)*[|`\[\]*_]", escaped)
    assert "<" not in escaped
    assert not re.search(r"[@#]\\?\w", escaped)


def test_parts_are_left_out_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    record = sample()
    whole = markdown.render(record)
    monkeypatch.setattr(markdown, "MAX_CHARS", len(whole) - 1)
    short = markdown.render(record)
    assert len(short) < len(whole)
    assert short.count("<details>") == short.count("</details>") == 2
    assert "left out for length" in short
