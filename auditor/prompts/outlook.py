"""What a scan of prompts will cost and what it can decide, before it is run."""

from __future__ import annotations

import math
from dataclasses import dataclass

from attacks.detection.flags import fewest_flaggable, references_for_one
from auditor.controls.positive import MIN_COMPARED, N_INJECTED, TRAINING_COST
from auditor.prompts.confirm import N_REFERENCES, N_SEEDS
from auditor.prompts.controls import MOST_PROMPTS, planned_doses
from auditor.prompts.scan import MOST_DRAWN, PromptScan
from auditor.targets.timing import seconds_per_call


@dataclass(frozen=True, slots=True)
class PromptOutlook:
    """The answer of `--dry-run`."""

    detectors: tuple[str, ...]
    n_prompts: int
    n_references: int
    references: str
    """Where the references come from."""
    calls_per_prompt: int
    n_calls: int
    """Forward calls at most, drawing and controls included."""
    seconds: float
    batch_size: int
    device: str
    reachable: tuple[str, ...]
    """What these numbers of prompts can decide."""


def look_ahead(scan: PromptScan) -> PromptOutlook:
    """Time a batch on the loaded model and extrapolate."""
    n, m = len(scan.suspects), len(scan.references)
    first_step = 2 * scan.watching.setting.seeds
    most = scan.policy.accepted_dose
    n_copies = 1 + len(planned_doses(most))
    n_calls = (n + m) * scan.watching.calls_per_prompt
    n_calls += (min(n, MOST_DRAWN) + N_REFERENCES) * N_SEEDS * scan.sampling.calls
    n_calls += MOST_PROMPTS * first_step * n_copies
    n_calls += N_INJECTED * (scan.sampling.calls + TRAINING_COST * most)
    fewest = fewest_flaggable(n, m)
    reachable = [
        f"flagged_prompts: {fewest:,} prompts must score above every reference to be flagged"
    ]
    if scan.is_built:
        reachable.append("PASS: never with references built from the prompts; pass --reference")
    elif fewest > 1:
        needed = references_for_one(n)
        reachable.append(f"PASS: needs {needed:,} reference prompts, so that one can be flagged")
    if not scan.is_built and m < N_INJECTED + MIN_COMPARED:
        reachable.append("PASS: the control with planted prompts needs more references")
    rate = seconds_per_call(scan.target, scan.executor.batch_size)
    return PromptOutlook(
        detectors=scan.watching.detectors,
        n_prompts=n,
        n_references=m,
        references=scan.reference_kind,
        calls_per_prompt=scan.watching.calls_per_prompt,
        n_calls=n_calls,
        seconds=float(math.ceil(n_calls * rate)),
        batch_size=scan.executor.batch_size,
        device=str(scan.target.device),
        reachable=tuple(reachable),
    )
