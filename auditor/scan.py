"""The flow of a scan, on one page.

    records --observe--> observations --score--> scores --evaluate--> findings --judge--> verdict

`plan_scan` reads everything that can be wrong; `run_scan` does the work. What differs between
families of targets is behind `PreparedScan`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from attacks.observations import Calibration
from attacks.registry import attack
from auditor.assemble import assemble
from auditor.controls.suite import Controls
from auditor.evaluate import AttackEntry, Evaluation, RecordTable, evaluate
from auditor.families import family_of
from auditor.judge import judge
from auditor.outputs import write_outputs
from auditor.prepare import Observed, PreparedScan, ScanOptions
from auditor.presets import with_preset, within_budget
from auditor.progress import Progress
from auditor.records import Record
from auditor.scoring import Scores, blind_twins, calibrated, difference, score_all
from reports.record import AuditRecord

__all__ = ["PreparedScan", "ScanOptions", "ScanResult", "plan_scan", "run_scan", "scan_model"]


@dataclass(frozen=True)
class ScanResult:
    """What a scan leaves behind."""

    record: AuditRecord
    paths: dict[str, Path]
    """Format -> file."""
    evaluation: Evaluation
    records: tuple[Record, ...]
    """Evaluated records, private."""
    published_ids: tuple[str, ...]
    """Their ids in the reports, in the same order."""


def scan_model(options: ScanOptions, progress: Progress | None = None) -> ScanResult:
    """Audit a model; the Python twin of `auditor scan model`.

    Raises UsageError (and its kinds) for anything that the caller can fix. An interrupted scan
    continues when it is called again with the same options.
    """
    progress = progress or Progress()
    return run_scan(plan_scan(options, progress), progress)


def plan_scan(options: ScanOptions, progress: Progress) -> PreparedScan:
    """Read policy, configuration, records and model, and plan what to ask.

    A preset is written out, and a budget spent, before anything else: the options of what is
    returned name attacks and sizes alone.
    """
    if options.budget is not None:
        return within_budget(options, progress)
    return family_of(options).prepare(with_preset(options), progress)


def run_scan(scan: PreparedScan, progress: Progress) -> ScanResult:
    """Observe, score, control, evaluate, judge, and write everything into `out`."""
    records = scan.evaluated
    is_member = np.isin([r.id for r in records], [r.id for r in scan.splits.members])
    with scan.timed("observe"):
        progress.stage("observing the target", len(records))
        observations = scan.observe(records)
        calibration = _calibrate(scan, progress)
        if scan.reference_name is not None:
            progress.stage("observing the reference", len(records))
        reference = scan.observe_reference(records)
    scores, dropped = score_all(scan.plan, observations, calibration)
    paired: Scores = {}
    if reference is not None:
        base, _ = score_all(scan.plan, reference, calibration)
        paired = {calibrated(name): values for name, values in difference(scores, base).items()}
    observed = Observed(records, is_member, observations, scores, calibration, reference)
    with scan.timed("controls"):
        controls = scan.run_controls(observed, progress)
    with scan.timed("extraction"):
        extracted = scan.extract(progress)
    with scan.timed("evaluate"):
        progress.stage("evaluating", 1, "step")
        published = tuple(scan.key.publish(record.id) for record in records)
        evaluation = evaluate(
            scores | paired,
            _table(scan, observed, published, controls),
            _entries(scan, scores | paired, controls, observed),
            scan.judged_by,
            seed=scan.options.seed,
        )
        judgement = judge(
            evaluation,
            controls.results,
            scan.judged_by,
            n_train=scan.config.n_train,
            extraction=extracted,
        )
    inferred = scan.infer_attributes(observed, progress)
    skipped = scan.plan.inapplicable + dropped + inferred.dropped
    record = assemble(
        scan, judgement, observed, skipped, attributes=inferred.findings, extraction=extracted
    )
    record, paths = write_outputs(scan, record, scores | paired, records, published, is_member)
    return ScanResult(record, paths, evaluation, records, published)


def _calibrate(scan: PreparedScan, progress: Progress) -> Calibration | None:
    records = scan.calibration
    if not records:
        return None
    progress.stage("observing the calibration part", len(records))
    members = [r.id for r in scan.splits.calibration_members]
    return Calibration(scan.observe(records), np.isin([r.id for r in records], members))


def _entries(
    scan: PreparedScan, scores: Scores, controls: Controls, observed: Observed
) -> dict[str, AttackEntry]:
    entries = {}
    twins = blind_twins(scan.plan, observed.observations, observed.calibration)
    for name in scores:
        base = name.removesuffix(calibrated(""))
        entries[name] = AttackEntry(
            manifest=attack(base).MANIFEST,
            cost=scan.plan.cost(base),
            positive_control_dose=controls.caught_at.get(name),
            variant="" if base == name else "paired with the reference",
            blind_twin=twins.get(name),
        )
    return entries


def _table(
    scan: PreparedScan, observed: Observed, published: tuple[str, ...], controls: Controls
) -> RecordTable:
    records = observed.records
    subjects = [record.subject for record in records]
    return RecordTable(
        record_ids=published,
        is_member=observed.is_member,
        multiplicity=np.array([record.multiplicity for record in records]),
        colours=tuple(record.colour for record in records),
        sizes=tuple(record.size for record in records),
        subjects=np.array(subjects) if scan.splits.has_subjects else None,
        blind_score=controls.blind_score,
    )
