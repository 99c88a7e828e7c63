"""Recovery curves: how many records come back at each budget, next to records never seen.

Idea: an image that an attack draws is a recovery if it comes at least twice as near to its record
    as the images drawn for records that the model never saw come to theirs, under the same attack.
    The threshold is taken from half of the never-seen records; the other half shows how often it
    is crossed without any memory. Without the factor, which extraction uses too, the nearest of a
    few never-seen records is a threshold that others cross by chance (measured: 6 of 25). Distances are the best so far, over starts, seeds and checkpoints,
    on both sides alike.
Source: rules 2, 4 and 5 of our notes on Kowalczuk et al., arXiv:2507.16880; thresholds from
    nonmembers are our choice, in place of a fixed similarity.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from attacks.errors import ShapeError, UnderPowered
from attacks.extraction.evidence import MOST_FACTOR
from attacks.extraction.replication import (
    FEWEST_BACKGROUND,
    excess_limits,
    excess_p_value,
    similarity_threshold,
)
from attacks.results import Estimate
from attacks.statistics.nearer import nearer_p_value
from attacks.statistics.rates import share_estimate

FPR = 0.01
"""Share of never-seen records that may count as recovered, where so many resolve it."""


@dataclass(frozen=True)
class Reach:
    """How near the images that one model draws come to the records; smaller is nearer."""

    prompt: NDArray[np.float64]
    """(n,) by the records' own captions: the nearest over seeds."""
    attacked: NDArray[np.float64]
    """(s, c, n) by embeddings of s starts at c checkpoints: the nearest over seeds."""
    is_random: NDArray[np.bool_]
    """(s,) which starts know nothing of the caption."""
    checkpoints: tuple[int, ...]
    """(c,) steps of the attack, ascending."""
    loss: float
    """Mean squared noise error on never-seen records with their captions; 1 for no prediction."""

    def __post_init__(self) -> None:
        s, c, n = self.attacked.shape
        if self.prompt.shape != (n,) or self.is_random.shape != (s,) or len(self.checkpoints) != c:
            raise ShapeError(
                f"expected {n} distances by prompt, {s} starts and {c} checkpoints, got "
                f"{self.prompt.shape}, {self.is_random.shape} and {len(self.checkpoints)}"
            )

    def best(self, *, random_alone: bool) -> NDArray[np.float64]:
        """(c, n) the nearest so far over the starts, at each checkpoint.

        random_alone: starts from the caption draw what the caption draws before the attack has
        done anything; without them, what is found was found by the attack.
        """
        starts = self.attacked[self.is_random] if random_alone else self.attacked
        if not len(starts):
            raise ShapeError("the attack needs at least one random start")
        found: NDArray[np.float64] = np.minimum.accumulate(starts.min(axis=0), axis=0)
        return found


@dataclass(frozen=True, slots=True)
class Stage:
    """One point of a recovery curve."""

    steps: int
    """Steps of the attack; 0 for the records' own captions, without an attack."""
    threshold: float
    """A record counts as recovered if an image comes nearer than this."""
    n_fit: int
    """Never-seen records that the threshold was taken from."""
    n_members: int
    n_recovered: int
    share: Estimate
    """n_recovered / n_members with its exact 95 % interval."""
    n_nonmembers: int
    """Never-seen records that are compared; those that set the threshold are not among them."""
    n_nonmembers_recovered: int
    nonmember_share: Estimate
    """n_nonmembers_recovered / n_nonmembers likewise."""
    excess: Estimate
    """share - nonmember_share with its 95 % interval (Newcombe 1998)."""
    p_value: float
    """One-sided, exact (Fisher): members are recovered no more often than never-seen records."""
    p_nearer: float
    """One-sided rank test over all distances: members come no nearer than never-seen records."""
    distances: tuple[float, float, float]
    """Quartiles of the members' distances."""
    nonmember_distances: tuple[float, float, float]
    """Quartiles of the distances of all never-seen records."""
    is_recovered: tuple[bool, ...]
    """(n_members,) which members count as recovered."""


def curve(
    reach: Reach,
    n_members: int,
    is_fit: NDArray[np.bool_],
    *,
    random_alone: bool = False,
    fpr: float = FPR,
) -> tuple[Stage, ...]:
    """The records' own captions, then every checkpoint.

    reach: of n_members members followed by the never-seen records; is_fit: which of the latter set
    the threshold, chosen without looking at distances; random_alone: as in `Reach.best`.
    Raises UnderPowered unless at least 20 never-seen records lie on each side of is_fit.
    """
    n_nonmembers = len(reach.prompt) - n_members
    if n_members < 1 or is_fit.shape != (n_nonmembers,):
        raise ShapeError(f"{is_fit.shape} marks do not fit {n_nonmembers} never-seen records")
    if min(is_fit.sum(), (~is_fit).sum()) < FEWEST_BACKGROUND:
        raise UnderPowered(
            f"{n_nonmembers} never-seen records are too few; give {2 * FEWEST_BACKGROUND} or more"
        )
    rows = (reach.prompt, *reach.best(random_alone=random_alone))
    return tuple(
        _stage(steps, row[:n_members], row[n_members:], is_fit, fpr)
        for steps, row in zip((0, *reach.checkpoints), rows, strict=True)
    )


def _stage(
    steps: int,
    members: NDArray[np.float64],
    nonmembers: NDArray[np.float64],
    is_fit: NDArray[np.bool_],
    fpr: float,
) -> Stage:
    limit = -MOST_FACTOR * similarity_threshold(-nonmembers[is_fit], fpr).value
    found, others = members < limit, nonmembers[~is_fit] < limit
    k, k_others = int(found.sum()), int(others.sum())
    low, high = excess_limits(k, found.size, k_others, others.size, confidence=0.95)
    return Stage(
        steps=steps,
        threshold=limit,
        n_fit=int(is_fit.sum()),
        n_members=found.size,
        n_recovered=k,
        share=share_estimate(found),
        n_nonmembers=others.size,
        n_nonmembers_recovered=k_others,
        nonmember_share=share_estimate(others),
        excess=Estimate(float(found.mean() - others.mean()), low, high),
        p_value=excess_p_value(k, found.size, k_others, others.size),
        p_nearer=nearer_p_value(members, nonmembers),
        distances=_quartiles(members),
        nonmember_distances=_quartiles(nonmembers),
        is_recovered=tuple(bool(one) for one in found),
    )


def _quartiles(values: NDArray[np.float64]) -> tuple[float, float, float]:
    low, middle, high = (float(q) for q in np.percentile(values, (25, 50, 75)))
    return low, middle, high
