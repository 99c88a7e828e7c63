"""Two audits of the same records, before and after a change of the model.

    audit.json, scores --read--> pairs --measure--> changes --conclude--> answer --render--> report

Differences are after minus before, paired record by record. A change is claimed where its interval
leaves zero out after one correction over all leak metrics; "no worse" is claimed where every upper
limit lies below a margin.
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from attacks.errors import UsageError
from attacks.statistics.paired_top import SWAPS
from auditor import __version__
from auditor.compare.answer import conclude, notes, warnings
from auditor.compare.measure import ALPHA, Changes, is_valid_side, measure
from auditor.compare.read import Audit, Paired, pair, read_audit
from auditor.progress import Progress
from reports import compare_record as schema

if TYPE_CHECKING:
    from auditor.compare.quality import QualityOptions

__all__ = ["MARGIN", "Comparison", "compare_audits"]

MARGIN = 0.02
"""Rise of an AUC that counts as no worse, unless another is given."""


@dataclass(frozen=True)
class Comparison:
    """What a comparison leaves behind."""

    record: schema.CompareRecord
    paths: dict[str, Path]
    """Format -> file; empty without an `out` folder."""


def compare_audits(
    before: Path,
    after: Path,
    *,
    margin: float = MARGIN,
    out: Path | None = None,
    seed: int = 0,
    swaps: int = SWAPS,
    quality: QualityOptions | None = None,
    progress: Progress | None = None,
) -> Comparison:
    """Compare two audits; the Python twin of `auditor compare`.

    before, after: an audit.json with its scores/ beside it, or the folder of one.
    margin: largest rise of an AUC that counts as no worse, in (0, 0.5).
    out: folder for compare.json, compare.md, compare.html and SHA256SUMS; None writes nothing.
    swaps: exchanges of the test on the members at the top.
    quality: the two diffusion models and real pictures, to show what the change costs.

    Raises UsageError (and its kinds) for audits that cannot be read, contradict themselves or do
    not pair.
    """
    if not 0 < margin < 0.5:
        raise UsageError(f"--margin must lie between 0 and 0.5, got {margin:g}")
    paired = pair(read_audit(Path(before), "BEFORE"), read_audit(Path(after), "AFTER"))
    changes = measure(paired, margin=margin, seed=seed, swaps=swaps)
    measured = None
    if quality is not None:
        from auditor.compare.quality import measure_quality

        measured = measure_quality(quality, progress or Progress())
    record = _assemble(
        paired, changes, _command(Path(before), Path(after), margin, seed), margin, swaps
    ).model_copy(update={"quality": measured})
    if out is None:
        return Comparison(record, {})
    from auditor.compare.outputs import write_outputs

    return Comparison(record, write_outputs(record, Path(out)))


def _assemble(
    paired: Paired, changes: Changes, command: str, margin: float, swaps: int
) -> schema.CompareRecord:
    before, after = paired.before, paired.after
    n_members = int(paired.is_member.sum())
    return schema.CompareRecord(
        tool=schema.Tool(version=__version__),
        command=command,
        conclusion=conclude(paired, changes, margin=margin),
        margin=margin,
        alpha=ALPHA,
        swaps=swaps,
        before=_side(before),
        after=_side(after),
        pairing=schema.Pairing(
            n_members=n_members,
            n_nonmembers=paired.is_member.size - n_members,
            n_before_alone=before.ids.size - paired.is_member.size,
            n_after_alone=after.ids.size - paired.is_member.size,
        ),
        rules=_rules(before, after),
        attacks=changes.attacks,
        before_alone=tuple(name for name in before.scores if name not in after.scores),
        after_alone=tuple(name for name in after.scores if name not in before.scores),
        extraction=changes.extraction,
        accuracy=changes.accuracy,
        warnings=warnings(paired, changes),
        notes=notes(paired, changes),
    )


def _side(audit: Audit) -> schema.Side:
    record = audit.record
    return schema.Side(
        name=record.target.name,
        architecture=record.target.architecture,
        audit_sha256=audit.sha256,
        finished=record.environment.finished.isoformat(timespec="seconds"),
        outcome=record.verdict.outcome,
        sentence=record.verdict.sentence,
        headline=record.verdict.headline,
        policy=record.policy.name,
        policy_sha256=record.policy.sha256,
        seed=record.seed,
        n_members=record.data.n_members,
        n_nonmembers=record.data.n_nonmembers,
        is_valid=is_valid_side(record),
    )


def _rules(before: Audit, after: Audit) -> tuple[schema.RulePair, ...]:
    first, second = (
        {rule.rule: rule.outcome for rule in audit.record.rules} for audit in (before, after)
    )
    names = dict.fromkeys([*first, *second])
    return tuple(
        schema.RulePair(rule=name, before=first.get(name), after=second.get(name)) for name in names
    )


def _command(before: Path, after: Path, margin: float, seed: int) -> str:
    names = (shlex.quote(path.resolve().name) for path in (before, after))
    return " ".join(["auditor compare", *names, f"--margin {margin:g}", f"--seed {seed}"])
