"""Scoring: what a trained model says about the canaries, and the bound of epsilon from it."""

from __future__ import annotations

import hashlib
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from attacks.errors import UsageError
from attacks.signals import clipped, phi
from attacks.statistics.epsilon import check_levels
from attacks.statistics.f_dp import FDpAudit, audit_one_run_gaussian
from attacks.statistics.one_run import OneRunAudit, audit_one_run
from auditor import __version__
from auditor.canaries.claim import Claim, judge
from auditor.canaries.folder import PlantedCanaries, load_folder
from auditor.canaries.plant import ALPHA, DELTA
from auditor.config import ScanConfig
from auditor.records.sources import printable
from auditor.targets.classifier import ClassifierTarget, open_classifier
from reports import canaries as schema
from reports.files import write_atomic
from reports.record import Tool


@dataclass(frozen=True, slots=True)
class CanaryAudit:
    """A finished audit."""

    record: schema.CanaryRecord
    paths: dict[str, Path]
    """json, md and sums: the files that were written."""


def score_canaries(
    model: str | Path,
    canaries: Path,
    out: Path,
    *,
    delta: float | None = None,
    claim: Claim | None = None,
    factory: str | None = None,
    allow_pickle: bool = False,
    config: ScanConfig | None = None,
) -> CanaryAudit:
    """Ask a classifier about all canaries and write canaries.json, canaries.md and SHA256SUMS.

    model, factory, allow_pickle: as in `open_classifier`; canaries: the folder of that name that
        `plant_canaries` wrote. config: of its settings, `classes`.
    delta: of the bounds; that of the claim if there is one, else 1e-5.
    Raises DataError for a folder that was changed, TargetError for a model that does not fit.
    """
    started, began = datetime.now(UTC), time.perf_counter()
    canaries, out = Path(canaries), Path(out)
    if out.exists() and not out.is_dir():
        raise UsageError(f"--out {printable(out)} is a file; pass a directory")
    at = _delta(delta, claim)
    planted = load_folder(canaries)
    table = planted.table
    target = open_classifier(
        model,
        example=table.inputs(range(min(256, len(table)))),
        classes=(config or ScanConfig()).classes,
        allow_pickle=allow_pickle,
        factory=factory,
    )
    classes = target.class_indices(table.labels)
    answers = clipped(target.logits(table.inputs()), classes, target.eps)
    scores = phi(answers, classes)  # higher = more likely in
    one_run = audit_one_run(scores, planted.is_in, delta=at, alpha=ALPHA)
    gaussian = audit_one_run_gaussian(scores, planted.is_in, delta=at, alpha=ALPHA)
    record = schema.CanaryRecord(
        schema=schema.SCHEMA,
        tool=Tool(version=__version__),
        created=started,
        seconds=round(time.perf_counter() - began, 3),
        verdict=judge(claim, one_run, gaussian, planted.plant),
        claim=None if claim is None else claim.stated(),
        delta=at,
        alpha=ALPHA,
        one_run=_one_run(one_run),
        gaussian=_gaussian(gaussian),
        target=_target(target),
        canaries=_canaries(planted),
    )
    return CanaryAudit(record, _write(record, out))


def _delta(delta: float | None, claim: Claim | None) -> float:
    """The delta of the bounds: a bound at another delta than the claim's says nothing about it."""
    claimed = None if claim is None else claim.delta
    if claimed is not None and delta not in (None, claimed):
        raise UsageError(
            f"--delta {delta:g} differs from the claimed delta {claimed:g}, and only a bound at the "
            "claimed one can contradict the claim; leave --delta out"
        )
    found = claimed if claimed is not None else DELTA if delta is None else delta
    check_levels(ALPHA, found)
    return found


def _one_run(audit: OneRunAudit) -> schema.OneRunFigures:
    return schema.OneRunFigures(
        method=audit.method,
        lower=audit.lower,
        ceiling=audit.ceiling,
        n_guesses=audit.n_guesses,
        n_correct=audit.n_correct,
        k_plus=audit.pair.k_plus,
        k_minus=audit.pair.k_minus,
        n_pairs=audit.n_pairs,
        p_value=audit.p_value,
        assumption=audit.assumption,
    )


def _gaussian(audit: FDpAudit) -> schema.GaussianFigures:
    return schema.GaussianFigures(
        method=audit.method,
        mu_lower=audit.mu_lower,
        mu_ceiling=audit.mu_ceiling,
        lower=audit.lower,
        ceiling=audit.ceiling,
        reason=audit.reason,
        n_guesses=audit.n_guesses,
        n_correct=audit.n_correct,
        assumption=audit.assumption,
    )


def _target(target: ClassifierTarget) -> schema.CanaryTarget:
    return schema.CanaryTarget(
        name=target.name,
        architecture=target.capabilities.architecture,
        gives=target.capabilities.gives,
        sha256=target.hashes,
    )


def _canaries(planted: PlantedCanaries) -> schema.CanarySet:
    plant = planted.plant
    return schema.CanarySet(
        kind=plant.kind,
        n=plant.n,
        n_in=int(planted.is_in.sum()),
        n_rows_taken_out=len(plant.rows_taken_out),
        seed_source=plant.seed_source,
        data_sha256=plant.data_sha256,
        train_sha256=plant.train_sha256,
        commitment=planted.commitment,
    )


def _write(record: schema.CanaryRecord, out: Path) -> dict[str, Path]:
    """Both renderings before the first file is written, and their hashes last."""
    texts = {
        "canaries.json": schema.render_json(record),
        "canaries.md": schema.render_markdown(record),
    }
    sums = [
        f"{hashlib.sha256(text.encode()).hexdigest()}  {name}\n" for name, text in texts.items()
    ]
    for name, text in (texts | {"SHA256SUMS": "".join(sums)}).items():
        write_atomic(out / name, text)
    return {
        "json": out / "canaries.json",
        "md": out / "canaries.md",
        "sums": out / "SHA256SUMS",
    }
