"""Accuracy against memory: one network, whole copies, and MEMO at equal bytes.

Source: MEMO section 3 and its figure 1: methods are compared along a curve of total memory, not
at one point. Exemplars must be large beside a block, or no budget is scarce: 28x28 pictures of
784 bytes against blocks of about 11 of them (the 8x8 digits, enlarged).
Our reading: every contestant keeps its backbone and fills the rest of the budget with exemplars,
and the area under a curve is the trapezoidal one divided by the range of the budgets.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from auditor.methods.classifiers import accuracy
from auditor.methods.digits import digit_data, enlarged
from auditor.methods.memo.backbones import build_backbone, n_parameters
from auditor.methods.memo.config import Growth, MemoConfig
from auditor.methods.memo.ledger import affordable_exemplars
from auditor.methods.memo.training import as_classifier, increments
from auditor.methods.protocol import MethodData

SIDE = 28
"""Pixels of an enlarged picture's side."""
BUDGETS = (70_000, 85_000, 110_000, 160_000)
"""Bytes of model and exemplars together; the smallest leaves whole copies one per class."""
CONTESTANTS: dict[str, Growth] = {"single": "none", "copies": "backbone", "memo": "specialised"}
"""Name of a curve -> what a new task adds."""


@dataclass(frozen=True, slots=True)
class CurvePoint:
    """One contestant at one budget."""

    budget_bytes: int
    """Bytes that model and exemplars may take."""
    n_exemplars: int
    """Exemplars that the budget leaves."""
    accuracies: tuple[float, ...]
    """Average accuracy over the tasks, one per seed."""

    @property
    def mean(self) -> float:
        """Mean over seeds."""
        return float(np.mean(self.accuracies))


def average_accuracy(
    data: MethodData, keep: NDArray[np.bool_], seed: int, config: MemoConfig
) -> NDArray[np.float64]:
    """(B,) accuracy over all classes seen so far, after each task."""
    return np.array(
        [
            accuracy(as_classifier(learner, data.pool), data.test, np.sort(learner.seen))
            for learner in increments(data.pool, keep, seed, config)
        ]
    )


def equal_bytes(budgets: Sequence[int], seeds: Sequence[int]) -> dict[str, tuple[CurvePoint, ...]]:
    """The curve of every contestant on enlarged digits, five tasks of two classes."""
    small = digit_data()
    data = MethodData(enlarged(small.pool, SIDE), enlarged(small.test, SIDE))
    keep = np.ones(len(data.pool), dtype=bool)
    curves = {}
    for name, growth in CONTESTANTS.items():
        config = MemoConfig(growth=growth, backbone="enlarged")
        points = []
        for budget in budgets:
            n = exemplars_within(budget, growth, n_tasks=5)
            tuned = replace(config, memory=n)
            scores = [float(average_accuracy(data, keep, s, tuned).mean()) for s in seeds]
            points.append(CurvePoint(budget, n, tuple(scores)))
        curves[name] = tuple(points)
    return curves


def exemplars_within(budget: int, growth: Growth, *, n_tasks: int) -> int:
    """Exemplars that a budget leaves beside the network after its last task."""
    backbone = build_backbone("enlarged")
    shared, block = n_parameters(backbone.generalised), n_parameters(backbone.specialised)
    parameters = {
        "none": shared + block,
        "backbone": n_tasks * (shared + block),
        "specialised": shared + n_tasks * block,
    }[growth]
    return affordable_exemplars(budget, parameters, SIDE * SIDE)


def area(points: Sequence[CurvePoint]) -> float:
    """Area under a curve divided by the range of its budgets: an average accuracy."""
    budgets = np.array([point.budget_bytes for point in points], dtype=np.float64)
    means = np.array([point.mean for point in points])
    return float(np.trapezoid(means, budgets) / (budgets[-1] - budgets[0]))
