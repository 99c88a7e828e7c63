"""The judgement of a paper's claim: one effect per seed, and a rule that is stated with it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from attacks.errors import UsageError

MIN_TRIALS = 3
"""Fewest seeds of a claim."""
ALPHA = 0.05
"""One-sided error of the lower limit of the mean effect."""


@dataclass(frozen=True, slots=True)
class Check:
    """A side condition of a claim that holds or does not."""

    name: str
    """What must hold, in words."""
    passed: bool
    """Whether it does."""


@dataclass(frozen=True, slots=True)
class ClaimResult:
    """A paper's effect, measured: the method against the same model without the mechanism."""

    metric: str
    """What is measured, with its unit; higher is better."""
    seeds: tuple[int, ...]
    """Seed of each trial."""
    method: tuple[float, ...]
    """The metric of the method, one per seed."""
    baseline: tuple[float, ...]
    """The metric of the baseline, one per seed."""
    mean: float
    """Mean over seeds of method minus baseline."""
    sd: float
    """Standard deviation of that difference over seeds."""
    low: float
    """One-sided 95 % lower limit of the mean difference (Student's t over seeds)."""
    floor: float
    """Smallest mean difference at which the claim holds."""
    holds: bool
    """Whether the rule below is met."""
    rule: str
    """The rule, in words."""
    description: str
    """One sentence with the figures."""
    checks: tuple[Check, ...] = ()
    """Side conditions, all of which the rule needs."""
    figures: Mapping[str, float] = field(default_factory=dict)
    """Further figures by name, for the report."""

    @property
    def effects(self) -> tuple[float, ...]:
        """Method minus baseline, one per seed."""
        return tuple(a - b for a, b in zip(self.method, self.baseline, strict=True))


def checked_trials(trials: int) -> int:
    """The number of seeds; raises UsageError below three."""
    if trials < MIN_TRIALS:
        raise UsageError(f"a claim needs at least {MIN_TRIALS} trials, got {trials}")
    return trials


def judge_claim(
    metric: str,
    seeds: Sequence[int],
    method: Sequence[float],
    baseline: Sequence[float],
    *,
    floor: float,
    checks: Sequence[Check] = (),
    figures: Mapping[str, float] | None = None,
) -> ClaimResult:
    """The claim holds if the mean effect reaches the floor, is above 0, and every check passes.

    method, baseline: the metric per seed, higher is better; floor: in the metric's unit.
    """
    from scipy import stats  # slow to import, and listing methods imports this module

    trials = checked_trials(len(seeds))
    effects = np.asarray(method, dtype=np.float64) - np.asarray(baseline, dtype=np.float64)
    mean, sd = float(effects.mean()), float(effects.std(ddof=1))
    low = mean - float(stats.t.isf(ALPHA, trials - 1)) * sd / math.sqrt(trials)
    failed = [check.name for check in checks if not check.passed]
    rule = (
        f"the mean difference over seeds is at least {floor:g}, its one-sided 95 % lower limit "
        "is above 0" + "".join(f", and {check.name}" for check in checks)
    )
    description = (
        f"{metric}: {np.mean(method):.3f} with the mechanism against {np.mean(baseline):.3f} "
        f"without, a difference of {mean:+.3f} (sd {sd:.3f}, {trials} seeds)"
        + "".join(f"; not met: {name}" for name in failed)
    )
    return ClaimResult(
        metric=metric,
        seeds=tuple(int(s) for s in seeds),
        method=tuple(float(v) for v in method),
        baseline=tuple(float(v) for v in baseline),
        mean=mean,
        sd=sd,
        low=low,
        floor=floor,
        holds=mean >= floor and low > 0 and not failed,
        rule=rule,
        description=description,
        checks=tuple(checks),
        figures=dict(figures or {}),
    )
