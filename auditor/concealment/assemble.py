"""From the figures of a concealment test to its record."""

from __future__ import annotations

import hashlib
import shlex
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from attacks.concealment.curve import FPR
from attacks.concealment.verdict import Answer
from attacks.extraction.distances import tiled_convention
from attacks.outcomes import EXIT_CODES
from attacks.results import Outcome
from auditor import __version__
from auditor.assemble import device_name, versions
from auditor.extraction.pictures import side_of
from auditor.families.diffusion import PRECISIONS
from auditor.memory import peak_memory_mb
from auditor.targets.description import describe
from reports import concealment_record as schema
from reports import record as shared

if TYPE_CHECKING:
    from auditor.concealment.scan import Concealed, ConcealmentScan
    from auditor.records import Record

OUTCOMES = {
    Answer.ERASED: Outcome.PASS,
    Answer.CONCEALED: Outcome.FAIL,
    Answer.INCONCLUSIVE: Outcome.INCONCLUSIVE,
    Answer.INVALID: Outcome.INVALID,
}
"""The answer as the outcome of an audit."""
UNTESTED = (
    "other attacks on the weights, such as fine-tuning or more steps; records that are not among "
    "those given; membership inference; how well the edited model still draws"
)


def assemble(
    scan: ConcealmentScan, found: Concealed, files: dict[str, str]
) -> schema.ConcealmentRecord:
    """The record of a test; files: SHA-256 of its tables."""
    c, targets = found.conclusion, scan.targets
    outcome = OUTCOMES[c.answer]
    reference = targets.get("reference")
    return schema.ConcealmentRecord(
        tool=shared.Tool(version=__version__),
        command=command_line(scan),
        seed=scan.options.seed,
        answer=c.answer.value,
        verdict=shared.Verdict(
            outcome=outcome,
            sentence=c.sentence,
            headline=_headline(found),
            untested=UNTESTED,
            exit_code=EXIT_CODES[outcome],
        ),
        conclusion=c,
        thresholds=schema.Thresholds(
            margin=scan.limits.margin,
            alpha=scan.limits.alpha,
            alpha_bound=scan.limits.alpha_bound,
            fpr=FPR,
        ),
        target=describe(targets["edited"]),
        original=describe(targets["original"]),
        reference=None if reference is None else describe(reference),
        records=_records(scan),
        setting=_setting(scan),
        curves=_curves(scan, found),
        members=_members(scan, found),
        zeros=_zeros(found),
        environment=_environment(scan),
        files=files,
    )


def command_line(scan: ConcealmentScan) -> str:
    """The command that repeats this test, every path cut to its last component."""
    o = scan.options
    words = ["auditor scan concealment", shlex.quote(scan.targets["edited"].name)]
    for role in ("original", "reference"):
        if role in scan.targets:
            words.append(f"--{role} {shlex.quote(scan.targets[role].name)}")
    for flag in ("members", "nonmembers", "out"):
        words.append(f"--{flag} {shlex.quote(Path(getattr(o, flag)).resolve().name)}")
    words.append(f"--steps {o.steps} --rate {o.rate:g} --draws {o.draws} --restarts {o.restarts}")
    words.append(f"--images {o.images} --sampling-steps {o.sampling_steps}")
    words.append(f"--guidance {o.guidance:g} --margin {o.margin:g}")
    target = scan.targets["edited"]
    words.append(f"--device {target.device.type} --precision {PRECISIONS[target.dtype]}")
    words.append(f"--batch-size {scan.batch_size} --seed {o.seed}")
    words += [f"--resolution {o.resolution}"] if o.resolution is not None else []
    words += [f"--limit {o.limit}"] if o.limit is not None else []
    return " ".join([*words, *(["--allow-pickle"] if o.allow_pickle else [])])


def _headline(found: Concealed) -> str:
    e, c = found.evidence, found.conclusion
    last, before, prompt = e.edited[-1], e.original[-1], e.edited[0]
    return (
        f"Recovered by embedding after {last.steps:,} steps: {last.n_recovered:,} of "
        f"{last.n_members:,} records from the edited model ({before.n_recovered:,} from the "
        f"original) and {last.n_nonmembers_recovered:,} of {last.n_nonmembers:,} never-seen ones; "
        f"by their prompts {prompt.n_recovered:,}. Upper bound {100 * c.bound:.3g} %."
    )


def _records(scan: ConcealmentScan) -> schema.TestedRecords:
    splits = scan.splits
    return schema.TestedRecords(
        n_members=len(splits.members),
        n_nonmembers=len(splits.nonmembers),
        n_fit=int(scan.is_fit.sum()),
        n_dropped=splits.n_cross_split_dropped + splits.n_near_duplicates_across,
        members_sha256=_keyed_hash(scan, splits.members),
        nonmembers_sha256=_keyed_hash(scan, splits.nonmembers),
        notes=splits.notes,
    )


def _keyed_hash(scan: ConcealmentScan, records: Sequence[Record]) -> str:
    ids = sorted(scan.publish(record) for record in records)
    return hashlib.sha256("\n".join(ids).encode()).hexdigest()


def _setting(scan: ConcealmentScan) -> schema.AttackSetting:
    s = scan.setting
    return schema.AttackSetting(
        steps=s.attack.steps,
        rate=s.attack.rate,
        draws=s.attack.draws,
        restarts=s.restarts,
        n_prompt_starts=s.n_prompt_starts,
        images=s.images,
        sampling_steps=s.sampling.steps,
        guidance=s.sampling.guidance,
        convention=f"{tiled_convention()} at {side_of(scan.targets['edited'])} pixels",
        calls_per_record=s.calls,
    )


def _curves(scan: ConcealmentScan, found: Concealed) -> tuple[schema.ModelCurve, ...]:
    e = found.evidence
    curves = [
        schema.ModelCurve(role="edited", starts="all", loss=e.edited_loss, stages=e.edited),
        schema.ModelCurve(role="original", starts="all", loss=e.original_loss, stages=e.original),
        schema.ModelCurve(role="original", starts="random", loss=e.original_loss, stages=e.control),
    ]
    if e.reference is not None:
        loss = found.measured["reference"].reach(scan.setting, scan.n_members).loss
        curves.append(
            schema.ModelCurve(role="reference", starts="all", loss=loss, stages=e.reference)
        )
    return tuple(curves)


def _members(scan: ConcealmentScan, found: Concealed) -> tuple[schema.RecordFigures, ...]:
    """One row a member, the nearest to the edited model's images first."""
    edited, original = found.measured["edited"], found.measured["original"]
    reference = found.measured.get("reference")
    nearest = edited.attacked.min(axis=(1, 2))
    best = edited.attacked.min(axis=2).argmin(axis=1)
    rows = []
    for i in np.argsort(nearest[: scan.n_members], kind="stable").tolist():
        record = scan.splits.members[i]
        rows.append(
            schema.RecordFigures(
                record_id=scan.publish(record),
                multiplicity=record.multiplicity,
                colour=record.colour,
                original_prompt=float(original.prompt[i]),
                original_attacked=float(original.attacked[i].min()),
                edited_prompt=float(edited.prompt[i]),
                edited_attacked=float(nearest[i]),
                edited_median=float(edited.median[i]),
                moved=float(edited.moved[i, best[i]]),
                is_proven=found.evidence.control[-1].is_recovered[i],
                came_back=_came_back(found, i),
                reference_attacked=None
                if reference is None
                else float(reference.attacked[i].min()),
            )
        )
    return tuple(rows)


def _came_back(found: Concealed, i: int) -> Literal["by prompt", "by embedding", "no"]:
    prompt, *attacked = found.evidence.edited
    if prompt.is_recovered[i]:
        return "by prompt"
    return "by embedding" if any(stage.is_recovered[i] for stage in attacked) else "no"


def _zeros(found: Concealed) -> schema.ZerosCheck:
    return schema.ZerosCheck(
        mask_disclosed=any(layer.is_disclosed for layer in found.zeros),
        n_zeros_original=sum(layer.n_original for layer in found.zeros),
        n_zeros_edited=sum(layer.n_edited for layer in found.zeros),
        layers=found.zeros,
        revived=found.evidence.revived,
    )


def _environment(scan: ConcealmentScan) -> shared.Environment:
    target, usage = scan.targets["edited"], scan.usage
    return shared.Environment(
        started=scan.started,
        finished=datetime.now(UTC),
        device=device_name(target.device),
        precision=PRECISIONS[target.dtype],
        batch_size=scan.batch_size,
        versions=versions(),
        seconds={stage: round(value, 3) for stage, value in scan.seconds.items()},
        peak_memory_mb=round(peak_memory_mb(target.device), 1),
        calls_per_record=scan.setting.calls,
        n_calls=usage.n_calls,
        n_calls_cached=usage.n_calls_cached,
        images_per_second=None,
    )
