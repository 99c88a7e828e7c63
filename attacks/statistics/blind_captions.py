"""The blind caption check: can suspect and reference prompts be told apart by their words alone?

A Bernoulli naive Bayes classifier reads the presence of words and punctuation and never sees a
model. Published lists of memorized and ordinary prompts are separable in this way, so that a
detector's success on them says nothing by itself. Prompts that begin with the same two words are
kept in one fold: lists repeat templates.

The p-value is that of the AUC under permuted labels. Where the groups are pure (every one has
suspects or references only), whole groups are permuted, since their prompts are not independent;
else single prompts are.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from attacks.errors import ShapeError, UnderPowered

FOLDS = 5
PERMUTATIONS = 999
MIN_PROMPTS = 20
"""Fewest prompts a side."""
MIN_GROUPS = 10
"""Fewest groups that can be folded; with fewer, single prompts are."""
MOST_IN_A_GROUP = 0.5
"""Share of all prompts that one group may have, for groups to be folded."""
_WORD = re.compile(r"[a-z0-9]+|[^\sa-z0-9]")
_CHUNK = 64


@dataclass(frozen=True, slots=True)
class CaptionCheck:
    """What the words alone say."""

    auc: float
    """Out-of-fold AUC of naive Bayes: suspects above references."""
    tpr_at_1: float
    """Share of suspects above the score that 1 % of references exceed."""
    p_value: float
    """Of an AUC as high under permuted labels."""
    is_grouped: bool
    """Whether prompts that share their first two words were kept in one fold."""
    n_groups: int
    """Distinct pairs of first two words."""
    n_suspects: int
    n_references: int


class _Fold(NamedTuple):
    rows: NDArray[np.int64]
    train: Any
    test: Any


def caption_check(
    prompts: Sequence[str],
    is_suspect: ArrayLike,
    *,
    rng: np.random.Generator,
    permutations: int = PERMUTATIONS,
) -> CaptionCheck:
    """Test whether words tell suspects from references.

    prompts: n texts; is_suspect: (n,). Raises UnderPowered below 20 prompts a side.
    """
    labels = np.asarray(is_suspect, dtype=bool)
    if labels.shape != (len(prompts),):
        raise ShapeError(f"expected {len(prompts)} labels, got an array of {labels.shape}")
    if min(labels.sum(), (~labels).sum()) < MIN_PROMPTS:
        raise UnderPowered(
            f"{labels.sum()} suspect and {(~labels).sum()} reference prompts are too few for a "
            f"caption check; it needs {MIN_PROMPTS} of each"
        )
    groups = first_words(prompts)
    sizes = np.bincount(groups)
    is_grouped = len(sizes) >= MIN_GROUPS and sizes.max() <= MOST_IN_A_GROUP * len(prompts)
    units = groups if is_grouped else np.arange(len(prompts))
    folds = _folds(presence(prompts), units, rng)
    relabelled = _relabelled(labels, units, permutations, rng)
    aucs = np.concatenate(
        [
            _aucs(naive_bayes(folds, chunk), chunk)
            for chunk in np.array_split(relabelled, -(-len(relabelled) // _CHUNK))
        ]
    )
    scores = naive_bayes(folds, labels[None])[0]
    return CaptionCheck(
        auc=float(aucs[0]),
        tpr_at_1=_tpr(scores[labels], scores[~labels]),
        p_value=float((aucs >= aucs[0] - 1e-12).sum() / len(aucs)),
        is_grouped=bool(is_grouped),
        n_groups=len(sizes),
        n_suspects=int(labels.sum()),
        n_references=int((~labels).sum()),
    )


def words(prompt: str) -> list[str]:
    """Lower-case runs of letters and digits, and single other characters."""
    return _WORD.findall(prompt.lower())


def first_words(prompts: Sequence[str]) -> NDArray[np.int64]:
    """(n,) number of the group of each prompt: those that share their first two words."""
    numbers: dict[tuple[str, ...], int] = {}
    return np.array(
        [numbers.setdefault(tuple(words(p)[:2]), len(numbers)) for p in prompts], dtype=np.int64
    )


def presence(prompts: Sequence[str]) -> Any:
    """(n, v) sparse 0/1 matrix: which of the v words each prompt has."""
    from scipy.sparse import csr_matrix

    numbers: dict[str, int] = {}
    rows, columns = [], []
    for i, prompt in enumerate(prompts):
        for word in dict.fromkeys(words(prompt)):
            rows.append(i)
            columns.append(numbers.setdefault(word, len(numbers)))
    shape = (len(prompts), max(1, len(numbers)))
    return csr_matrix((np.ones(len(rows)), (rows, columns)), shape=shape)


def _folds(matrix: Any, units: NDArray[np.int64], rng: np.random.Generator) -> list[_Fold]:
    """Folds of whole units, made without the labels."""
    fold_of = (rng.permutation(units.max() + 1) % FOLDS)[units]
    return [
        _Fold(np.flatnonzero(fold_of == k), matrix[fold_of != k], matrix[fold_of == k])
        for k in np.unique(fold_of)
    ]


def naive_bayes(folds: Sequence[_Fold], labels: NDArray[np.bool_]) -> NDArray[np.float64]:
    """(b, n) out-of-fold log-likelihood ratios for b labellings (b, n) at once.

    Bernoulli with Laplace smoothing of 1; the prior is left out, since it differs between folds.
    """
    out = np.empty(labels.shape)
    for rows, train, test in folds:
        is_train = np.ones(labels.shape[1], dtype=bool)
        is_train[rows] = False
        y = labels[:, is_train].astype(np.float64)  # (b, train)
        total = np.asarray(train.sum(axis=0))  # (1, v)
        present = (train.T @ y.T).T  # (b, v) suspects with the word
        n_suspects = y.sum(axis=1, keepdims=True)
        theta = (present + 1) / (n_suspects + 2)
        other = (total - present + 1) / (y.shape[1] - n_suspects + 2)
        absent = np.log1p(-theta) - np.log1p(-other)
        weights = np.log(theta) - np.log(other) - absent
        out[:, rows] = (test @ weights.T).T + absent.sum(axis=1, keepdims=True)
    return out


def _relabelled(
    labels: NDArray[np.bool_], units: NDArray[np.int64], n: int, rng: np.random.Generator
) -> NDArray[np.bool_]:
    """(1 + n, ...) the labels, then permuted ones: of whole units where these are pure."""
    suspects = np.bincount(units, weights=labels)
    sizes = np.bincount(units)
    if ((suspects == 0) | (suspects == sizes)).all():
        of_unit = suspects > 0
        drawn = [of_unit, *(rng.permutation(of_unit) for _ in range(n))]
        return np.stack(drawn)[:, units]
    return np.stack([labels, *(rng.permutation(labels) for _ in range(n))])


def _aucs(scores: NDArray[np.float64], labels: NDArray[np.bool_]) -> NDArray[np.float64]:
    """(b,) AUC of each row."""
    from scipy.stats import rankdata

    n_first = labels.sum(axis=1)
    n_second = labels.shape[1] - n_first
    ranks = rankdata(scores, axis=1)
    wins = (ranks * labels).sum(axis=1) - n_first * (n_first + 1) / 2
    return np.asarray(wins / np.maximum(n_first * n_second, 1))


def _tpr(suspects: NDArray[np.float64], references: NDArray[np.float64]) -> float:
    threshold = np.sort(references)[::-1][int(0.01 * len(references))]
    return float((suspects > threshold).mean())
