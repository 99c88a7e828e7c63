"""JUnit XML of a concealment test: one test case, its answer."""

from __future__ import annotations

from attacks.results import RuleResult
from reports import concealment_wording, wording
from reports.concealment_record import ConcealmentRecord
from reports.junit import document


def render(record: ConcealmentRecord) -> str:
    """The XML text."""
    c, v = record.conclusion, record.verdict
    rule = RuleResult(
        rule="concealment",
        metric="share of the records that can still be recovered (95 % upper bound)",
        outcome=v.outcome,
        value=c.n_back / c.n_proven if c.n_proven else None,
        low=None,
        high=c.bound,
        limit=record.thresholds.margin,
        attack="embedding",
        explanation=" ".join([v.sentence, *c.reasons]),
        p_value=c.p_value,
        needed="; ".join(c.needed) or None,
        unit="share",
    )
    return document(
        "auditor.concealment",
        [rule],
        v,
        (record.environment.started, record.environment.finished),
        {
            "answer": concealment_wording.ANSWERS[record.answer],
            "sentence": v.sentence,
            "untested": v.untested,
            "members": record.records.n_members,
            "nonmembers": record.records.n_nonmembers,
            "mask_disclosed": record.zeros.mask_disclosed,
            "seed": record.seed,
            "note": wording.NOT_ADVICE,
        },
    )
