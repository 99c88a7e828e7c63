"""The report in a real browser, with every request going to a closed port."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from attacks.results import Outcome
from tests.reports.chromium import BINARY, Chromium
from tests.reports.pages import extracted_page, hostile_page, sample_page

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(not os.path.exists(BINARY), reason="Debian's chromium is not installed"),
]
READY = (
    "document.querySelectorAll('.live svg').length"
    " === document.querySelectorAll('script[data-chart]').length"
)


@pytest.fixture(scope="module")
def browser() -> Iterator[Chromium]:
    with Chromium() as chromium:
        yield chromium


@pytest.fixture(scope="module", params=["fail", "inconclusive", "hostile", "extracted"])
def report(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    others = {"hostile": hostile_page, "extracted": extracted_page}
    text = (
        others[request.param]() if request.param in others else sample_page(Outcome(request.param))
    )
    path = tmp_path_factory.mktemp("report") / "report.html"
    path.write_text(text, encoding="utf-8")
    return path


def test_charts_draw_without_eval_network_or_complaint(browser: Chromium, report: Path) -> None:
    browser.view(width=1280)
    browser.open(report, ready=READY)
    assert browser.complaints() == []
    assert browser.requests() == [report.resolve().as_uri()]
    assert browser.evaluate("document.querySelectorAll('.live svg path').length") > 50
    assert browser.evaluate("document.cookie + localStorage.length") == "0"
    assert browser.evaluate("document.title").split()[0] in ("Fail", "Inconclusive")


def test_the_policy_is_in_force(browser: Chromium, report: Path) -> None:
    """Were the policy ignored, the tests above would prove nothing."""
    browser.view(width=1280)
    browser.open(report, ready=READY)
    browser.evaluate(
        "(() => { const s = document.createElement('script');"
        " s.textContent = 'window.injected = 1'; document.body.append(s);"
        " const i = new Image(); i.src = 'http://127.0.0.1:9/x.png'; })()"
    )
    assert browser.evaluate("window.injected === undefined")
    assert any("Content Security Policy" in one for one in browser.complaints())


@pytest.mark.parametrize("width", [1280, 400])
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_no_sideways_scrolling(browser: Chromium, report: Path, width: int, dark: bool) -> None:
    browser.view(width=width, dark=dark)
    browser.open(report, ready=READY)
    assert browser.evaluate("document.documentElement.scrollWidth") <= width


def test_charts_fit_a_narrow_screen(browser: Chromium, report: Path) -> None:
    browser.view(width=390)
    browser.open(report, ready=READY)
    outside = browser.evaluate(
        "[...document.querySelectorAll('.live')].flatMap(l => {"
        " const r = l.getBoundingClientRect();"
        " return [...l.querySelectorAll('text')].map(t => [t, t.getBoundingClientRect()])"
        ".filter(([t, q]) => q.width && (q.right > r.right + 1 || q.left < r.left - 1))"
        ".map(([t]) => t.textContent) })"
    )
    assert [text for text in outside if len(text) < 60] == []  # hostile names may be cut


def test_wide_tables_say_that_they_scroll(browser: Chromium, report: Path) -> None:
    hint = (
        "getComputedStyle(document.querySelector('.scroll:not(:has(.twin))'), '::before').content"
    )
    browser.view(width=390)
    browser.open(report, ready=READY)
    assert "sideways" in browser.evaluate(hint)
    hidden = "[...document.querySelectorAll('.scroll:not(:has(.twin))')].filter(s => s.clientWidth"
    fits = f"{hidden} && s.scrollWidth <= s.clientWidth).length"
    assert browser.evaluate(fits) == 0
    browser.view(width=1280)
    assert browser.evaluate(hint) == "none"


def test_chart_colours_follow_the_scheme(browser: Chromium, report: Path) -> None:
    def ink() -> str:
        return str(
            browser.evaluate(
                "getComputedStyle(document.querySelector('.live [stroke=\"#1d4ed8\"]')).stroke"
            )
        )

    browser.view(width=1280)
    browser.open(report, ready=READY)
    light = ink()
    browser.view(width=1280, dark=True)
    assert light != ink()


def test_readable_without_script(browser: Chromium, report: Path) -> None:
    browser.view(width=1280)
    browser.call("Emulation.setScriptExecutionDisabled", {"value": True})
    try:
        browser.open(report)
        shown = browser.evaluate(
            "[...document.querySelectorAll('.static svg')]"
            ".filter(s => s.getBoundingClientRect().height > 50).length"
        )
        assert shown == browser.evaluate("document.querySelectorAll('figure.chart').length")
    finally:
        browser.call("Emulation.setScriptExecutionDisabled", {"value": False})


def test_keyboard_reaches_the_report(browser: Chromium, report: Path) -> None:
    browser.view(width=1280)
    browser.open(report, ready=READY)
    for kind in ("keyDown", "keyUp"):
        browser.call(
            "Input.dispatchKeyEvent",
            {"type": kind, "key": "Tab", "code": "Tab", "windowsVirtualKeyCode": 9},
        )
    assert browser.evaluate("document.activeElement.className") == "skip"
    assert browser.evaluate("document.activeElement.getBoundingClientRect().left") >= 0


def test_prints_on_paper(browser: Chromium, report: Path, tmp_path: Path) -> None:
    browser.view(width=1280)
    browser.open(report, ready=READY)
    browser.pdf(tmp_path / "report.pdf")
    printed = (tmp_path / "report.pdf").read_bytes()
    assert printed.startswith(b"%PDF")
    assert len(printed) < 5_000_000
