"""The positive control: would each attack have seen a model that memorized known records?

Eighteen nonmembers are injected into a copy and compared with other nonmembers inside the copy.
An attack is caught at a dose if at least half of the injected records, at 95 % confidence, score
above the nonmembers' threshold of the PASS bound: 14 of 18. A family of targets makes the copies.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from attacks.results import ControlResult, ControlStatus
from attacks.statistics.rates import clopper_pearson, nth_largest, pass_rank
from auditor.controls.sampling import draw
from auditor.scoring import Scores

N_INJECTED = 18
N_COMPARED = 110
DOSES = (1, 4, 16, 64)
MIN_COMPARED = 20
SENSITIVITY = 0.5
ESTABLISHED = 0.8
"""The copy's loss on the injected records must fall below this share of what it was."""
TRAINING_COST = 3
"""Forward calls that one training step on one record is worth."""


@dataclass(frozen=True, slots=True)
class PositiveControl:
    """Outcome of the positive control."""

    result: ControlResult
    caught_at: dict[str, int | None]
    """Attack -> smallest dose at which it was caught, None if at none."""


class DoseScores(NamedTuple):
    """A copy in which the injected records were seen `exposures` times."""

    exposures: int
    loss_before: float
    loss_after: float
    scores: Scores | None
    """Of the injected and then of the other records; None where the copy has not memorized yet:
    there is nothing to catch."""


def chosen_records(nonmembers: Sequence[Any], seed: int) -> list[Any]:
    """The records to inject, the first 18, and those to compare them with, at most 110."""
    return draw(nonmembers, N_INJECTED + N_COMPARED, seed, "positive")


def positive_control(
    doses: Iterable[DoseScores], attacks: Sequence[str], n_chosen: int, fpr: float
) -> PositiveControl:
    """Climb the doses and stop once every attack is caught.

    doses: ascending, made on demand; attacks: names that the scores have; n_chosen: records
    injected and compared, in all; fpr: of the policy's primary rule. With fewer than 38 records
    the control is not run, and no copy is made.
    """
    if n_chosen < N_INJECTED + MIN_COMPARED:
        summary = f"not run: it needs {N_INJECTED + MIN_COMPARED} nonmembers, there are {n_chosen}"
        return PositiveControl(ControlResult("positive", ControlStatus.NOT_RUN, summary), {})
    return _conclude(_climb(doses, attacks, n_chosen, fpr), n_chosen - N_INJECTED)


@dataclass(slots=True)
class _Ladder:
    caught_at: dict[str, int | None]
    above: dict[str, int]
    losses: dict[int, tuple[float, float]]
    established_at: int | None = None


def _climb(
    doses: Iterable[DoseScores], attacks: Sequence[str], n_chosen: int, fpr: float
) -> _Ladder:
    ladder = _Ladder(dict.fromkeys(attacks), dict.fromkeys(attacks, 0), {})
    is_injected = np.arange(n_chosen) < N_INJECTED
    for dose, before, after, scores in doses:
        ladder.losses[dose] = (before, after)
        if scores is None:
            continue
        ladder.established_at = ladder.established_at or dose
        for name, values in scores.items():
            above = n_above(values[is_injected], values[~is_injected], fpr)
            ladder.above[name] = above
            if ladder.caught_at[name] is None and is_caught(above):
                ladder.caught_at[name] = dose
        if all(dose is not None for dose in ladder.caught_at.values()):
            break
    return ladder


def is_established(loss_before: float, loss_after: float) -> bool:
    """Whether a copy's loss shows that it memorized what was injected."""
    return loss_after < ESTABLISHED * loss_before


def n_above(injected: NDArray[np.float64], others: NDArray[np.float64], fpr: float) -> int:
    """Injected records strictly above the threshold that the others set."""
    return int((injected > threshold_of(others, fpr)).sum())


def threshold_of(others: NDArray[np.float64], fpr: float) -> float:
    """The r-th largest of the others' scores, r as in the PASS bound."""
    return nth_largest(others, pass_rank(len(others), fpr).rank)


def is_caught(n: int, n_injected: int = N_INJECTED) -> bool:
    """Whether the two-sided 95 % lower limit of n of n_injected is at least one half."""
    return bool(clopper_pearson(n, n_injected).low >= SENSITIVITY)


def _conclude(ladder: _Ladder, n_compared: int) -> PositiveControl:
    if not ladder.losses:
        summary = "Control not established: the training of the copy diverged."
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
