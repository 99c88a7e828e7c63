"""From the pieces of a scan to its record."""

from __future__ import annotations

import dataclasses
import hashlib
import platform
import shlex
import sys
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from attacks.extraction.generation import GenerationFinding
from attacks.results import AttributeFinding, PlannedAttack
from auditor import __version__
from auditor.collection import collection_claims
from auditor.coverage import coverage
from auditor.judge import Judgement
from auditor.memory import peak_memory_mb
from auditor.records import Record
from reports import record as schema

if TYPE_CHECKING:
    from auditor.prepare import Observed, PreparedScan

VERSIONED = ("torch", "diffusers", "transformers", "numpy", "scipy", "scikit-learn", "pyarrow")


def assemble(
    scan: PreparedScan,
    judgement: Judgement,
    observed: Observed,
    inapplicable: tuple[PlannedAttack, ...],
    *,
    attributes: tuple[AttributeFinding, ...] = (),
    extraction: GenerationFinding | None = None,
) -> schema.AuditRecord:
    """The record of an audit, before its score files are written."""
    policy = scan.policy
    findings = tuple(
        dataclasses.replace(
            finding,
            scores=f"scores/{finding.attack}.parquet",
            knowledge=scan.knowledge(finding.attack, finding.access),
        )
        for finding in judgement.findings
    )
    return schema.AuditRecord(
        tool=schema.Tool(version=__version__),
        command=command_line(scan),
        seed=scan.options.seed,
        policy=schema.Policy(
            name=policy.name,
            sha256=policy.sha256,
            rules=policy.rules_as_plain,
            alpha_fail=policy.alpha_fail,
            alpha_pass=policy.alpha_pass,
            release_context=policy.release_context,
        ),
        verdict=schema.Verdict(
            outcome=judgement.outcome,
            sentence=judgement.sentence,
            headline=judgement.headline,
            untested=judgement.untested,
            exit_code=judgement.exit_code,
        ),
        target=scan.describe_target(observed),
        data=_data(scan),
        environment=_environment(scan),
        controls=judgement.controls,
        findings=findings,
        collections=collection_claims(scan, observed, judgement.controls),
        inapplicable=inapplicable,
        **scan.sections(observed),
        attributes=attributes,
        extraction=extraction,
        rules=judgement.rules,
        coverage=coverage(findings, attributes, extraction),
        manifest=schema.Manifest(inputs=_inputs(scan), files={}),
    )


def command_line(scan: PreparedScan) -> str:
    """The command that repeats this scan, every path cut to its last component."""
    o = scan.options
    words = ["auditor scan model", shlex.quote(scan.target.name)]
    for flag in ("members", "nonmembers", "out", "policy", "config"):
        value = getattr(o, flag)
        if value is not None:
            words.append(f"--{flag} {shlex.quote(Path(value).resolve().name)}")
    words.append(f"--attacks {','.join(scan.attack_names)}")
    words += [f"--option {shlex.quote(option)}" for option in o.option]
    words += [f"--device {scan.device.type}", *scan.own_flags(), f"--seed {o.seed}"]
    if o.limit is not None:
        words.append(f"--limit {o.limit}")
    if o.allow_pickle:
        words.append("--allow-pickle")
    return " ".join(words)


def _data(scan: PreparedScan) -> schema.Data:
    splits = scan.splits
    repeats = dict(splits.repeats)
    return schema.Data(
        n_members=len(splits.members),
        n_nonmembers=len(splits.nonmembers),
        n_calibration=len(splits.calibration_members) + len(splits.calibration_nonmembers),
        members_sha256=_keyed_hash(scan, splits.members),
        nonmembers_sha256=_keyed_hash(scan, splits.nonmembers),
        unit="subject" if splits.has_subjects else "record",
        repeats={str(copies): count for copies, count in repeats.items()},
        n_repeated_members=sum(count for copies, count in repeats.items() if copies > 1),
        n_cross_split_dropped=splits.n_cross_split_dropped,
        n_withheld_members=splits.n_withheld_members,
        n_unreadable=splits.n_unreadable,
        n_near_duplicates_across=splits.n_near_duplicates_across,
        has_captions=scan.caption_source is not None,
        caption_source=scan.caption_source or "none",
        n_train=scan.config.n_train,
        notes=splits.notes,
    )


def _keyed_hash(scan: PreparedScan, records: tuple[Record, ...]) -> str:
    ids = sorted(scan.key.publish(record.id) for record in records)
    return hashlib.sha256("\n".join(ids).encode()).hexdigest()


def _inputs(scan: PreparedScan) -> dict[str, str]:
    return {
        "members (keyed)": _keyed_hash(scan, scan.splits.members),
        "nonmembers (keyed)": _keyed_hash(scan, scan.splits.nonmembers),
        "policy": scan.policy.sha256,
        "target": scan.target.key,
    }


def _environment(scan: PreparedScan) -> schema.Environment:
    usage, seconds = scan.usage, scan.seconds
    n_observed = usage.n_calls / max(scan.plan.calls_per_record, 1)
    observing = seconds.get("observe", 0.0) + seconds.get("controls", 0.0)
    observing += seconds.get("attribute inference", 0.0)
    return schema.Environment(
        started=scan.started,
        finished=datetime.now(UTC),
        device=device_name(scan.device),
        precision=scan.precision,
        batch_size=scan.batch_size,
        versions=versions(),
        seconds={stage: round(value, 3) for stage, value in seconds.items()},
        peak_memory_mb=round(peak_memory_mb(scan.device), 1),
        calls_per_record=scan.plan.calls_per_record,
        n_calls=usage.n_calls,
        n_calls_cached=usage.n_calls_cached,
        images_per_second=round(n_observed / observing, 2) if usage.n_calls else None,
        tester=scan.config.tester,
    )


def device_name(device: torch.device) -> str:
    """The device in words, such as `cuda (NVIDIA A100)`."""
    if device.type == "cuda":
        return f"cuda ({torch.cuda.get_device_name(device)})"
    return f"{device.type} ({platform.machine()}, {torch.get_num_threads()} threads)"


def versions() -> dict[str, str]:
    """Versions of Python and of what the figures depend on."""
    found = {"python": ".".join(map(str, sys.version_info[:3]))}
    for package in VERSIONED:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found
