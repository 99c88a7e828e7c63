"""Subsampled influence: which training record decides the answer about which test record?

Idea: compare the models that trained on record i with those that did not, by their answers about
test record j. Out of all pairs of the same class, those with a high influence are kept.
Citation: Feldman and Zhang, "What Neural Networks Memorize and Why", NeurIPS 2020,
arXiv:2008.03703.
Score: P(right about j | trained on i) - P(right about j | not), in [-1, 1]. Higher means that
training on i helps j more.
Cost: no training beyond that of memorization. One matrix product per block of pairs: the second
one of the published formula, over the models without i, is the total minus the first.
Invalid when: as for memorization. And there are n times n_test estimates, so that with few models
many pairs pass the threshold by chance: compare the threshold with `standard_error`, and look at
`is_sure`, which corrects for the number of pairs.

Keep the twins of paired halves next to each other (models 2j and 2j + 1): a test record that one
training record decides is then right with exactly one of them, which makes the error of its other
pairs larger by up to sqrt(2); standard errors and limits follow that.

Memory: keep and the answers as they are passed (one byte an entry for booleans), and three float
blocks that do not grow with the data. Nothing of size n_test x n is made, except by `influence_matrix`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from attacks.errors import DataError, ShapeError
from attacks.memorization._design import (
    Bools,
    Floats,
    Ints,
    blocks,
    checked_answers,
    checked_keep,
    compare_sides,
    counts,
    has_twins,
    masked,
    require_estimates,
)

HIGH_INFLUENCE = 0.15
"""Influence from which a pair is kept (Feldman and Zhang)."""
MAX_PAIRS = 100_000
"""Most pairs that are kept; the strongest."""
_BLOCK = 2048
_ELEMENTS = 1 << 22


@dataclass(frozen=True, slots=True, eq=False)
class InfluencePairs:
    """Pairs of a training and a test record of one class, the strongest first."""

    train: NDArray[np.int64]
    """(r,) positions of the training records."""
    test: NDArray[np.int64]
    """(r,) positions of the test records."""
    value: NDArray[np.float64]
    """(r,) influence, at least `threshold`; selected in single precision if soft."""
    standard_error: NDArray[np.float64]
    """(r,) plug-in standard error from the counts of the training record."""
    low: NDArray[np.float64]
    """(r,) lower limit (Newcombe) of the pair alone."""
    high: NDArray[np.float64]
    """(r,) upper limit."""
    is_sure: NDArray[np.bool_]
    """(r,) whether the pair influences at all once all pairs compared are corrected for."""
    threshold: float
    n_found: int
    """Pairs at or above the threshold; more than r only if `max_pairs` cut them off."""
    n_compared: int
    """Pairs of the same class whose training record has enough models."""
    n_train_refused: int
    """Training records left out because they have too few IN or OUT models."""
    pairs_per_test: NDArray[np.int64]
    """(n_test,) pairs found with each test record, cut off or not."""
    confidence: float
    """Two-sided level of low and high."""

    @property
    def n_test_affected(self) -> int:
        """Test records with at least one high-influence training record."""
        return int(np.count_nonzero(self.pairs_per_test))

    @property
    def n_test_affected_by_one(self) -> int:
        """Test records with exactly one."""
        return int(np.count_nonzero(self.pairs_per_test == 1))


def influence_matrix(
    keep: ArrayLike, correct_test: ArrayLike, *, soft: bool = False
) -> np.ma.MaskedArray:
    """(n_test, n) influence of every training record on every test record, in one piece.

    keep: (m, n) True where model m trained on record n.
    correct_test: (m, n_test) answers about test records; probabilities with `soft`.
    Columns of training records with fewer than 8 IN or OUT models are masked. Needs about
    30 n_test n bytes: for large data use `influence_pairs`.
    """
    trained = checked_keep(keep)
    answers = checked_answers(correct_test, trained.shape[0], "correct_test", soft=soft)
    n_in, n_out = counts(trained)
    known = require_estimates(n_in, n_out)
    values = _influence(trained, answers, n_in, n_out)
    return masked(values, np.broadcast_to(known, values.shape))


def self_influence(keep: Bools, answers: NDArray) -> Floats:
    """(n,) influence of each training record on itself: the diagonal, block by block.

    keep, answers: (m, n) as checked by the caller; every record has models on both sides.
    """
    n_in, n_out = counts(keep)
    out = np.empty(keep.shape[1])
    for b in blocks(keep.shape[1], _BLOCK // 8):
        out[b] = np.diagonal(_influence(keep[:, b], answers[:, b], n_in[b], n_out[b]))
    return out


def _influence(keep: Bools, answers: NDArray, n_in: Ints, n_out: Ints) -> Floats:
    """(n_test, n) influence of one block; counts up to 2^24 are exact in single precision."""
    right = answers.astype(np.float32)
    right_in = (right.T @ keep.astype(np.float32)).astype(np.float64)
    total = answers.sum(axis=0, dtype=np.float64)[:, None]
    return right_in / np.maximum(n_in, 1) - (total - right_in) / np.maximum(n_out, 1)


class _Found(NamedTuple):
    train: Ints
    test: Ints
    value: Floats


def influence_pairs(
    keep: ArrayLike,
    correct_test: ArrayLike,
    labels: ArrayLike,
    test_labels: ArrayLike,
    *,
    soft: bool = False,
    threshold: float = HIGH_INFLUENCE,
    max_pairs: int = MAX_PAIRS,
    confidence: float = 0.95,
) -> InfluencePairs:
    """All pairs of the same class with an influence of at least `threshold`.

    keep: (m, n) True where model m trained on record n.
    correct_test: (m, n_test) True where model m is right about a test record; with `soft` the
        probability that it gives the true label.
    labels, test_labels: (n,) and (n_test,) classes.
    max_pairs: keep only so many, the strongest; the counts still cover all.

    Raises ShapeError or DataError for arrays that do not fit, UnderPowered if every training
    record has fewer than 8 IN or 8 OUT models.
    Source: Feldman and Zhang 2020, infl_m; threshold and same-class rule as there.
    """
    trained = checked_keep(keep)
    answers = checked_answers(correct_test, trained.shape[0], "correct_test", soft=soft)
    classes = _checked_labels(labels, trained.shape[1], "labels")
    test_classes = _checked_labels(test_labels, answers.shape[1], "test_labels")
    if max_pairs < 1 or not 0 < threshold <= 1:
        raise DataError(
            f"expected max_pairs >= 1 and a threshold in (0, 1], got {max_pairs} and {threshold:g}"
        )
    known = require_estimates(*counts(trained))
    per_test = np.zeros(answers.shape[1], dtype=np.int64)
    kept = _Found(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0))
    n_compared = 0
    for train, test in _same_class_blocks(np.flatnonzero(known), classes, test_classes):
        n_compared += train.size * test.size
        found = _above(trained, answers, train, test, threshold)
        per_test += np.bincount(found.test, minlength=per_test.size)
        kept = _strongest(kept, found, max_pairs)
    sizes = _Sizes(int(per_test.sum()), n_compared, int(np.count_nonzero(~known)))
    return _with_limits(kept, trained, answers, threshold, confidence, sizes, per_test)


def _checked_labels(labels: ArrayLike, n: int, what: str) -> NDArray:
    array = np.asarray(labels)
    if array.shape != (n,):
        raise ShapeError(f"expected {what} of shape ({n},), got {array.shape}")
    return array


def _same_class_blocks(
    records: Ints, classes: NDArray, test_classes: NDArray
) -> Iterator[tuple[Ints, Ints]]:
    """Positions of training and test records of one class, at most 2048 of each at a time."""
    for label in np.unique(test_classes):
        train = records[classes[records] == label]
        test = np.flatnonzero(test_classes == label)
        for i in blocks(train.size, _BLOCK):
            for j in blocks(test.size, _BLOCK):
                yield train[i], test[j]


def _above(keep: Bools, answers: NDArray, train: Ints, test: Ints, threshold: float) -> _Found:
    block = keep[:, train]
    values = _influence(block, answers[:, test], *counts(block))
    rows, columns = np.nonzero(values >= threshold)
    return _Found(train[columns], test[rows], values[rows, columns])


def _strongest(kept: _Found, found: _Found, most: int) -> _Found:
    """Both together, sorted by value, then test, then train; at most `most`."""
    if found.value.size == 0:
        return kept
    train = np.concatenate([kept.train, found.train])
    test = np.concatenate([kept.test, found.test])
    value = np.concatenate([kept.value, found.value])
    order = np.lexsort((train, test, -value))[:most]
    return _Found(train[order], test[order], value[order])


class _Sizes(NamedTuple):
    n_found: int
    n_compared: int
    n_train_refused: int


def _with_limits(
    kept: _Found,
    keep: Bools,
    answers: NDArray,
    threshold: float,
    confidence: float,
    sizes: _Sizes,
    per_test: Ints,
) -> InfluencePairs:
    """Intervals of the pairs that were kept, in double precision."""
    columns = np.zeros((5, kept.value.size))
    twins = has_twins(keep)
    corrected = 1 - 0.05 / max(sizes.n_compared, 1)
    for b in blocks(kept.value.size, max(1, _ELEMENTS // keep.shape[0])):
        sides = compare_sides(keep[:, kept.train[b]], answers[:, kept.test[b]], twins=twins)
        sure = sides.limits(corrected).low > 0
        columns[:, b] = sides.difference, sides.standard_error, *sides.limits(confidence), sure
    return InfluencePairs(
        train=kept.train,
        test=kept.test,
        value=columns[0],
        standard_error=columns[1],
        low=columns[2],
        high=columns[3],
        is_sure=columns[4] > 0,
        threshold=threshold,
        n_found=sizes.n_found,
        n_compared=sizes.n_compared,
        n_train_refused=sizes.n_train_refused,
        pairs_per_test=per_test,
        confidence=confidence,
    )
