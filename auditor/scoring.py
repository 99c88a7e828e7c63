"""Scores of every planned attack from one set of observations."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from attacks.errors import Inapplicable, InternalError
from attacks.observations import Calibration, Observations
from attacks.registry import attack
from attacks.results import PlannedAttack
from auditor.observe.plan import Plan

Scores = dict[str, NDArray[np.float64]]
"""Attack name -> (n,) scores, higher is more likely a member."""


DATASET = "dataset inference"
"""Kind of the attacks that judge a collection as a whole."""


def names_of(plan: Plan, kind: str = "membership") -> tuple[str, ...]:
    """The attacks of a plan that make one kind of claim."""
    return tuple(name for name in plan.configs if attack(name).MANIFEST.kind == kind)


def score_all(
    plan: Plan, observations: Observations, calibration: Calibration | None
) -> tuple[Scores, tuple[PlannedAttack, ...]]:
    """Scores of single records by attack, and the attacks that turned out not to be applicable.

    Raises InternalError if an attack returns something other than finite scores (n,).
    """
    scores: Scores = {}
    dropped: list[PlannedAttack] = []
    n_records = len(next(iter(observations.values()))) if plan.configs else 0
    for name in names_of(plan):
        config = plan.configs[name]
        try:
            found = np.asarray(attack(name).score(observations, config, calibration), dtype=float)
        except Inapplicable as reason:
            dropped.append(PlannedAttack(name, str(reason)))
            continue
        if found.shape != (n_records,) or not np.isfinite(found).all():
            raise InternalError(f"attack '{name}' did not return {n_records} finite scores")
        scores[name] = found
    return scores, tuple(dropped)


def blind_twins(plan: Plan, observations: Observations, calibration: Calibration | None) -> Scores:
    """Scores of the blind twins of attacks that have one: the same classifier without the target."""
    twins: Scores = {}
    for name, config in plan.configs.items():
        twin = getattr(attack(name), "blind_twin", None)
        if twin is None:
            continue
        try:
            twins[name] = np.asarray(twin(observations, config, calibration), dtype=float)
        except Inapplicable:  # the attack itself has said why
            continue
    return twins


def difference(scores: Scores, reference: Scores) -> Scores:
    """Scores calibrated by the same attack on a reference model that saw neither split."""
    return {name: values - reference[name] for name, values in scores.items() if name in reference}


def calibrated(name: str) -> str:
    """Name of the variant of an attack that is paired with the reference model."""
    return f"{name}-vs-reference"


def with_reference(scores: Scores, reference: Scores | None) -> Scores:
    """Scores, and beside each the one paired with the reference model, if there is one."""
    if reference is None:
        return scores
    paired = difference(scores, reference)
    return scores | {calibrated(name): values for name, values in paired.items()}
