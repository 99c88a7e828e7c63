"""Whatever is judged makes a record that does not contradict itself when it is read again."""

from __future__ import annotations

import json

import numpy as np
import pytest

from attacks.results import ControlStatus
from auditor.judge import judge
from auditor.policy import Policy
from reports import json_file
from reports.consistency import contradictions
from reports.record import Policy as RecordedPolicy
from reports.record import Verdict
from tests.attacks.statistics.draws import correlated_noise
from tests.auditor.verdict_cases import controls, entry, evaluated
from tests.reports.samples import sample

N = 300
POLICIES = {
    "default": Policy(),
    "tpr": Policy.model_validate({"rules": {"tpr@1%": {"limit": 0.06}}, "alpha_pass": 0.2}),
    "mitigated": Policy.model_validate(
        {"target_declares_mitigation": True, "rules": {"identified": {"limit": 0.2}}}
    ),
    "rate": Policy.model_validate({"rules": {"identified": {"fpr": 0.02, "limit": 0.1}}}),
}
STATUSES = {
    "sound": {},
    "blind failed": {"blind": ControlStatus.FAILED},
    "no positive": {"positive": None},
    "warnings": {"negative": ControlStatus.WARNING, "competence": ControlStatus.NOT_RUN},
}


def _scores(name: str) -> np.ndarray:
    scores = correlated_noise(np.random.default_rng(3), 3, 2 * N)
    if name == "few":
        scores[:, :8] += 7
    elif name == "mass":
        scores[1, :N] = np.random.default_rng(0).uniform(0, 1.5, N)
    elif name == "separated":
        scores[0, :N] += 50
    elif name == "reversed":
        scores[:, :N] -= 2
    elif name == "tied":
        scores = np.round(scores)
    return scores


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("leak", ["none", "few", "mass", "separated", "reversed", "tied", "empty"])
def test_no_judgement_contradicts_itself(leak: str, policy: str) -> None:
    rules, record = POLICIES[policy], sample()
    scores = _scores(leak) if leak != "empty" else np.empty((0, 2 * N))
    entries = {f"a{i}": entry(16 if i else None) for i in range(len(scores))}
    evaluation = evaluated(scores, N, rules, entries=entries, permutations=199)
    seen = set()
    for statuses in STATUSES.values():
        made = judge(evaluation, controls(**statuses), rules, n_train=5000)
        recorded = RecordedPolicy(
            name="p",
            sha256="0",
            rules=rules.rules_as_plain,
            alpha_fail=rules.alpha_fail,
            alpha_pass=rules.alpha_pass,
        )
        verdict = Verdict(
            outcome=made.outcome,
            sentence=made.sentence,
            headline=made.headline,
            untested=made.untested,
            exit_code=made.exit_code,
        )
        changed = record.model_copy(
            update={
                "policy": recorded,
                "verdict": verdict,
                "rules": made.rules,
                "findings": made.findings,
                "controls": made.controls,
                "data": record.data.model_copy(update={"n_members": N, "n_nonmembers": N}),
            }
        )
        text = json_file.render(changed)
        assert list(contradictions(json_file.parse(text))) == [], json.loads(text)["rules"]
        seen.add(made.outcome)
    assert len(seen) >= 2 or leak == "reversed"
