"""What a scan will cost and what it can decide, before it is run."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from attacks.statistics.power import reachable_verdicts
from auditor.controls.positive import DOSES, MIN_COMPARED, N_INJECTED
from auditor.controls.suite import MOST_RECORDS
from auditor.memory import is_out_of_memory, peak_memory_mb
from auditor.targets.diffusion import DiffusionTarget

if TYPE_CHECKING:
    from auditor.prepare import PreparedScan

TRAINING_COST = 3
"""Forward calls that one training step on one record is worth."""


@dataclass(frozen=True, slots=True)
class Outlook:
    """The answer of `--dry-run`."""

    attacks: tuple[str, ...]
    inapplicable: dict[str, str]
    """Attack -> why it cannot run."""
    n_members: int
    n_nonmembers: int
    n_calibration: int
    calls_per_record: int
    n_calls: int
    """Forward calls at most, in images, controls included; stored observations save some."""
    n_control_calls: int
    seconds: float
    """Expected wall seconds at the rate of a timed batch."""
    memory_mb: float
    """Peak memory after that batch."""
    batch_size: int
    device: str
    reachable: tuple[str, ...]
    """One sentence a rule: what these sample sizes can decide."""


def look_ahead(scan: PreparedScan) -> Outlook:
    """Time one batch on the loaded model and extrapolate."""
    splits, plan, policy = scan.splits, scan.plan, scan.policy
    n_calibration = len(splits.calibration_members) + len(splits.calibration_nonmembers)
    n_evaluated = len(splits.members) + len(splits.nonmembers)
    models = 2 if scan.reference is not None else 1
    n_target = models * n_evaluated * plan.calls_per_record + n_calibration * plan.calls_per_record
    doses = [dose for dose in DOSES if dose <= policy.accepted_dose]
    n_control = MOST_RECORDS * plan.calls_per_record * (1 + len(doses))
    n_training = TRAINING_COST * N_INJECTED * max(doses, default=1)
    seconds_a_call = _seconds_a_call(scan)
    rules = policy.rules
    reachable = reachable_verdicts(
        len(splits.members),
        len(splits.nonmembers),
        len(plan.configs),
        fpr=rules.identified.fpr,
        limit=rules.identified.limit,
        auc_limits=(rules.auc.lower, rules.auc.upper),
        alpha_fail=policy.alpha_fail,
        alpha_pass=policy.alpha_pass,
    )
    lines = [f"{r.rule}: {r.explanation}" for r in reachable]
    if len(splits.nonmembers) < N_INJECTED + MIN_COMPARED:
        lines.append(
            f"the positive control needs {N_INJECTED + MIN_COMPARED} nonmembers; "
            "without it nothing can PASS"
        )
    return Outlook(
        attacks=tuple(plan.configs),
        inapplicable={skipped.attack: skipped.reason for skipped in plan.inapplicable},
        n_members=len(splits.members),
        n_nonmembers=len(splits.nonmembers),
        n_calibration=n_calibration,
        calls_per_record=plan.calls_per_record,
        n_calls=n_target + n_control,
        n_control_calls=n_control,
        seconds=math.ceil((n_target + n_control + n_training) * seconds_a_call),
        memory_mb=peak_memory_mb(scan.target.device),
        batch_size=scan.executor.batch_size,
        device=str(scan.target.device),
        reachable=tuple(lines),
    )


def _seconds_a_call(scan: PreparedScan) -> float:
    """Wall seconds of one image in a batch of the planned size, the second time."""
    n = scan.executor.batch_size
    while True:
        try:
            return _time_batch(scan.target, n)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error) or n == 1:
                raise
            n //= 2


def _time_batch(target: DiffusionTarget, n: int) -> float:
    inputs = torch.zeros((n, *target.input_shape), device=target.device)
    timesteps = torch.full((n,), 1, device=target.device)
    conditioning = target.embed([""])
    if conditioning is not None:
        conditioning = conditioning.rows(torch.zeros(n, dtype=torch.long, device=target.device))
    for _ in range(2):
        began = time.perf_counter()
        target.predict(inputs, timesteps, conditioning).sum().item()
        passed = time.perf_counter() - began
    return passed / n
