"""MEMO: expand only the deep layers for new classes, and charge models to the exemplars' budget.

Paper: Zhou, Wang, Ye, Zhan, "A Model or 603 Exemplars: Towards Memory-Efficient
Class-Incremental Learning", ICLR 2023, arXiv:2205.13218.
Claim: sharing shallow (generalised) blocks and adding deep (specialised) ones beats a single
network when exemplars are scarce, and at equal bytes the best choice depends on the budget.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from auditor.methods.claims import Check, ClaimResult, checked_trials, judge_claim
from auditor.methods.digits import digit_data
from auditor.methods.findings import MethodFinding
from auditor.methods.memo.config import MemoConfig
from auditor.methods.protocol import MethodData, MethodManifest, Records

if TYPE_CHECKING:
    from auditor.methods.memo.training import MemoClassifier

MANIFEST = MethodManifest(
    name="memo",
    title="MEMO: memory-efficient class-incremental learning",
    family="classifier",
    reference="arXiv:2205.13218",
    claim="With few exemplars, one specialised block per task beats a single network on the "
    "average accuracy over all tasks.",
    privacy_question="Are the stored exemplars easier to recognise as members than discarded "
    "records and those of the newest task?",
)
FLOOR = 0.10
"""Smallest gain in average accuracy at 20 exemplars at which the claim holds."""
CONFIG = MemoConfig()
"""The small version: digits, five tasks of two classes, 20 exemplars."""


def default_data(quick: bool = False) -> MethodData:
    """Digits: 1,200 in the pool (600 if quick) and 597 for tests."""
    return digit_data(quick)


def train(
    records: Records, keep: NDArray[np.bool_], seed: int, config: MemoConfig = CONFIG
) -> MemoClassifier:
    """The classifier after its last task; `parts` as in `training.as_classifier`."""
    from auditor.methods.memo.training import as_classifier, increments

    *_, last = increments(records, keep, seed, config)
    return as_classifier(last, records)


def baseline(
    records: Records, keep: NDArray[np.bool_], seed: int, config: MemoConfig = CONFIG
) -> MemoClassifier:
    """One network for all tasks, with as many exemplars and the same weight alignment.

    Our reading: no distillation term, as MEMO has none.
    """
    return train(records, keep, seed, replace(config, growth="none"))


def claim(*, trials: int = 3, seed: int = 0, quick: bool = False) -> ClaimResult:
    """Average accuracy over five tasks at 20 exemplars, MEMO against the single network.

    Full also draws the curves at equal bytes (`tradeoff`), where no contestant may win at every
    budget; quick leaves them out.
    """
    from auditor.methods.memo.tradeoff import average_accuracy

    seeds = range(seed, seed + checked_trials(trials))
    data = default_data()
    keep = np.ones(len(data.pool), dtype=bool)
    single = replace(CONFIG, growth="none")
    ours = np.array([average_accuracy(data, keep, s, CONFIG) for s in seeds])
    theirs = np.array([average_accuracy(data, keep, s, single) for s in seeds])
    figures = {"last accuracy": float(ours[:, -1].mean())}
    figures["last accuracy of the baseline"] = float(theirs[:, -1].mean())
    checks: tuple[Check, ...] = ()
    if not quick:
        checks = (_at_equal_bytes(seeds, figures),)
    return judge_claim(
        "average accuracy over tasks at 20 exemplars",
        seeds,
        ours.mean(axis=1).tolist(),
        theirs.mean(axis=1).tolist(),
        floor=FLOOR,
        checks=checks,
        figures=figures,
    )


def _at_equal_bytes(seeds: range, figures: dict[str, float]) -> Check:
    """Whether the best contestant changes with the budget; the curves go into figures."""
    from auditor.methods.memo import tradeoff

    curves = tradeoff.equal_bytes(tradeoff.BUDGETS, seeds)
    for name, points in curves.items():
        figures[f"{name}: area under the curve"] = tradeoff.area(points)
        for point in points:
            figures[f"{name} at {point.budget_bytes} bytes"] = point.mean
    winners = {
        max(curves, key=lambda name: curves[name][i].mean) for i in range(len(tradeoff.BUDGETS))
    }
    return Check("the best choice at equal bytes depends on the budget", len(winners) > 1)


def own_question(
    trained: MemoClassifier, records: Records, keep: NDArray[np.bool_]
) -> tuple[MethodFinding, ...]:
    """Stored records and bytes, membership by kind of member, and whether the choice shows."""
    from auditor.methods.memo.question import own_question as answer

    return answer(trained, records, keep)
