"""Claims about a collection: made on held-out records, refused where the blind baseline fails."""

from __future__ import annotations

import json
from types import SimpleNamespace

import numpy as np
import pytest

from attacks.manifest import DiffusionCapabilities
from attacks.results import ControlResult, ControlStatus, Outcome
from auditor.collection import claim, why_not
from auditor.observe.plan import make_plan
from reports import markdown
from reports.html import page

PLAN = make_plan(("cdi",), DiffusionCapabilities("diffusion", "", False, False, 1000, 32))
SCAN = SimpleNamespace(plan=PLAN)
IS_MEMBER = np.arange(100) < 50


def scores(shift):
    return np.random.default_rng(0).normal(size=100) + shift * IS_MEMBER


@pytest.mark.parametrize(
    ("status", "is_refused"),
    [
        (ControlStatus.PASSED, False),
        (ControlStatus.WARNING, False),
        (ControlStatus.FAILED, True),
        (ControlStatus.NOT_RUN, True),
    ],
)
def test_no_claim_unless_the_blind_baseline_held(status, is_refused):
    reason = why_not(ControlResult("blind", status, "."))
    found = claim(SCAN, "cdi", scores(2), IS_MEMBER, None, reason)
    assert (found.p_value is None) == (found.is_used is None) == is_refused
    assert "blind baseline" in found.explanation if is_refused else found.is_used
    assert why_not(None)


def test_a_claim_is_made_on_enough_evidence_alone():
    assert claim(SCAN, "cdi", scores(2), IS_MEMBER, None, None).is_used
    none = claim(SCAN, "cdi", scores(0), IS_MEMBER, None, None)
    assert none.is_used is False
    assert "does not show that it was not" in none.explanation
    reverse = claim(SCAN, "cdi", scores(-2), IS_MEMBER, None, None)
    assert reverse.p_value > 0.99


def test_records_of_one_subject_count_once():
    subjects = [f"s{i // 10}" for i in range(100)]
    few = claim(SCAN, "cdi", scores(2), IS_MEMBER, subjects, None)
    assert (few.n_published, few.n_unpublished) == (5, 5)
    assert few.p_value is None
    assert "at least 10" in few.explanation
    pairs = [f"s{i // 2}" for i in range(100)]
    whole = claim(SCAN, "cdi", scores(0.5), IS_MEMBER, None, None)
    halved = claim(SCAN, "cdi", scores(0.5), IS_MEMBER, pairs, None)
    assert (halved.n_published, whole.n_published) == (25, 50)


def test_a_scan_reports_the_claim_and_leaves_the_verdict_alone(scan_demo):
    record = scan_demo("memorized", attacks=("cdi",), limit=80).result.record
    (found,) = record.collections
    assert record.findings == ()
    assert record.verdict.outcome is Outcome.INCONCLUSIVE
    assert found.n_published == record.data.n_members
    assert found.n_unpublished == record.data.n_nonmembers
    assert 0 <= found.p_value <= 1
    assert found.kind == "dataset inference"
    (positive,) = [c for c in record.controls if c.name == "positive"]
    assert positive.status is ControlStatus.NOT_RUN
    assert "the collection" in markdown.render(record).lower()
    assert "The collection as a whole" in page.render(record)
    assert json.loads(record.model_dump_json())["collections"][0]["cost"]["calls_alone"] == 28
