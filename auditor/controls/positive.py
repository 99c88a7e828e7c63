"""The positive control: would each attack have seen a model that memorized known records?

Eighteen nonmembers are injected into a copy and compared with other nonmembers inside the copy.
An attack is caught at a dose if at least half of the injected records, at 95 % confidence, score
above the nonmembers' threshold of the PASS bound: 14 of 18. A family of targets makes the copies.

A copy counts only once its own training loss shows that it memorized what was injected: below .8
of what it was. Other readings of the losses were tried on small pixel models and left out. A mean
of the ratios at each timestep is within .02 of the ratio of the means: small timesteps do not hide
the fall, it is not there. The gap to the other records would also count what the copy *forgot* as
memory: with 384 steps at the same rate the loss on the injected records rose by 8 % and that on
the others by 85 %. A limit of .85 or .93 would only turn "not established" into "missed": at .83
and .90 no attack found more than 12 of 18. What can help is to train the copy better, which a
family may try several times.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from attacks.protocols import Tuning
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


class Training(NamedTuple):
    """One attempt to make a copy memorize."""

    attempt: int
    """1 for the plain recipe, 2 for the first repetition, and so on."""
    tuning: Tuning
    learning_rate: float


class DoseScores(NamedTuple):
    """A copy in which the injected records were seen `exposures` times."""

    exposures: int
    loss_before: float
    loss_after: float
    scores: Scores | None
    """Of the injected and then of the other records; None where the copy has not memorized yet:
    there is nothing to catch."""
    training: Training | None = None
    """How the copy was made, where that may change from one attempt to the next."""


def chosen_records(nonmembers: Sequence[Any], seed: int) -> list[Any]:
    """The records to inject, the first 18, and those to compare them with, at most 110."""
    return draw(nonmembers, N_INJECTED + N_COMPARED, seed, "positive")


def positive_control(
    doses: Iterable[DoseScores], attacks: Sequence[str], n_chosen: int, fpr: float
) -> PositiveControl:
    """Climb the doses and stop once every attack is caught.

    doses: ascending, made on demand, and again from the smallest for each further attempt;
    attacks: names that the scores have; n_chosen: records injected and compared, in all; fpr: of
    the policy's primary rule. With fewer than 38 records the control is not run, and no copy is
    made.
    """
    if n_chosen < N_INJECTED + MIN_COMPARED:
        summary = f"not run: it needs {N_INJECTED + MIN_COMPARED} nonmembers, there are {n_chosen}"
        return PositiveControl(ControlResult("positive", ControlStatus.NOT_RUN, summary), {})
    return _conclude(_climb(doses, attacks, n_chosen, fpr), n_chosen - N_INJECTED)


@dataclass(slots=True)
class _Ladder:
    caught_at: dict[str, int | None]
    above: dict[str, int]
    copies: list[DoseScores]
    """Every copy that was looked at, over all attempts."""
    established_at: int | None = None

    @property
    def last(self) -> DoseScores:
        """The copy that the figures are about: the last, or the one that memorized most."""
        if self.established_at is not None:
            return self.copies[-1]
        return min(self.copies, key=lambda copy: copy.loss_after)


def _climb(
    doses: Iterable[DoseScores], attacks: Sequence[str], n_chosen: int, fpr: float
) -> _Ladder:
    ladder = _Ladder(dict.fromkeys(attacks), dict.fromkeys(attacks, 0), [])
    is_injected = np.arange(n_chosen) < N_INJECTED
    for copy in doses:
        ladder.copies.append(copy)
        if copy.scores is None:
            continue
        ladder.established_at = ladder.established_at or copy.exposures
        for name, values in copy.scores.items():
            above = n_above(values[is_injected], values[~is_injected], fpr)
            ladder.above[name] = above
            if ladder.caught_at[name] is None and is_caught(above):
                ladder.caught_at[name] = copy.exposures
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
    if not ladder.copies:
        summary = "Control not established: the training of the copy diverged."
        result = ControlResult("positive", ControlStatus.NOT_RUN, summary)
        return PositiveControl(result, ladder.caught_at)
    last = ladder.last
    figures: dict[str, float | int | str | bool | None] = {
        "n_injected": N_INJECTED,
        "n_compared": n_compared,
        "largest_dose": last.exposures,
        "loss_before": last.loss_before,
        "loss_after": last.loss_after,
        "established_at": ladder.established_at,
    }
    figures |= _training_figures(ladder)
    figures |= {f"dose_{name}": dose for name, dose in ladder.caught_at.items()}
    figures |= {f"above_{name}": n for name, n in ladder.above.items()}
    caught = {name: dose for name, dose in ladder.caught_at.items() if dose is not None}
    losses = (
        f"loss on the injected records {last.loss_before:.3f} before, {last.loss_after:.3f} after "
        f"{last.exposures} exposures{_made(last.training)}"
    )
    if ladder.established_at is None:
        status = ControlStatus.NOT_RUN
        n = max((copy.training.attempt for copy in ladder.copies if copy.training), default=1)
        trained = f" in any of {n} trainings" if n > 1 else ""
        summary = (
            "Control not established: the copy did not memorize what was injected"
            f"{trained} ({losses})."
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


def _training_figures(ladder: _Ladder) -> dict[str, float | int | str | bool | None]:
    training = ladder.last.training
    if training is None:
        return {}
    return {
        "learning_rate": training.learning_rate,
        "rate_multiple": training.tuning.rate,
        "is_averaged": training.tuning.is_averaged,
        "n_trainings": max(copy.training.attempt for copy in ladder.copies if copy.training),
    }


def _made(training: Training | None) -> str:
    if training is None:
        return ""
    averaged = " and averaged weights" if training.tuning.is_averaged else ""
    return f" at learning rate {training.learning_rate:g}{averaged}"
