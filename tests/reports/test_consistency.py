"""A record that was edited by hand is refused; what a scan writes is not."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from attacks.errors import UsageError
from attacks.results import Outcome
from reports import json_file
from reports.consistency import contradictions
from tests.reports.samples import sample


def _tree(outcome: Outcome = Outcome.FAIL) -> dict[str, Any]:
    return json.loads(json_file.render(sample(outcome)))


@pytest.mark.parametrize("outcome", list(Outcome))
def test_a_sound_record_is_read(outcome: Outcome, tmp_path: Path) -> None:
    assert list(contradictions(sample(outcome))) == []
    path = tmp_path / "audit.json"
    json_file.write(sample(outcome), path)
    assert json_file.read(path) == sample(outcome)


def _verdict(**changes: Any) -> Callable[[dict[str, Any]], None]:
    return lambda tree: tree["verdict"].update(changes)


def _rule(number: int, **changes: Any) -> Callable[[dict[str, Any]], None]:
    return lambda tree: tree["rules"][number].update(changes)


def _softened(tree: dict[str, Any]) -> None:
    """A FAIL made a PASS wherever it is written, as somebody would do who wants one."""
    tree["verdict"] |= {"outcome": "pass", "exit_code": 0, "sentence": "PASS: nothing."}
    tree["verdict"]["headline"] = "At most 2 % of members."
    tree["rules"][0] |= {"outcome": "pass", "high": 0.02, "limit": 0.03, "low": None, "value": None}


EDITS: dict[str, tuple[Outcome, Callable[[dict[str, Any]], None], str]] = {
    "verdict": (Outcome.FAIL, _verdict(outcome="pass"), "the verdict is pass, but .* give fail"),
    "exit code": (Outcome.FAIL, _verdict(exit_code=0), "the exit code is 0, but fail has 1"),
    "first word": (Outcome.FAIL, _verdict(sentence="All is well."), "does not begin with 'FAIL:'"),
    "fewer in words": (
        Outcome.FAIL,
        _verdict(sentence="FAIL: at least 1 of the 600 evaluated training records."),
        "does not say 'at least 7 of the 600 evaluated'",
    ),
    "headline": (Outcome.PASS, _verdict(headline="At most 0.1 %."), "the bound 2.62 %"),
    "reason": (Outcome.INVALID, _verdict(sentence="INVALID: a detail."), "the control that failed"),
    "rule": (Outcome.FAIL, _rule(0, outcome="pass"), "verdict is fail, but its rules give pass"),
    "all at once": (Outcome.FAIL, _softened, "'identified' is pass at p = 0.0001"),
    "above its limit": (Outcome.PASS, _rule(0, high=0.2), "upper bound is not below the limit"),
    "auc below": (Outcome.PASS, _rule(1, low=0.3), "lower bound is not above the limit 0.4"),
    "other limit": (Outcome.PASS, _rule(0, limit=0.5), "another limit than the policy"),
    "outside": (Outcome.PASS, _rule(1, low=0.59), "value outside its own bounds"),
    "value": (Outcome.PASS, _rule(1, value=0.5001), "another value than the finding"),
    "attack": (Outcome.PASS, _rule(0, attack="ghost"), "an attack that has no finding"),
    "no control": (Outcome.PASS, _rule(0, attack="pian"), "attack that cannot support a pass"),
    "fewer leaked": (Outcome.FAIL, _rule(0, low=1 / 600), "fewer leaked members than its findings"),
    "dropped": (Outcome.FAIL, lambda t: t["rules"].pop(0), "'identified' of the policy is not"),
    "twice": (Outcome.FAIL, lambda t: t["rules"].append(t["rules"][1]), "judged twice"),
    "limit": (Outcome.PASS, _rule(2, outcome="pass"), "judged without a limit"),
    "control failed": (
        Outcome.PASS,
        lambda t: t["controls"][3].update(status="failed"),
        "is pass, although a control failed",
    ),
    "control mended": (
        Outcome.INVALID,
        lambda t: t["controls"][3].update(status="passed"),
        "is invalid, although no control failed",
    ),
    "control skipped": (
        Outcome.PASS,
        lambda t: t["controls"][2].update(status="not run"),
        "passes without the negative control",
    ),
    "sizes": (Outcome.PASS, lambda t: t["data"].update(n_members=9000), "how many records"),
}


@pytest.mark.parametrize("case", EDITS)
def test_an_edited_record_is_one_usage_error(case: str, tmp_path: Path) -> None:
    outcome, edit, words = EDITS[case]
    tree = _tree(outcome)
    edit(tree)
    path = tmp_path / "audit.json"
    path.write_text(json.dumps(tree), encoding="utf-8")
    with pytest.raises(UsageError, match="audit.json contradicts itself: ") as caught:
        json_file.read(path)
    assert "\n" not in str(caught.value)
    found = list(contradictions(json_file.parse(json.dumps(tree))))
    assert any(re.search(words, one) for one in found), found


def test_a_record_without_error_rates_is_still_read(tmp_path: Path) -> None:
    """They were added to the schema later."""
    tree = _tree()
    del tree["policy"]["alpha_fail"], tree["policy"]["alpha_pass"]
    path = tmp_path / "audit.json"
    path.write_text(json.dumps(tree), encoding="utf-8")
    assert json_file.read(path).verdict.outcome is Outcome.FAIL
