"""From matches to figures: the limit of a copy, what was copied, and how alike the sets are."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from attacks.extraction.rates import rates_by_copies
from attacks.extraction.replication import replication, similarity_threshold
from attacks.extraction.results import CopyRate, Replication
from attacks.results import Estimate
from attacks.statistics.rates import share_estimate
from auditor.images.sets import ImageSets
from auditor.matching import Matcher, Matches
from auditor.policy import Rules
from auditor.progress import Progress
from auditor.records.identity import keyed_rank

MARGIN = 0.5
"""Our reading: a copy is at most half as far as the nearest pictures that are none."""
NEAREST_SHARE = 0.01
"""Share of the pictures that are no copies whose distance counts as nearest."""
N_OWN_NEIGHBOURS = 256
"""Training records whose own neighbours stand in where there are no held-out pictures."""


@dataclass(frozen=True, slots=True)
class CopyLimit:
    """The largest distance at which a picture is claimed as a copy."""

    value: float
    source: str
    """Where it comes from, in words."""
    n_fit: int
    """Pictures that it was taken from."""


@dataclass(frozen=True, slots=True)
class ImageFigures:
    """Everything that is reported."""

    limit: CopyLimit
    matches: Matches
    """Of the generated pictures."""
    is_copy: NDArray[np.bool_]
    """(n,) verified copies among them."""
    copied_groups: NDArray[np.int64]
    """Groups of training records that were copied, ascending."""
    copy_share: Estimate
    by_copies: tuple[CopyRate, ...]
    background_claimed: NDArray[np.bool_] | None
    """(b,) of the held-out pictures that no threshold was taken from; None without a background."""
    replication: Replication | None
    background_similarity: NDArray[np.float32] | None
    """(b,) of the same pictures."""


def fit_part(sets: ImageSets, seed: int) -> NDArray[np.bool_]:
    """(b,) True for the half of the held-out pictures that thresholds are taken from."""
    ranks = [keyed_rank("background", seed, record.pixels) for record in sets.background]
    fit = np.zeros(len(ranks), dtype=bool)
    fit[np.argsort(np.array(ranks, np.uint64), kind="stable")[::2]] = True
    return fit


def copy_limit(rules: Rules, distances: NDArray[np.float64], whose: str) -> CopyLimit:
    """At most the policy's distance, and half that of the nearest pictures that are no copies.

    distances: (m,) smallest distances of pictures that are no copies; whose: what they are.
    """
    most = rules.extracted.max_distance
    known = distances[np.isfinite(distances)]
    if not known.size:
        return CopyLimit(most, "the policy", 0)
    near = -similarity_threshold(-known, NEAREST_SHARE).value
    if MARGIN * near >= most:
        return CopyLimit(most, "the policy", known.size)
    source = f"half the distance of the nearest {100 * NEAREST_SHARE:g} % of {known.size:,} {whose}"
    return CopyLimit(MARGIN * near, source, known.size)


def own_neighbours(
    matcher: Matcher, sets: ImageSets, seed: int, progress: Progress
) -> NDArray[np.float64]:
    """(m,) distances of some training records to the nearest record of another group."""
    order = sorted(
        range(len(sets.training)), key=lambda i: keyed_rank("own", seed, sets.training[i].pixels)
    )
    chosen = sorted(order[:N_OWN_NEIGHBOURS])
    found = matcher.match(
        [sets.training[i] for i in chosen],
        progress,
        "comparing training records",
        groups=sets.groups,
        own=sets.groups[chosen],
    )
    return found.distance


def measure(
    sets: ImageSets,
    rules: Rules,
    limit: CopyLimit,
    generated: Matches,
    background: Matches | None,
    is_fit: NDArray[np.bool_] | None,
) -> ImageFigures:
    """All figures; is_fit: (b,) the held-out pictures that the limit was taken from."""
    is_copy = generated.distance <= limit.value
    copied = np.unique(sets.groups[generated.record[is_copy]])
    outcome = np.zeros(len(sets.copies), dtype=bool)
    outcome[copied] = True
    found, claimed, alike = None, None, None
    if background is not None and is_fit is not None:
        claimed = background.distance[~is_fit] <= limit.value
        alike = background.similarity[~is_fit]
        found = replication(
            generated.similarity,
            background.similarity,
            is_fit=is_fit,
            fpr=rules.replication.fpr,
        )
    return ImageFigures(
        limit=limit,
        matches=generated,
        is_copy=is_copy,
        copied_groups=copied,
        copy_share=share_estimate(is_copy),
        by_copies=rates_by_copies(sets.copies, outcome),
        background_claimed=claimed,
        replication=found,
        background_similarity=alike,
    )
