"""The positive control: would each attack have seen a model that memorized known records?

Eighteen nonmembers are injected into a fine-tuned copy and compared with other nonmembers inside
the copy. An attack is caught at a dose if at least half of the injected records, at 95 %
confidence, score above the nonmembers' threshold of the PASS bound: 14 of 18.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from attacks.observations import Calibration, Observations
from attacks.protocols import Dose
from attacks.results import ControlResult, ControlStatus
from attacks.statistics.rates import clopper_pearson, nth_largest, pass_rank
from auditor.controls.sampling import draw
from auditor.observe.cache import Cache, shard_key
from auditor.observe.executor import LocalExecutor
from auditor.observe.plan import Plan
from auditor.records import Record
from auditor.scoring import Scores, calibrated, difference, score_all
from auditor.targets.diffusion import DiffusionTarget
from auditor.targets.finetuning import RECIPE

N_INJECTED = 18
N_COMPARED = 110
DOSES = (1, 4, 16, 64)
MIN_COMPARED = 20
SENSITIVITY = 0.5
ESTABLISHED = 0.8
"""The copy's loss on the injected records must fall below this share of what it was."""


@dataclass(frozen=True, slots=True)
class PositiveControl:
    """Outcome of the positive control."""

    result: ControlResult
    caught_at: dict[str, int | None]
    """Attack -> smallest dose at which it was caught, None if at none."""


@dataclass(frozen=True, slots=True)
class Setting:
    """What the control shares with the scan."""

    target: DiffusionTarget
    executor: LocalExecutor
    cache: Cache
    plan: Plan
    calibration: Calibration | None
    seed: int
    max_dose: int
    """The largest dose that the policy accepts."""
    fpr: float
    """False-positive rate of the policy's primary rule."""


def positive_control(
    setting: Setting, nonmembers: Sequence[Record], reference: Scores | None = None
) -> PositiveControl:
    """Inject, fine-tune dose by dose, score, and stop once every attack is caught.

    reference: scores of the same nonmembers on a reference model, in their order, for calibrated
    variants. With fewer than 38 nonmembers the control cannot be run.
    """
    chosen = draw(nonmembers, N_INJECTED + N_COMPARED, setting.seed, "positive")
    if len(chosen) < N_INJECTED + MIN_COMPARED:
        summary = (
            f"not run: it needs {N_INJECTED + MIN_COMPARED} nonmembers, there are {len(chosen)}"
        )
        return PositiveControl(ControlResult("positive", ControlStatus.NOT_RUN, summary), {})
    subset = None
    if reference is not None:
        place = {record.id: i for i, record in enumerate(nonmembers)}
        index = [place[record.id] for record in chosen]
        subset = {name: values[index] for name, values in reference.items()}
    ladder = _climb(setting, chosen, subset)
    return _conclude(setting, ladder, len(chosen) - N_INJECTED)


@dataclass(slots=True)
class _Ladder:
    caught_at: dict[str, int | None]
    above: dict[str, int]
    losses: dict[int, tuple[float, float]]
    established_at: int | None = None


def _climb(setting: Setting, chosen: Sequence[Record], reference: Scores | None) -> _Ladder:
    names = [*setting.plan.configs]
    if reference is not None:
        names += [calibrated(name) for name in setting.plan.configs]
    ladder = _Ladder({name: None for name in names}, {name: 0 for name in names}, {})
    is_injected = np.arange(len(chosen)) < N_INJECTED
    for dose, before, after, observations in _observed_doses(setting, chosen):
        ladder.losses[dose] = (before, after)
        if observations is None:
            continue
        ladder.established_at = ladder.established_at or dose
        scores, _ = score_all(setting.plan, observations, setting.calibration)
        if reference is not None:
            paired = difference(scores, reference)
            scores |= {calibrated(name): values for name, values in paired.items()}
        for name, values in scores.items():
            above = n_above(values[is_injected], values[~is_injected], setting.fpr)
            ladder.above[name] = above
            if ladder.caught_at[name] is None and is_caught(above):
                ladder.caught_at[name] = dose
        if all(dose is not None for dose in ladder.caught_at.values()):
            break
    return ladder


class _ObservedDose(NamedTuple):
    exposures: int
    loss_before: float
    loss_after: float
    observations: Observations | None
    """None where the copy has not memorized yet: there is nothing to catch."""


def _observed_doses(setting: Setting, chosen: Sequence[Record]) -> Iterator[_ObservedDose]:
    """Each dose with its observations; the copy is trained only if something is not stored yet."""
    doses = [dose for dose in DOSES if dose <= setting.max_dose] or [setting.max_dose]
    names = shard_key([record.id for record in chosen])
    copies: Iterator[Dose] | None = None
    for dose in doses:
        recipe = f"planted {names} {N_INJECTED} {dose} {RECIPE} {setting.seed}"
        cache = setting.cache.derived(recipe)
        facts = cache.facts()
        known = None
        if facts and is_established(facts["before"], facts["after"]):
            known = setting.executor.recall(chosen, setting.plan.requests, cache)
        if facts and (known is not None or not is_established(facts["before"], facts["after"])):
            yield _ObservedDose(dose, facts["before"], facts["after"], known)
            continue
        copies = copies or _train(setting, chosen[:N_INJECTED], doses)
        copy = next(found for found in copies if found.exposures == dose)
        before, after = copy.loss_before, copy.loss_after
        if not math.isfinite(after):
            return  # training diverged: the control is not established
        found = None
        if is_established(before, after):
            found = setting.executor.observe(copy.predictor, chosen, setting.plan.requests, cache)
        cache.store_facts({"before": before, "after": after})
        yield _ObservedDose(dose, before, after, found)


def _train(setting: Setting, injected: Sequence[Record], doses: Sequence[int]) -> Iterator[Dose]:
    target = setting.target
    inputs = target.prepare([record.open() for record in injected])
    embedded = target.embed([record.caption or "" for record in injected])
    rows = torch.arange(len(injected), device=target.device)
    conditioning = None if embedded is None else embedded.rows(rows)
    return target.finetune(
        inputs,
        conditioning,
        doses=doses,
        seed=setting.seed,
        batch_size=setting.executor.batch_size,
    )


def is_established(loss_before: float, loss_after: float) -> bool:
    """Whether a copy's loss shows that it memorized what was injected."""
    return loss_after < ESTABLISHED * loss_before


def n_above(injected: NDArray[np.float64], others: NDArray[np.float64], fpr: float) -> int:
    """Injected records strictly above the r-th largest other score, r as in the PASS bound."""
    threshold = nth_largest(others, pass_rank(len(others), fpr).rank)
    return int((injected > threshold).sum())


def is_caught(n: int, n_injected: int = N_INJECTED) -> bool:
    """Whether the two-sided 95 % lower limit of n of n_injected is at least one half."""
    return bool(clopper_pearson(n, n_injected).low >= SENSITIVITY)


def _conclude(setting: Setting, ladder: _Ladder, n_compared: int) -> PositiveControl:
    if not ladder.losses:
        summary = "Control not established: fine-tuning the copy diverged."
        result = ControlResult("positive", ControlStatus.NOT_RUN, summary)
        return PositiveControl(result, ladder.caught_at)
    last = max(ladder.losses)
    before, after = ladder.losses[last]
    figures: dict[str, float | int | str | bool | None] = {
        "n_injected": N_INJECTED,
        "n_compared": n_compared,
        "largest_dose": last,
        "loss_before": before,
        "loss_after": after,
        "established_at": ladder.established_at,
    }
    figures |= {f"dose_{name}": dose for name, dose in ladder.caught_at.items()}
    figures |= {f"above_{name}": n for name, n in ladder.above.items()}
    caught = {name: dose for name, dose in ladder.caught_at.items() if dose is not None}
    losses = f"loss on the injected records {before:.3f} before, {after:.3f} after {last} exposures"
    if ladder.established_at is None:
        status = ControlStatus.NOT_RUN
        summary = (
            f"Control not established: the copy did not memorize what was injected ({losses})."
        )
    elif not caught:
        status = ControlStatus.FAILED
        summary = (
            f"No attack found at least 14 of {N_INJECTED} injected records ({losses}); "
            "this scan could miss a leak, so nothing may pass."
        )
    else:
        status = (
            ControlStatus.PASSED if len(caught) == len(ladder.caught_at) else ControlStatus.WARNING
        )
        found = ", ".join(f"{name} at {dose}" for name, dose in caught.items())
        missed = [name for name, dose in ladder.caught_at.items() if dose is None]
        summary = f"Injected records were found (exposures needed: {found}; {losses})."
        if missed:
            summary += f" Missed by {', '.join(missed)}: these support no PASS."
    return PositiveControl(ControlResult("positive", status, summary, figures), ladder.caught_at)
