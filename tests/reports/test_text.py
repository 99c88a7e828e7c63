from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reports import text


@given(st.text())
def test_clean_leaves_nothing_invisible(words: str) -> None:
    cleaned = text.clean(words)
    assert all(unicodedata.category(char) not in {"Cc", "Cf", "Cs", "Co", "Cn"} for char in cleaned)
    cleaned.encode("utf-8")


def test_clean_keeps_ordinary_writing() -> None:
    for words in ("flowers-ddpm", "Größe 5 µm, 猫, עברית, हिन्दी, 😀"):
        assert text.clean(words) == words


def test_clean_cuts_and_says_so() -> None:
    assert text.clean("A" * 100, 10) == "A" * 10 + " … (90 more characters in audit.json)"


@pytest.mark.parametrize(
    ("value", "printed"),
    [(None, "–"), (0.0, "0 %"), (1.0, "100 %"), (0.0262, "2.6 %"), (0.00345, "0.34 %"),
     (0.5, "50 %"), (1e-6, "< 0.01 %"), (0.9996, "100.0 %")],
)  # fmt: skip
def test_share(value: float | None, printed: str) -> None:
    assert text.share(value).replace(text.NARROW, " ") == printed


@pytest.mark.parametrize(
    ("value", "printed"),
    [(0.5, "0.5 s"), (41, "41 s"), (59.7, "1 min 00 s"), (200, "3 min 20 s"), (7500, "2 h 05 min")],
)
def test_seconds(value: float, printed: str) -> None:
    assert text.seconds(value).replace(text.NARROW, " ") == printed


def test_figures() -> None:
    assert text.figure(0.5, "number") == "0.500"
    assert text.figure(12, "count") == "12"
    assert text.p_value(1e-9).startswith("<")
    assert text.flat(4.3e-5, "p_tail") == text.p_value(4.3e-5) == f"<{text.NARROW}0.0001"
    assert text.flat(4.3e-5, "loss") == "4.3e-05"
    assert text.interval(None, 0.03, "share").replace(text.NARROW, " ") == "– to 3.0 %"
    assert text.number(123456.7) == "123,457"
    assert text.rate(0.001).replace(text.NARROW, " ") == "0.1 %"
