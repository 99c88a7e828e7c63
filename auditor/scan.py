"""The flow of a scan, on one page.

    records --observe--> observations --score--> scores --evaluate--> findings --judge--> verdict

`plan_scan` (auditor.prepare) reads everything that can be wrong; `run_scan` does the work.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from attacks.observations import Calibration, Observations
from attacks.registry import attack
from auditor.assemble import assemble
from auditor.controls.suite import Controls, run_controls
from auditor.evaluate import AttackEntry, Evaluation, RecordTable, evaluate
from auditor.judge import judge
from auditor.outputs import write_outputs
from auditor.prepare import PreparedScan, ScanOptions, plan_scan
from auditor.progress import Progress
from auditor.records import Record, Splits
from auditor.scoring import Scores, calibrated, difference, score_all
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
    """Audit a diffusion model; the Python twin of `auditor scan model`.

    Raises UsageError (and its kinds) for anything that the caller can fix. An interrupted scan
    continues when it is called again with the same options.
    """
    progress = progress or Progress()
    return run_scan(plan_scan(options, progress), progress)


def run_scan(scan: PreparedScan, progress: Progress) -> ScanResult:
    """Observe, score, control, evaluate, judge, and write everything into `out`."""
    if scan.options.batch_size is None:
        scan.cache.store_batch_size(scan.executor.batch_size)
    records = scan.evaluated
    is_member = np.isin([r.id for r in records], [r.id for r in scan.splits.members])
    with scan.timed("observe"):
        progress.stage("observing the target", len(records))
        observations = scan.executor.observe(scan.target, records, scan.plan.requests, scan.cache)
        calibration = _calibrate(scan, progress)
        reference = _observe_reference(scan, records, progress)
    scores, dropped = score_all(scan.plan, observations, calibration)
    paired: Scores = {}
    if reference is not None:
        base, _ = score_all(scan.plan, reference, calibration)
        paired = {calibrated(name): values for name, values in difference(scores, base).items()}
    with scan.timed("controls"):
        controls = run_controls(
            scan, records, is_member, observations, scores, reference, calibration, progress
        )
    with scan.timed("evaluate"):
        progress.stage("evaluating", 1, "step")
        published = tuple(scan.key.publish(record.id) for record in records)
        evaluation = evaluate(
            scores | paired,
            _table(scan.splits, records, published, is_member, controls),
            _entries(scan, scores | paired, controls),
            scan.policy,
            seed=scan.options.seed,
        )
        judgement = judge(evaluation, controls.results, scan.policy, n_train=scan.config.n_train)
    record = assemble(
        scan,
        judgement,
        controls,
        observations,
        records,
        is_member,
        scan.plan.inapplicable + dropped,
    )
    record, paths = write_outputs(scan, record, scores | paired, records, published, is_member)
    return ScanResult(record, paths, evaluation, records, published)


def _calibrate(scan: PreparedScan, progress: Progress) -> Calibration | None:
    members, nonmembers = scan.splits.calibration_members, scan.splits.calibration_nonmembers
    if not members or not nonmembers:
        return None
    records = sorted(members + nonmembers, key=lambda r: r.id)
    progress.stage("observing the calibration part", len(records))
    found = scan.executor.observe(scan.target, records, scan.plan.requests, scan.cache)
    return Calibration(found, np.isin([r.id for r in records], [r.id for r in members]))


def _observe_reference(
    scan: PreparedScan, records: tuple[Record, ...], progress: Progress
) -> Observations | None:
    if scan.reference is None:
        return None
    progress.stage("observing the reference", len(records))
    cache = dataclasses.replace(scan.cache, target_key=scan.reference.key)
    return scan.executor.observe(scan.reference, records, scan.plan.requests, cache)


def _entries(scan: PreparedScan, scores: Scores, controls: Controls) -> dict[str, AttackEntry]:
    entries = {}
    for name in scores:
        base = name.removesuffix(calibrated(""))
        entries[name] = AttackEntry(
            manifest=attack(base).MANIFEST,
            cost=scan.plan.cost(base),
            positive_control_dose=controls.caught_at.get(name),
            variant="" if base == name else "paired with the reference",
        )
    return entries


def _table(
    splits: Splits,
    records: tuple[Record, ...],
    published: tuple[str, ...],
    is_member: NDArray[np.bool_],
    controls: Controls,
) -> RecordTable:
    subjects = [record.subject for record in records]
    return RecordTable(
        record_ids=published,
        is_member=is_member,
        multiplicity=np.array([record.multiplicity for record in records]),
        colours=tuple(record.colour for record in records),
        sizes=tuple(f"{record.width} x {record.height}" for record in records),
        subjects=np.array(subjects) if splits.has_subjects else None,
        blind_score=controls.blind_score,
    )
