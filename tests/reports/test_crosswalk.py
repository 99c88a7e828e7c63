from __future__ import annotations

import dataclasses
import re
import typing

import pytest

from attacks.extraction.generation import GenerationFinding
from attacks.results import AttributeFinding, DatasetInference, MembershipFinding
from reports import crosswalk
from reports.html import page
from tests.reports.pages import sample_page
from tests.reports.samples import sample

PATTERNS = {
    "atlas": r"AML\.[TM]\d{4}(\.\d{3})?",
    "nist-600-1": r"(GV|MP|MS|MG)-\d+\.\d+-\d{3}",
    "nist-aml": r"NISTAML\.\d{3}",
    "cwe": r"CWE-\d+",
    "edpb-28-2024": r"\d{1,3}",
    "gdpr": r"\d{1,2}(\(\d\))?(\([a-z]\))?",
    "ai-act": r"(\d{1,3}(\(\d\))?|[IVX]+\.\d(\([a-z]\))?)",
    "owasp-ml": r"ML\d\d:2023",
    "owasp-aitg": r"AITG-[A-Z]{3}-\d\d",
    "ico": r"[a-z-]+",
}


def rows() -> list[crosswalk.Citation]:
    return [
        row
        for kind in crosswalk.kinds()
        for row in crosswalk.citations(kind, include_unverified=True)
    ]


def test_ids_have_the_form_of_their_framework() -> None:
    bad = [
        (row.framework, row.id)
        for row in rows()
        if not re.fullmatch(PATTERNS[row.framework], row.id)
    ]
    assert bad == []
    assert set(PATTERNS) == {one.key for one in crosswalk.frameworks()}


def test_every_row_has_a_source_and_a_mark() -> None:
    assert all(row.source and row.says and row.mark in crosswalk.MARKS for row in rows())


def test_kinds_of_the_code_and_of_the_crosswalk_agree() -> None:
    results = [MembershipFinding, AttributeFinding, DatasetInference, GenerationFinding]
    in_code = {
        field.default
        for result in results
        for field in dataclasses.fields(result)
        if field.name == "kind"
    }
    assert in_code == set(crosswalk.kinds())
    assert typing.get_type_hints(MembershipFinding)["kind"] is str


def test_six_classes_in_order() -> None:
    assert tuple(one.id for one in crosswalk.coverage_classes()) == crosswalk.COVERAGE_IDS
    assert all(one.mark in crosswalk.CITABLE for one in crosswalk.coverage_classes())


def test_an_unverified_row_is_not_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    tree = crosswalk.load()
    block = dict(tree["kinds"]["membership"])
    unverified = dict(block["rows"][0]) | {"mark": "U", "clause": "paragraph 999"}
    block["rows"] = [*block["rows"], unverified]
    patched = tree | {"kinds": {"membership": block}}
    monkeypatch.setattr(crosswalk, "load", lambda: patched)
    assert "paragraph 999" not in {row.clause for row in crosswalk.citations("membership")}
    shown = crosswalk.citations("membership", include_unverified=True)
    assert "paragraph 999" in {row.clause for row in shown}
    assert "paragraph 999" not in page.render(sample())


def test_every_cited_clause_is_on_the_page_with_its_mark() -> None:
    text = sample_page()
    for row in crosswalk.citations("membership"):
        assert row.clause in text
