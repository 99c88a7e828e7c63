"""From the answers of models trained on random subsets to every figure of a data scan."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_softmax

from attacks.errors import DataError, Inapplicable, UnderPowered
from attacks.memorization import (
    GroupShare,
    InfluencePairs,
    Memorization,
    MemorizedRecords,
    SelfCheck,
    SplitHalf,
    SuppressionCost,
    influence_pairs,
    memorization,
    memorized_by_group,
    memorized_records,
    observed_coefficients,
    self_check,
    split_half,
    subpopulations,
    suppression_cost,
)
from attacks.results import Estimate
from auditor.shadows import ShadowSet

NO_GROUP = "no group"
"""What records without a value in the column of groups are called."""


@dataclass(frozen=True, slots=True)
class Names:
    """What the numbers of classes and groups in the reports stand for; private."""

    classes: dict[str, str]
    """Number such as `class 03` -> label."""
    groups: dict[str, str]
    """Number such as `group 2` -> value of the column."""

    @classmethod
    def of(cls, classes: Sequence[str], groups: Sequence[str]) -> Names:
        """Names of classes and groups in their order."""
        return cls(_numbered("class", classes), _numbered("group", groups))


def _numbered(noun: str, names: Sequence[str]) -> dict[str, str]:
    """Numbers of equal width, so that their texts sort as they do."""
    width = len(str(len(names)))
    return {f"{noun} {i + 1:0{width}d}": name for i, name in enumerate(names)}


def named_groups(
    groups: Sequence[str | None] | None, most: int
) -> tuple[NDArray[np.str_] | None, tuple[str, ...]]:
    """(n,) numbered groups and the names that the numbers stand for.

    Raises DataError for more groups than `most`.
    """
    if groups is None:
        return None, ()
    names = tuple(sorted({group for group in groups if group is not None}))
    if len(names) > most:
        raise DataError(
            f"the column of groups has {len(names)} different values; bin them into {most} at most"
        )
    number = {name: code for code, name in _numbered("group", names).items()}
    return np.array([NO_GROUP if g is None else number[g] for g in groups]), names


class Answers(NamedTuple):
    """What m models say about n records."""

    correct: NDArray[np.bool_]
    """(m, n) whether the class with the highest logit is the true one."""
    confidence: NDArray[np.float32]
    """(m, n) probability of the true class."""


def answers_of(logits: NDArray[np.float32], classes: NDArray[np.int64]) -> Answers:
    """Right answers and probabilities of the true class; logits: (m, n, k), one model at a time."""
    m, n = logits.shape[:2]
    correct, confidence = np.empty((m, n), dtype=bool), np.empty((m, n), dtype=np.float32)
    rows = np.arange(n)
    for i in range(m):
        one = np.asarray(logits[i], dtype=np.float64)
        correct[i] = one.argmax(axis=1) == classes
        confidence[i] = np.clip(np.exp(log_softmax(one, axis=1)[rows, classes]), 0, 1)
    return Answers(correct, confidence)


@dataclass(frozen=True, slots=True)
class Tail:
    """What it would cost not to memorize records that are alone in their subpopulation."""

    by: str
    """`class` or `group`."""
    sizes: NDArray[np.int64]
    """(c,) rows of each cluster; empty if they were not found."""
    tau_1: Estimate
    guess: float
    """Share of the most frequent class."""
    cost: SuppressionCost | None
    reason: str | None
    """Why there is no cost."""


@dataclass(frozen=True, slots=True)
class Measured:
    """Every figure about the records, in their order."""

    label: Memorization
    confidence: Memorization
    memorized: MemorizedRecords
    check: SelfCheck
    halves: SplitHalf
    breakdowns: dict[str, tuple[GroupShare, ...]]
    """`class`, `group`, `copies` -> shares of memorized records."""
    influence: InfluencePairs | None
    """None without a test set."""
    tails: tuple[Tail, ...]
    accuracy_in: float
    """Share of right answers about records that a model trained on."""
    accuracy_out: float
    """Share of right answers about the others."""


def measure(
    *,
    shadows: ShadowSet,
    classes: NDArray[np.int64],
    n_records: int,
    class_names: dict[str, str],
    groups: NDArray[np.str_] | None,
    multiplicity: NDArray[np.int64],
    points: NDArray[np.float64],
) -> Measured:
    """All figures.

    shadows: models asked about n records, then about t test records; classes: (n + t,) true ones.
    class_names: numbers of the classes, in their order. groups: (n,) numbered groups, if any.
    multiplicity: (n,) rows that each record stands for. points: (n, d) encoded features.

    Raises UnderPowered if no record has enough models.
    """
    n = n_records
    answers = answers_of(shadows.logits, classes)
    keep, correct = shadows.keep[:, :n], answers.correct[:, :n]
    label = memorization(keep, correct)
    class_of = np.array(list(class_names))[classes[:n]]
    by = {"class": class_of} | ({} if groups is None else {"group": groups})
    copies = np.where(multiplicity > 1, "several rows", "one row")
    tails = [_tail("class", class_of, class_of, class_of, points, multiplicity)]
    if groups is not None:
        cells = np.array([f"{c}\0{g}" for c, g in zip(class_of, groups, strict=True)])
        tails.append(_tail("group", groups, class_of, cells, points, multiplicity))
    return Measured(
        label=label,
        confidence=memorization(keep, answers.confidence[:, :n], soft=True),
        memorized=memorized_records(label),
        check=self_check(keep, correct),
        halves=_halves(keep, correct),
        breakdowns={k: memorized_by_group(label, v) for k, v in (by | {"copies": copies}).items()},
        influence=influence_pairs(keep, answers.correct[:, n:], classes[:n], classes[n:])
        if len(classes) > n
        else None,
        tails=tuple(tails),
        accuracy_in=float(correct[keep].mean()),
        accuracy_out=float(correct[~keep].mean()),
    )


def _halves(keep: NDArray[np.bool_], correct: NDArray[np.bool_]) -> SplitHalf:
    """Agreement of every other pair of models with the rest."""
    is_first = np.arange(len(keep)) // 2 % 2 == 0
    try:
        return split_half(keep, correct, is_first)
    except UnderPowered:
        reason = "a half of the models is too few for a figure about any record; train more"
        return SplitHalf(Estimate(None, None, None, reason), None, 0)


def _tail(
    by: str,
    groups: NDArray[np.str_],
    class_of: NDArray[np.str_],
    cells: NDArray[np.str_],
    points: NDArray[np.float64],
    multiplicity: NDArray[np.int64],
) -> Tail:
    """Subpopulations, the worth of those seen once, and who pays for not fitting them.

    Copies count: a cluster of one record that occurs twice was seen twice.
    """
    rows_of_class = np.bincount(np.unique(class_of, return_inverse=True)[1], weights=multiplicity)
    guess = float(rows_of_class.max() / multiplicity.sum())
    try:
        cluster = subpopulations(points, class_of, cells).cluster
    except Inapplicable as error:
        missing = Estimate(None, None, None, str(error))
        return Tail(by, np.zeros(0, np.int64), missing, guess, None, str(error))
    sizes = np.bincount(cluster, weights=multiplicity).astype(np.int64)
    first = np.unique(cluster, return_index=True)[1]
    tau_1 = observed_coefficients(sizes)[0]
    if tau_1.value is None:
        return Tail(by, sizes, tau_1, guess, None, tau_1.reason)
    cost = suppression_cost(sizes, groups[first], [min(1.0, tau_1.value)], guess=guess)
    return Tail(by, sizes, tau_1, guess, cost, None)
