"""JUnit XML of a scan of images: one test case for each rule of the policy."""

from __future__ import annotations

from reports import wording
from reports.images_record import ImagesRecord
from reports.junit import document


def render(record: ImagesRecord) -> str:
    """The XML text."""
    return document(
        "auditor.images",
        record.rules,
        record.verdict,
        (record.environment.started, record.environment.finished),
        {
            "verdict": record.verdict.outcome.value,
            "sentence": record.verdict.sentence,
            "untested": record.verdict.untested,
            "policy": f"{record.policy.name} {record.policy.sha256}",
            "generated": record.sets.n_generated,
            "training": record.sets.n_training,
            "background": record.sets.n_background,
            "encoder": record.matching.encoder,
            "seed": record.seed,
            "note": wording.NOT_ADVICE,
        },
    )
