"""The renderers of a comparison: schema, hostile text, figures."""

from __future__ import annotations

import json
import re

import jsonschema
import pytest

from attacks.results import Estimate, Outcome
from reports import compare_json, compare_markdown, compare_text
from reports import compare_record as schema
from reports.html import compare_page
from reports.record import Tool
from tests.reports.samples import HOSTILE
from tests.reports.test_html import Outline


def comparison(text: str = "plain", answer: schema.Answer = "undecided") -> schema.CompareRecord:
    """A record whose every free string is the text given."""
    side = schema.Side(
        name=text, architecture=text, audit_sha256=text, finished=text, outcome=Outcome.FAIL,
        sentence=text, headline=text, policy=text, policy_sha256=text, seed=1, n_members=4,
        n_nonmembers=5, is_valid=True,
    )  # fmt: skip
    gap = Estimate(-0.125, -0.25, 0.0625)
    area = schema.AucChange(
        before=0.75, after=0.625, difference=gap, p_value=0.3, p_holm=0.6, change="undecided",
        is_within_margin=False,
    )  # fmt: skip
    top = schema.TopChange(
        fpr=0.01, rank=7, before=9, after=4, both=3, before_alone=6, after_alone=1,
        difference=gap, p_interval=0.1, p_swap=0.2, p_holm=0.4, change="better",
    )  # fmt: skip
    return schema.CompareRecord(
        tool=Tool(version="0"),
        command=text,
        conclusion=schema.Conclusion(
            answer=answer, sentence=text, headline=text, untested=text, exit_code=3
        ),
        margin=0.02,
        alpha=0.05,
        swaps=99,
        before=side,
        after=side,
        pairing=schema.Pairing(n_members=4, n_nonmembers=5, n_before_alone=0, n_after_alone=0),
        rules=(schema.RulePair(rule=text, before=Outcome.FAIL, after=None),),
        attacks=(
            schema.AttackChange(
                attack=text, title=text, access=text, is_reversed_before=False,
                is_reversed_after=True, auc=area, top=top,
            ),
        ),
        before_alone=(text,),
        after_alone=(),
        extraction=schema.ExtractionChange(
            attack=text, before=3, after=0, n_before=20, n_after=20, before_alone=None,
            after_alone=None, difference=gap, p_value=0.2, p_holm=0.4, change="undecided",
        ),
        accuracy=(
            schema.AccuracyChange(
                group="nonmembers", before=Estimate(0.9, 0.8, 1.0), after=Estimate(0.8, 0.7, 0.9),
                difference=gap, change="worse",
            ),
        ),
        warnings=(text,),
        notes=(text,),
    )  # fmt: skip


def test_the_published_schema_is_current_and_holds():
    assert compare_json.SCHEMA_FILE.read_text(encoding="utf-8") == compare_json.schema_text()
    tree = json.loads(compare_json.render(comparison()))
    jsonschema.validate(tree, json.loads(compare_json.schema_text()))
    assert schema.CompareRecord.model_validate(tree) == comparison()


def test_hostile_text_reaches_no_reader():
    record = comparison(HOSTILE.replace("\ud800", ""))
    calm, angry = (Outline(compare_page.render(one)) for one in (comparison(), record))
    assert angry.open == []
    assert [tag for tag, _ in angry.elements] == [tag for tag, _ in calm.elements]
    names = {name for _, attributes in angry.elements for name in attributes}
    assert not [name for name in names if name.startswith("on") or name == "style"]
    assert HOSTILE[:40] in angry.text
    assert "\\u202e" in angry.text
    assert "\u202e" not in angry.text
    markdown = compare_markdown.render(record)
    for tag in ("<script>", "<img", "](javascript", "@octocat", "\x1b", "\u202e"):
        assert tag not in markdown


@pytest.mark.parametrize("answer", ["no worse", "worse", "undecided"])
def test_every_renderer_shows_the_figures(answer):
    record = comparison(answer=answer)
    for text in (compare_page.render(record), compare_markdown.render(record).replace("\\", "")):
        for figure in ("0.750", "0.625", "-0.125", "-0.250 to +0.062", "-12.50", "Better"):
            assert figure in text
        assert compare_text.ANSWERS[answer].lower() in text.lower()
        assert "1 - AUC after" in text
        assert "nonmember of rank 7" in text


def test_no_word_claims_more_than_was_shown():
    texts = [str(value) for value in vars(compare_text).values() if isinstance(value, tuple | dict)]
    for text in [*texts, compare_markdown.render(comparison())]:
        assert not re.search(r"\b(removed|erased)\b", text, re.IGNORECASE)
