from __future__ import annotations

import xml.etree.ElementTree as ET

import pytest

from attacks.results import Outcome
from reports import junit
from tests.reports.sample_extraction import extracted_sample
from tests.reports.samples import hostile, sample


@pytest.mark.parametrize(
    ("outcome", "tag"),
    [
        (Outcome.PASS, None),
        (Outcome.FAIL, "failure"),
        (Outcome.INCONCLUSIVE, "error"),
        (Outcome.INVALID, "error"),
    ],
)
def test_one_case_for_each_rule(outcome: Outcome, tag: str | None) -> None:
    record = sample(outcome)
    root = ET.fromstring(junit.render(record))
    cases = {case.get("name"): case for case in root.iter("testcase")}
    assert list(cases) == [rule.rule for rule in record.rules]
    found = [child.tag for child in cases["identified"] if child.tag != "system-out"]
    assert found == ([tag] if tag else [])
    assert cases["tpr@1%"].find("skipped") is not None
    suite = root.find("testsuite")
    assert suite is not None
    assert suite.get("tests") == "3"
    red = int(suite.get("failures", "")) + int(suite.get("errors", ""))
    assert (red == 0) == (outcome is Outcome.PASS)


@pytest.mark.parametrize("outcome", [Outcome.FAIL, Outcome.INCONCLUSIVE, Outcome.INVALID])
def test_a_verdict_without_rules_is_never_green(outcome: Outcome) -> None:
    record = sample(outcome).model_copy(update={"rules": ()})
    root = ET.fromstring(junit.render(record))
    (case,) = root.iter("testcase")
    assert case.get("name") == "verdict"
    assert case.find("failure" if outcome is Outcome.FAIL else "error") is not None


def test_numbers_are_in_the_output() -> None:
    root = ET.fromstring(junit.render(sample(Outcome.INCONCLUSIVE)))
    out = root.findtext(".//testcase[@name='identified']/system-out") or ""
    assert "4.1\u202f%" in out
    assert "1,900 nonmembers" in out


@pytest.mark.parametrize("count", [0, 5])
def test_records_that_came_back_fail_a_case_of_their_own(count: int) -> None:
    root = ET.fromstring(junit.render(extracted_sample(count)))
    case = root.find(".//testcase[@name='extracted']")
    assert case is not None
    assert (case.find("failure") is not None) == (count > 0)
    assert f"observed {count}\n" in (case.findtext("system-out") or "")
    assert "limit 0" in (case.findtext("system-out") or "")


def test_hostile_text_parses_and_opens_no_element() -> None:
    root = ET.fromstring(junit.render(hostile()))
    known = {
        "testsuites", "testsuite", "testcase", "properties", "property", "failure", "error",
        "skipped", "system-out",
    }  # fmt: skip
    assert {element.tag for element in root.iter()} <= known
