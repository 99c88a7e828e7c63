from __future__ import annotations

import dataclasses
import re
from html.parser import HTMLParser

import altair as alt
import pytest

from attacks.outcomes import INVALIDATING
from attacks.results import Estimate, Outcome
from reports import wording
from reports.coverage import coverage_rows
from reports.crosswalk import COVERAGE_IDS
from reports.html import charts, compiled, page, palette, shell
from reports.record import Coverage
from tests.reports.pages import extracted_page, hostile_page, sample_page
from tests.reports.samples import HOSTILE, sample

VOID = {"meta", "link", "img", "br", "hr", "input", "path", "circle", "rect"}


class Outline(HTMLParser):
    """Elements with their attributes, and the text outside scripts and styles."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.open: list[str] = []
        self.words: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open, f"</{tag}> closes nothing"
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if not {"script", "style"} & set(self.open):
            self.words.append(data)

    def all(self, tag: str) -> list[dict[str, str]]:
        return [attributes for name, attributes in self.elements if name == tag]

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


@pytest.mark.parametrize("outcome", list(Outcome))
def test_the_first_screen_answers_in_order(outcome: Outcome) -> None:
    record = sample(outcome)
    text = Outline(sample_page(outcome)).text
    places = [
        text.index(part)
        for part in (
            outcome.value.capitalize(),
            record.verdict.sentence,
            record.verdict.headline,
            record.verdict.untested,
            "The policy was fixed before",
        )
    ]
    assert places == sorted(places)


def test_an_invalid_measurement_shows_no_figure_of_the_leak_on_the_first_screen() -> None:
    def hero(outcome: Outcome) -> str:
        return sample_page(outcome).partition('id="rules"')[0]

    assert 'class="gauge"' in hero(Outcome.PASS)
    assert 'class="gauge"' not in hero(Outcome.INVALID)


def test_elements_nest_even_with_hostile_text() -> None:
    for text in (sample_page(), hostile_page()):
        assert Outline(text).open == []


def test_hostile_text_adds_no_element_and_no_attribute() -> None:
    calm, angry = Outline(sample_page()), Outline(hostile_page())
    assert {tag for tag, _ in angry.elements} <= {tag for tag, _ in calm.elements}
    names = {name for _, attributes in angry.elements for name in attributes}
    assert not [name for name in names if name.startswith("on") or name == "style"]
    scripts = [a for a in angry.all("script") if a.get("type") != "application/json"]
    assert len(scripts) == 1
    assert HOSTILE[:40] in angry.text
    assert "49" not in angry.text.split("{{")[0]


def test_hostile_text_is_visible_and_cut() -> None:
    text = Outline(hostile_page()).text
    assert "\\u202e" in text
    assert "\\u001b[31m" in text
    assert "A" * 2000 not in text


@pytest.mark.parametrize("text", [sample_page, hostile_page])
def test_size(text) -> None:  # noqa: ANN001
    assert len(text().encode()) <= page.MAX_BYTES


def test_size_with_many_attacks() -> None:
    text = page.render(sample(n_attacks=20))
    assert len(text.encode()) <= page.MAX_BYTES
    assert f"Curves of {page.MAX_ROC_CHARTS} of 20 attacks" in text


def test_nothing_is_loaded_from_anywhere() -> None:
    for outline in (Outline(sample_page()), Outline(hostile_page())):
        loading = {"src", "srcset", "data", "poster", "action", "formaction", "background"}
        for tag, attributes in outline.elements:
            assert not loading & set(attributes), (tag, attributes)
            link = attributes.get("href", "#")
            assert link.startswith("#"), (tag, link)
        assert not {"link", "img", "iframe", "object", "embed", "base", "form"} & {
            tag for tag, _ in outline.elements
        }
    assert "url(" not in shell.source("style.css")
    assert "@import" not in shell.source("style.css")


def test_policy_forbids_eval_and_network() -> None:
    (policy,) = [a["content"] for a in Outline(sample_page()).all("meta") if "http-equiv" in a]
    assert policy.startswith("default-src 'none'")
    assert "unsafe" not in policy
    assert "http" not in policy


def test_every_chart_has_a_picture_and_a_table_twin() -> None:
    outline = Outline(sample_page())
    live = {a["data-chart"] for a in outline.all("script") if "data-chart" in a}
    figures = {a["id"] for a in outline.all("figure")}
    twins = {a["data-twin"] for a in outline.all("table") if "data-twin" in a}
    pictures = {
        a["aria-labelledby"].split("-t ")[0] for a in outline.all("svg") if a.get("role") == "img"
    }
    assert live == figures == twins == pictures
    assert {"auc", "loss", "roc-0", "roc-4", "scores"} <= live


def test_specifications_are_valid_vega_lite() -> None:
    record = sample()
    made = [
        charts.roc_chart(record.findings[0], "roc-0", 50),
        charts.loss_chart(record.loss_curve),
        charts.auc_chart(record.findings, record.rules[1]),
    ]
    for chart in made:
        alt.Chart.from_dict(chart.spec).to_dict(validate=True)


def test_static_pictures_use_only_colours_that_the_style_sheet_maps() -> None:
    record = sample()
    style = shell.source("style.css")
    for chart in (charts.roc_chart(record.findings[0], "roc-0", 50),
                  charts.loss_chart(record.loss_curve),
                  charts.auc_chart(record.findings, record.rules[1])):  # fmt: skip
        svg = compiled.static_svg(chart)
        for name, colour in re.findall(r'(fill|stroke)="(#[0-9a-f]+|[a-z]+)"', svg):
            if colour not in ("none", "transparent"):
                assert f'.chart [{name}="{colour}"]' in style, (chart.id, name, colour)


def test_palette_is_mapped() -> None:
    style = shell.source("style.css")
    assert all(f'="{colour}"]' in style for colour in palette.ALL)


def test_thinning_keeps_the_ends() -> None:
    points = sample().findings[0].roc
    few = charts.thin(points, 40)
    assert len(few) <= 41
    assert few[0] == points[0]
    assert few[-1] == points[-1]
    assert set(few) <= set(points)


def test_six_classes_always_render() -> None:
    record = sample().model_copy(update={"coverage": (), "findings": ()})
    rows = coverage_rows(record)
    assert len(rows) == len(COVERAGE_IDS)
    assert {row.status for row in rows} == {"not tested"}
    text = page.render(record)
    assert all(row.name in text for row in rows)


def test_tested_needs_a_result() -> None:
    claims = tuple(
        Coverage(id=one, name=one, status="tested", reason="said so", results=("ghost",))
        for one in COVERAGE_IDS
    )
    rows = coverage_rows(sample().model_copy(update={"coverage": claims}))
    assert {row.status for row in rows} == {"not tested"}


@pytest.mark.parametrize("outcome", list(Outcome))
def test_no_legal_verdict_is_printed(outcome: Outcome) -> None:
    text = Outline(sample_page(outcome)).text.lower()
    assert not re.search(r"\b(compliant|complies|certified|anonymous)\b", text)
    assert "not legal advice" in text


def test_accessible_structure() -> None:
    outline = Outline(sample_page())
    assert outline.all("html")[0]["lang"] == "en"
    assert len(outline.all("main")) == len(outline.all("h1")) == len(outline.all("nav")) == 1
    assert all("scope" in a for a in outline.all("th"))
    ids = [a["id"] for _, a in outline.elements if "id" in a]
    assert len(ids) == len(set(ids))
    for _, attributes in outline.elements:
        for name in ("aria-labelledby", "aria-describedby"):
            assert all(one in ids for one in attributes.get(name, "").split())
        if attributes.get("href", "").startswith("#"):
            assert attributes["href"][1:] in ids
    for attributes in outline.all("svg"):
        assert attributes.get("aria-hidden") == "true" or attributes.get("role") == "img"
    levels = [int(tag[1]) for tag, _ in outline.elements if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1
    assert all(b - a <= 1 for a, b in zip(levels, levels[1:], strict=False))


def luminance(colour: str) -> float:
    full = colour if len(colour) == 7 else "#" + "".join(c * 2 for c in colour[1:])
    parts = [int(full[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [p / 12.92 if p <= 0.03928 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one: str, other: str) -> float:
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("scheme", [0, 1, 2], ids=["light", "dark", "print"])
def test_contrast(scheme: int) -> None:
    blocks = re.findall(r":root \{(.*?)\}", shell.source("style.css"), re.DOTALL)
    colours = dict(re.findall(r"--([a-z-]+): (#[0-9a-f]{3,6})", blocks[scheme]))
    pairs = [(ink, paper) for ink in ("ink", "muted", "link", "limit", "open") for paper in ("paper", "ground", "soft") if paper in colours]  # noqa: E501  # fmt: skip
    pairs += [(tone, f"{tone}-soft") for tone in ("pass", "fail", "open", "void")]
    pairs += [("ink", "fail-soft"), ("muted", "fail-soft")]
    weak = {
        pair: round(contrast(colours[pair[0]], colours[pair[1]]), 2)
        for pair in pairs
        if contrast(colours[pair[0]], colours[pair[1]]) < 4.5
    }
    assert weak == {}


def test_columns_and_controls_explain_themselves() -> None:
    text = sample_page()
    for word in ("Rank counts members and nonmembers together", "Comparable: at least five"):
        assert word in text
    assert {*INVALIDATING, "positive", "captions"} <= set(wording.CONTROLS)


def test_missing_figures_are_dashes_not_zeros() -> None:
    record = sample(Outcome.PASS)
    bare = dataclasses.replace(
        record.findings[0], auc=Estimate(None, None, None, reason="one group is empty"), roc=()
    )
    text = page.render(record.model_copy(update={"findings": (bare,), "loss_curve": ()}))
    assert "The record holds no loss curve." in text
    assert "None" not in Outline(text).text


def test_what_came_back_is_told_in_words_that_read() -> None:
    text = Outline(extracted_page()).text
    assert "5 training records came back; 5 are shown" in " ".join(text.split())
    assert "knows neither: p < 0.0001" in text
    assert "p = <" not in text.replace("\u00a0", " ")


def test_an_empty_record_renders() -> None:
    empty = {"findings": (), "rules": (), "controls": (), "loss_curve": (), "coverage": ()}
    text = page.render(sample(Outcome.INVALID).model_copy(update=empty))
    assert "nothing above can be a pass" in text
