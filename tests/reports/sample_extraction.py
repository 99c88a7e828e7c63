"""A record whose model drew training records again; figures are invented but agree."""

from __future__ import annotations

import numpy as np

from attacks.extraction.generation import DistancePoint, ExtractedRecord, GenerationFinding
from attacks.extraction.results import CopyRate
from attacks.results import Estimate, Outcome, RuleResult
from reports.record import AuditRecord
from tests.reports.sample_findings import N_MEMBERS, sha
from tests.reports.samples import sample

N_TRIED = 128


def _records(count: int) -> tuple[ExtractedRecord, ...]:
    return tuple(
        ExtractedRecord(
            record_id=sha(f"extracted {i}")[:16],
            prompt_id=sha(f"prompt {i}")[:16],
            seed=i,
            distance=0.012 + 0.002 * i,
            repeated_distance=0.012 + 0.002 * i,
            n_seeds=8 - i % 7,
            multiplicity=50,
            is_own_caption=i != 4,
            colour=f"#{sha(str(i))[:6]}",
            size="32 x 32",
        )
        for i in range(count)
    )


def extraction(count: int) -> GenerationFinding:
    """A finding with that many extracted records."""
    distances = np.linspace(0.09, 0.6, 40)
    return GenerationFinding(
        attack="extraction",
        rule_id="EXT001",
        title="Extraction by generation (Carlini et al.)",
        access="black-box",
        n_members=N_MEMBERS,
        n_nonmembers=N_MEMBERS,
        n_prompts=N_TRIED * 2,
        n_images=1408,
        n_tried=N_TRIED,
        steps=30,
        guidance=7.5,
        convention="max_tile_rms_4x4 at 32 pixels",
        threshold=0.041,
        background=0.09,
        n_extracted=count,
        rate=Estimate(count / N_TRIED, max(0.0, count / N_TRIED - 0.04), count / N_TRIED + 0.05),
        rate_upper=0.0231 if not count else count / N_TRIED + 0.04,
        by_copies=(
            CopyRate("1", N_TRIED - 12, 0, Estimate(0.0, 0.0, 0.04)),
            CopyRate("10 to 99", 12, count, Estimate(count / 12, 0.0, 1.0)),
        ),
        records=_records(count),
        p_value=1e-6 if count else 0.6,
        n_planted=18,
        n_planted_found=18,
        n_calls=85_000,
        distribution=tuple(
            DistancePoint(float(d), float(min(1, d / 0.55)), float(min(1, d / 0.6)))
            for d in distances
        ),
    )


def extracted_sample(count: int = 5) -> AuditRecord:
    """A record that fails because records came back, or passes `extracted` if none did."""
    found = extraction(count)
    outcome = Outcome.FAIL if count else Outcome.PASS
    record = sample(outcome)
    rule = RuleResult(
        rule="extracted",
        metric="training records that the model draws again",
        outcome=outcome,
        value=count,
        low=None,
        high=None,
        limit=0,
        attack="extraction",
        explanation=f"Of 1,408 images drawn, some are copies of {count} training records.",
        p_value=found.p_value,
        unit="count",
    )
    again = f"FAIL: the model draws {count} training records again."
    verdict = record.verdict.model_copy(update={"sentence": again} if count else {})
    rules = {**record.policy.rules, "extracted": {"limit": 0}}
    return record.model_copy(
        update={
            "extraction": found,
            "rules": (*record.rules, rule),
            "verdict": verdict,
            "policy": record.policy.model_copy(update={"rules": rules}),
        }
    )
