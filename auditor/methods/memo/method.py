"""MEMO: expand only the deep layers for new classes, and charge models to the exemplars' budget.

Paper: Zhou, Wang, Ye, Zhan, "A Model or 603 Exemplars: Towards Memory-Efficient
Class-Incremental Learning", ICLR 2023, arXiv:2205.13218.
Claim: sharing shallow (generalised) blocks and adding deep (specialised) ones beats a single
network when exemplars are scarce, and at equal bytes the best choice depends on the budget.

Measured (digits, five tasks of two classes, 1,200 records; one thread of a 2-core x86 machine):
- (a) 20 exemplars, average accuracy over tasks: 0.862 against 0.668 of a single network, +0.193
  (sd 0.028, 3 seeds, about 20 seconds; +0.194, sd 0.039 over 5 seeds). Models are not equal in
  bytes there: 285,504 against 61,248.
- (b) equal bytes, pictures enlarged to 28x28, 3 seeds, about 2 minutes:
  | bytes | 70,000 | 85,000 | 110,000 | 160,000 | area |
  | single | 0.843 | 0.888 | 0.913 | 0.925 | 0.905 |
  | whole copies | 0.641 | 0.848 | 0.903 | 0.929 | 0.876 |
  | MEMO | 0.772 | 0.885 | 0.935 | 0.949 | 0.914 |
- Own question, 600 members of 1,200, 3 splits, 20 exemplars: AUC of replayed exemplars 0.83
  (0.65 for nonmembers that herding would have kept), of discarded members 0.52, of the newest
  task 0.55; in the single network 0.85, 0.51 and 0.56. Growing blocks changes little of it: what
  is replayed is remembered.

Our reading: no augmentation, as the digits' mirror images are others; the generalised block goes
on learning, as in the official command for CIFAR-100, though the code's own default freezes it.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from auditor.methods.claims import Check, ClaimResult, checked_trials, judge_claim
from auditor.methods.digits import N_POOL, digit_data
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
QUICK_POOL = 900
"""Records of the pool in a quick run."""
CONFIG = MemoConfig()
"""The small version: digits, five tasks of two classes, 20 exemplars."""


def default_data(quick: bool = False) -> MethodData:
    """Digits: 1,200 in the pool (900 if quick) and 597 for tests."""
    return digit_data(QUICK_POOL if quick else N_POOL)


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
    budget; quick leaves them out and takes fewer records.
    """
    from auditor.methods.memo.tradeoff import average_accuracy

    seeds = range(seed, seed + checked_trials(trials))
    data = default_data(quick)
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
