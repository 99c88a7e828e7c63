"""Figures of the leak: every model's, and method against baseline over trials.

A trial is one value, the mean of its two halves. Trials share the records of one pool, so their
interval speaks for these data and not for others. Within a half, DeLong's paired interval compares
the two models on the same records.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from attacks.results import Estimate
from attacks.statistics.auc import auc, paired_difference
from attacks.statistics.means import share_interval, t_interval
from attacks.statistics.rates import share_estimate, tpr_at_fpr
from auditor.comparison.design import HALVES, Design
from auditor.comparison.scores import CALIBRATED, all_scores
from reports import method_record as schema

FPR = 0.01
KINDS: tuple[schema.Kind, ...] = ("method", "baseline")
GROUPS: tuple[schema.Group, ...] = ("ordinary", "canaries")
PRIMARY: tuple[str, schema.Group] = (CALIBRATED, "ordinary")
"""The comparison that the answer rests on, fixed before any score is seen."""
NAMES = {"ordinary": "ordinary records", "canaries": "canaries"}


@dataclass(frozen=True, slots=True, eq=False)
class Measured:
    """What the models of one kind answered."""

    phi: NDArray[np.float64]
    """(trials, 2, n) centred signal on the pool."""
    correct: NDArray[np.bool_]
    """(trials, 2, n_test) whether a test record is classified rightly."""


@dataclass(frozen=True, slots=True, eq=False)
class Scored:
    """The scores of both kinds of models."""

    design: Design
    scores: Mapping[schema.Kind, Mapping[str, NDArray[np.float64]]]
    """Kind -> attack -> (trials, 2, n)."""

    def sides(
        self, kind: schema.Kind, attack: str, group: schema.Group, trial: int, half: int
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Scores of the members and of the nonmembers of one group."""
        inside = self.design.keep[trial, half]
        among = self.design.is_canary if group == "canaries" else ~self.design.is_canary
        values = self.scores[kind][attack][trial, half]
        return values[among & inside], values[among & ~inside]


def scored(measured: Mapping[schema.Kind, Measured], design: Design) -> Scored:
    """All scores of both kinds."""
    return Scored(design, {kind: all_scores(m.phi, design) for kind, m in measured.items()})


def measure_leak(measured: Mapping[schema.Kind, Measured], one: Scored) -> schema.Leak:
    """Every figure of the comparison."""
    attacks = tuple(one.scores["method"])
    accuracy = {kind: m.correct.mean(axis=(1, 2)) for kind, m in measured.items()}
    return schema.Leak(
        models=tuple(
            _model(kind, measured[kind], one, trial, half)
            for trial in range(len(one.design.keep))
            for half in range(HALVES)
            for kind in KINDS
        ),
        comparisons=tuple(
            _comparison(one, attack, group) for group in GROUPS for attack in attacks
        ),
        utility=schema.Utility(
            method=share_interval(accuracy["method"]),
            baseline=share_interval(accuracy["baseline"]),
            difference=t_interval(accuracy["method"] - accuracy["baseline"]),
        ),
        canaries_found={
            kind: share_estimate(canary_pairs(m.phi, one.design)) for kind, m in measured.items()
        },
    )


def canary_pairs(phi: NDArray[np.float64], design: Design) -> NDArray[np.bool_]:
    """(trials * canaries,) whether the model trained on a canary is surer of its wrong label.

    phi: (trials, 2, n). The other model is its twin, of the same seed. Which of the two it is was
    decided by fair coins, so without memory these are fair coins too; ties count as not found.
    """
    gap = phi[:, 0] - phi[:, 1]
    in_first = design.keep[:, 0]
    return np.where(in_first, gap > 0, gap < 0)[:, design.is_canary].ravel()


def _model(
    kind: schema.Kind, measured: Measured, one: Scored, trial: int, half: int
) -> schema.TrainedModel:
    figures = []
    for group in GROUPS:
        for attack in one.scores[kind]:
            members, nonmembers = one.sides(kind, attack, group, trial, half)
            figures.append(
                schema.AttackFigures(
                    attack=attack,
                    group=group,
                    auc=auc(members, nonmembers).interval(),
                    tpr=tpr_at_fpr(members, nonmembers, FPR),
                    n_members=len(members),
                    n_nonmembers=len(nonmembers),
                )
            )
    return schema.TrainedModel(
        kind=kind,
        trial=trial + 1,
        half=half + 1,
        seed=one.design.seeds[trial],
        accuracy=share_estimate(measured.correct[trial, half]),
        attacks=tuple(figures),
    )


def _comparison(one: Scored, attack: str, group: schema.Group) -> schema.Comparison:
    n_trials = len(one.design.keep)
    areas = {
        kind: np.array(
            [
                [auc(*one.sides(kind, attack, group, t, h)).value for h in range(HALVES)]
                for t in range(n_trials)
            ]
        ).mean(axis=1)
        for kind in KINDS
    }
    per_trial = areas["method"] - areas["baseline"]
    difference = t_interval(per_trial)
    answer = in_words(difference)
    return schema.Comparison(
        attack=attack,
        group=group,
        is_primary=(attack, group) == PRIMARY,
        method=share_interval(areas["method"]),
        baseline=share_interval(areas["baseline"]),
        difference=difference,
        per_trial=tuple(per_trial.tolist()),
        pairs=tuple(
            _pair(one, attack, group, t, h) for t in range(n_trials) for h in range(HALVES)
        ),
        answer=answer,
        sentence=_sentence(answer, attack, group, difference, n_trials),
    )


def _pair(one: Scored, attack: str, group: schema.Group, trial: int, half: int) -> schema.PairedAuc:
    ours, theirs = (one.sides(kind, attack, group, trial, half) for kind in KINDS)
    found = paired_difference((ours[0], theirs[0]), (ours[1], theirs[1]))
    return schema.PairedAuc(
        trial=trial + 1,
        half=half + 1,
        difference=Estimate(found.value, found.low, found.high),
        p_value=found.p_value,
    )


def in_words(difference: Estimate) -> schema.Answer:
    """What an interval of method minus baseline says; undecided while it holds 0."""
    if difference.low is not None and difference.low > 0:
        return "leaks more"
    if difference.high is not None and difference.high < 0:
        return "leaks less"
    return "undecided"


def _sentence(
    answer: schema.Answer, attack: str, group: schema.Group, difference: Estimate, n_trials: int
) -> str:
    what = {
        "leaks more": "the method leaks more than its baseline",
        "leaks less": "the method leaks less than its baseline",
        "undecided": "whether the method leaks more or less than its baseline is undecided",
    }[answer]
    return (
        f"By {attack} on {NAMES[group]}, {what}: AUC {difference.value:+.3f} "
        f"({difference.low:+.3f} to {difference.high:+.3f}, {n_trials} trials)."
    )
