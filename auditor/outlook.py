"""What a scan will cost and what it can decide, before it is run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from attacks.statistics.power import reachable_verdicts
from auditor.controls.positive import MIN_COMPARED, N_INJECTED
from auditor.memory import peak_memory_mb
from auditor.scoring import names_of

if TYPE_CHECKING:
    from auditor.prepare import PreparedScan


@dataclass(frozen=True, slots=True)
class Outlook:
    """The answer of `--dry-run`."""

    attacks: tuple[str, ...]
    options: tuple[str, ...]
    """Settings of attacks that differ from the configuration, as `--option` takes them."""
    inapplicable: dict[str, str]
    """Attack -> why it cannot run."""
    unit: Literal["record", "subject"]
    """What the verdict counts: a subject's score is the highest of its records."""
    n_members: int
    """Evaluated members, in units."""
    n_nonmembers: int
    n_calibration: int
    """Records set aside, to be fitted on or to distil on."""
    calls_per_record: int
    drawing_calls_per_record: int
    """Of these, to draw images; controls draw too."""
    n_calls: int
    """Forward calls at most, in images, controls included; stored observations save some."""
    n_control_calls: int
    seconds: float
    """Expected wall seconds at the rate of a timed batch."""
    seconds_again: float
    """Seconds more at most, if the copy of the positive control has to be trained again."""
    memory_mb: float
    """Peak memory after that batch."""
    batch_size: int
    device: str
    reachable: tuple[str, ...]
    """One sentence a rule: what these sample sizes can decide."""


def look_ahead(scan: PreparedScan) -> Outlook:
    """Time a sample of the work on the loaded model and extrapolate."""
    splits, plan = scan.splits, scan.plan
    expense = scan.expense()
    n_members, n_nonmembers = _units(scan)
    return Outlook(
        attacks=scan.attack_names,
        options=scan.options.option,
        inapplicable={skipped.attack: skipped.reason for skipped in plan.inapplicable},
        unit="subject" if splits.has_subjects else "record",
        n_members=n_members,
        n_nonmembers=n_nonmembers,
        n_calibration=len(splits.calibration_members) + len(splits.calibration_nonmembers),
        calls_per_record=plan.calls_per_record,
        drawing_calls_per_record=plan.drawing_calls_per_record,
        n_calls=expense.n_calls,
        n_control_calls=expense.n_control_calls,
        seconds=expense.seconds,
        seconds_again=expense.seconds_again,
        memory_mb=peak_memory_mb(scan.device),
        batch_size=scan.batch_size,
        device=str(scan.device),
        reachable=reachable(scan),
    )


def _units(scan: PreparedScan) -> tuple[int, int]:
    """Members and nonmembers as the verdict counts them: subjects, or records."""
    by_subject = scan.splits.has_subjects
    members, nonmembers = (
        len({record.subject if by_subject else record.id for record in side})
        for side in (scan.splits.members, scan.splits.nonmembers)
    )
    return members, nonmembers


def reachable(scan: PreparedScan) -> tuple[str, ...]:
    """One sentence a rule: what these sample sizes can decide."""
    splits, policy, drawn = scan.splits, scan.policy, scan.extraction_power()
    if drawn and not scan.plan.configs:
        return (drawn,)
    found = reachable_verdicts(
        *_units(scan),
        max(1, len(names_of(scan.plan))),
        fpr=policy.rules.identified.fpr,
        limit=policy.rules.identified.limit,
        auc_limits=(policy.rules.auc.lower, policy.rules.auc.upper),
        alpha_fail=policy.alpha_fail,
        alpha_pass=policy.alpha_pass,
    )
    lines = [f"{r.rule}: {r.explanation}" for r in found]
    if len(splits.nonmembers) < N_INJECTED + MIN_COMPARED:
        lines.append(
            f"the positive control needs {N_INJECTED + MIN_COMPARED} nonmembers; "
            "without it nothing can PASS"
        )
    return (*lines, drawn) if drawn else tuple(lines)
