"""The blind baseline: can members be told from nonmembers without the model?

Where a classifier that never sees the model separates the two sets, an attack on the model may be
reading the same difference, and neither its success nor its failure says anything about
memorization: published benchmark sets fail in this way (Das, Zhang, Tramer, arXiv 2406.16201;
Meeus et al., arXiv 2406.17975; Liang and You, arXiv 2410.03640).

Three kinds of evidence, all calibrated by permuting membership over units (records, or the data
subjects that group them):

- `ridge:*`: one ridge regression per feature block, scored out of fold. Folds ignore the labels
  and the scores are linear in them, so all refits under permutation are a few matrix products.
- label-free scores, such as the compressed size, read from both ends: their AUC, and the tail
  statistic K_3 (units strictly beyond the third most extreme nonmember), because a membership
  audit gates on the tail, and a handful of odd members there hardly moves an average.
- `boosted`: trees fitted on one half of the units and permuted on the other.

Each classifier's AUC is standardised by the mean and deviation of its own permuted values. The
ridges and the label-free scores share every permutation, so that the maximum over them has an
exact p-value; the boosted model, which cannot be refitted per permutation, has its own exact
p-value and joins by a weighted Bonferroni step. Any cutoff on `p` has at most its nominal level
where membership was assigned at random to the units.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import scipy.stats
from numpy.typing import ArrayLike, NDArray

from attacks.errors import ShapeError, UnderPowered
from attacks.statistics.relabelling import (
    ROWS,
    Bools,
    Floats,
    p_of_first,
    relabellings,
    row_aucs,
    score_aucs,
    standardised,
    tail_counts,
)
from attacks.wording import plural

MIN_UNITS = 20
"""Fewest units a side. 5 + 5 have 252 relabellings, which cannot resolve .005; 20 + 20 can."""

PERMUTATIONS = 1_999
"""Random relabellings of the joint test; the boosted model, cheap to permute, has four times more."""

FOLDS = 5
RIDGE = 0.03
"""Ridge penalty per training record; a block's columns have a total variance of 1 (see `unit_block`)."""

BOOSTED_SHARE = 0.2
"""Share of the error rate of `p_z` that is spent on the boosted model."""


@dataclass(frozen=True, slots=True, eq=False)
class BlindResult:
    """What the features alone say about membership."""

    p: float
    """min(1, 2 min(p_z, p_tail)), in (0, 1]."""
    p_z: float
    """Joint permutation p of the largest standardised AUC over all classifiers and scores."""
    p_tail: float
    """Joint permutation p of the largest K_3 over the label-free scores and both ends."""
    auc: dict[str, float]
    """Classifier or score -> AUC, out of fold or held out; below .5 where low scores are members'."""
    z: dict[str, float]
    """Same keys -> AUC in permutation deviations from its permutation mean."""
    tail: dict[str, int]
    """`score:high` and `score:low` -> K_3 in units."""
    n_members: int
    """Member records."""
    n_nonmembers: int
    """Nonmember records."""
    n_units: int
    """Units that were permuted: subjects, or records where none are named."""
    record_scores: Floats = field(repr=False)
    """(n,) blind score of each record, out of fold, all blocks together; higher is member."""

    @property
    def strongest(self) -> str:
        """The classifier or score whose AUC stands out most."""
        one_sided = ("ridge:", "boosted")
        size = {k: v if k.startswith(one_sided) else abs(v) for k, v in self.z.items()}
        return max(size, key=lambda name: size[name])


def blind_test(
    blocks: Mapping[str, ArrayLike],
    scores: Mapping[str, ArrayLike],
    is_member: ArrayLike,
    *,
    rng: np.random.Generator,
    groups: ArrayLike | None = None,
    n_permutations: int = PERMUTATIONS,
) -> BlindResult:
    """Test whether features that never saw the model predict membership.

    blocks: name -> (n, d) finite features; each is a classifier; `all` joins them and the ranks of the scores.
    scores: name -> (n,) finite label-free scores, such as the compressed size.
    is_member: (n,) whether a record was declared a member.
    groups: (n,) data subjects; the records of one must share their label. They are folded and
        permuted together, and count once in the tail (by their most extreme record).

    The order of the records enters through the folds and the permutation stream alone: sort by a
    content id to make the result independent of it. Features must be made without the labels;
    scaling by all records is fine. Cost on one core: 1 s at 1,200 records, 14 s at
    10,000 with captions.
    Raises UnderPowered below 20 units a side, ShapeError where the arrays do not fit.
    """
    labels = np.asarray(is_member, dtype=bool)
    units, unit_labels = label_units(labels, groups)
    made = {name: unit_block(_checked(name, b, labels.size, 2)) for name, b in blocks.items()}
    fixed = {name: _checked(name, s, labels.size, 1) for name, s in scores.items()}
    nothing = np.zeros((labels.size, 0))
    ranked = np.column_stack([nothing, *map(scipy.stats.rankdata, fixed.values())])
    made["all"] = np.hstack([nothing, *made.values(), unit_block(ranked)])
    folds = (rng.permutation(unit_labels.size) % FOLDS)[units]
    unit_half = rng.permutation(unit_labels.size) % 2 == 0
    relabelled = relabellings(unit_labels, n_permutations, rng)

    record_labels = relabelled[:, units]
    aucs = {f"ridge:{k}": ridge_aucs(b, record_labels, folds) for k, b in made.items()}
    aucs |= {name: score_aucs(s, record_labels) for name, s in fixed.items()}
    z = {name: standardised(values) for name, values in aucs.items()}
    evidence = [np.abs(v) if name in fixed else v for name, v in z.items()]
    p_joint = p_of_first(np.max(evidence, axis=0))

    half_aucs = _boosted_aucs(made["all"], units, unit_labels, unit_half, n_permutations, rng)
    aucs["boosted"], z["boosted"] = half_aucs, standardised(half_aucs)
    p_z = min(1.0, p_joint / (1 - BOOSTED_SHARE), p_of_first(half_aucs) / BOOSTED_SHARE)

    tails = _tails(fixed, units, relabelled)
    p_tail = p_of_first(np.max(list(tails.values()), axis=0)) if tails else 1.0
    return BlindResult(
        p=min(1.0, 2 * min(p_z, p_tail)),
        p_z=p_z,
        p_tail=p_tail,
        auc={name: float(values[0]) for name, values in aucs.items()},
        z={name: float(values[0]) for name, values in z.items()},
        tail={name: int(k[0]) for name, k in tails.items()},
        n_members=int(labels.sum()),
        n_nonmembers=int((~labels).sum()),
        n_units=int(unit_labels.size),
        record_scores=ridge_scores(ridge_folds(made["all"], folds), labels[None, :])[0],
    )


def unit_block(features: Floats) -> Floats:
    """(n, d) features centred and scaled together to a total variance of 1; constant ones give 0."""
    centred = features - features.mean(axis=0)
    total = float(np.sum(centred.var(axis=0)))
    return centred / np.sqrt(total) if total > 0 else np.zeros_like(centred)


class RidgeFold(NamedTuple):
    """A ridge regression that is ready for any labels of its training records."""

    held_out: Bools
    """(n,) records that this fold scores."""
    mean: Floats
    """(d,) mean of the training records."""
    inverse: Floats
    """(d, d) inverse of the penalised Gram matrix of the centred training records."""
    block: Floats
    """(n, d) features of all records."""


def ridge_folds(block: Floats, folds: NDArray[np.int64]) -> list[RidgeFold]:
    """Factor one ridge per fold; block: (n, d), folds: (n,) fold numbers that ignore the labels."""
    ready = []
    for fold in np.unique(folds):
        held_out = folds == fold
        mean = block[~held_out].mean(axis=0)
        centred = block[~held_out] - mean
        penalty = RIDGE * len(centred) * np.eye(block.shape[1])
        inverse = np.linalg.inv(centred.T @ centred + penalty)
        ready.append(RidgeFold(held_out, mean, inverse, block))
    return ready


def ridge_scores(ready: Sequence[RidgeFold], labels: Bools) -> Floats:
    """(b, n) out-of-fold ridge scores for b labellings at once; higher is more likely a member.

    labels: (b, n). The score is (x - mean) w without the intercept, whose fold mean would be
    lowest in the folds that hold most members.
    """
    y = labels.astype(float)
    out = np.empty_like(y)
    total = y @ ready[0].block
    for held_out, mean, inverse, block in ready:
        train = total - y[:, held_out] @ block[held_out]
        train -= np.outer(y[:, ~held_out].sum(axis=1), mean)
        out[:, held_out] = (train @ inverse) @ (block[held_out] - mean).T
    return out


def ridge_aucs(block: Floats, labels: Bools, folds: NDArray[np.int64]) -> Floats:
    """(b,) out-of-fold AUC of a ridge regression for each of b labellings (b, n)."""
    ready = ridge_folds(block, folds)
    chunks = (labels[i : i + ROWS] for i in range(0, len(labels), ROWS))
    return np.concatenate([row_aucs(ridge_scores(ready, chunk), chunk) for chunk in chunks])


def _tails(
    scores: Mapping[str, Floats], units: NDArray[np.int64], relabelled: Bools
) -> dict[str, NDArray[np.int64]]:
    """K_3 of every score and end for every labelling of the units (b, u)."""
    tails = {}
    for name, values in scores.items():
        for end, sign in (("high", 1.0), ("low", -1.0)):
            extreme = np.full(relabelled.shape[1], -np.inf)
            np.maximum.at(extreme, units, sign * values)
            tails[f"{name}:{end}"] = tail_counts(extreme, relabelled)
    return tails


def _boosted_aucs(
    features: Floats,
    units: NDArray[np.int64],
    unit_labels: Bools,
    unit_half: Bools,
    n_permutations: int,
    rng: np.random.Generator,
) -> Floats:
    """AUCs on one half of the units of trees fitted on the other: declared labels, then permuted."""
    from sklearn.ensemble import HistGradientBoostingClassifier

    fitted, held_out = unit_half[units], ~unit_half[units]
    inside = np.cumsum(~unit_half) - 1  # number of a held-out unit among the held-out units
    labels = relabellings(unit_labels[~unit_half], 4 * n_permutations + 3, rng)
    labels = labels[:, inside[units[held_out]]]
    target = unit_labels[units][fitted]
    if target.all() or not target.any() or features.shape[1] == 0:
        return np.full(len(labels), 0.5)
    trees = HistGradientBoostingClassifier(
        max_iter=40,
        max_leaf_nodes=8,
        max_bins=64,
        learning_rate=0.15,
        early_stopping=False,
        random_state=int(rng.integers(2**31)),
    )
    trees.fit(features[fitted], target)
    return score_aucs(trees.decision_function(features[held_out]), labels)


def label_units(labels: Bools, groups: ArrayLike | None) -> tuple[NDArray[np.int64], Bools]:
    """(n,) unit number of each record and (u,) label of each unit; UnderPowered if too few."""
    if labels.ndim != 1:
        raise ShapeError(f"expected is_member of shape (n,), got {labels.shape}")
    units = np.arange(labels.size)
    if groups is not None:
        named = np.asarray(groups)
        if named.shape != labels.shape:
            raise ShapeError(f"expected groups of shape {labels.shape}, got {named.shape}")
        _, first, units = np.unique(named, return_index=True, return_inverse=True)
        units = np.argsort(np.argsort(first))[units]  # numbered by first record, not by name
    unit_labels = np.zeros(units.max(initial=-1) + 1, dtype=bool)
    unit_labels[units] = labels
    if not np.array_equal(unit_labels[units], labels):
        raise ShapeError("a group holds members and nonmembers; give each side its own groups")
    members = int(unit_labels.sum())
    if min(members, unit_labels.size - members) < MIN_UNITS:
        raise UnderPowered(
            f"{plural(members, 'member')} and {plural(unit_labels.size - members, 'nonmember')} are too few for a "
            f"blind baseline; it needs {MIN_UNITS} on each side"
        )
    return units, unit_labels


def _checked(name: str, values: ArrayLike, n: int, ndim: int) -> Floats:
    array = np.asarray(values, dtype=float)
    if array.ndim != ndim or len(array) != n:
        expected = "(n, d)" if ndim == 2 else "(n,)"
        raise ShapeError(f"expected '{name}' of shape {expected}, n = {n}, got {array.shape}")
    if not np.all(np.isfinite(array)):
        raise ShapeError(f"'{name}' has values that are not finite; replace or drop them")
    return array
