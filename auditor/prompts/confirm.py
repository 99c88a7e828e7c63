"""Confirms flagged prompts: are their generations from different seeds the same picture?

A clique of near-identical generations (tiled distance) is evidence without any training image. A
model may also draw every prompt alike, so the threshold is tightened by reference prompts, and the
share of these that would be confirmed is reported.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from attacks.extraction.cliques import find_cliques
from attacks.extraction.distances import Distances, tiled_convention, tiled_rms_matrix
from auditor.observe.generation import SHARD_DRAWS, GenerationExecutor
from auditor.prompts.reading import Prompt
from auditor.targets.sampling import Draw, Sampling

N_SEEDS = 8
"""Generations of a prompt."""
SMALLEST = 4
"""Members of a clique that confirm."""
NEAR = 0.10
"""Largest tiled distance of near-identical generations: our reading."""
TYPICAL_SHARE = 0.5
"""They must also be closer than this share of the median distance of reference prompts."""
N_REFERENCES = 12
"""Reference prompts that are drawn."""


@dataclass(frozen=True, slots=True)
class Confirmation:
    """What the generations of one prompt say."""

    clique: int
    """Generations in the largest clique of at least four, 0 if there is none."""
    median_distance: float
    """Median tiled distance between two generations."""

    @property
    def is_confirmed(self) -> bool:
        """Whether enough generations are near-identical."""
        return self.clique >= SMALLEST


@dataclass(frozen=True, slots=True)
class Confirmations:
    """All prompts that were drawn."""

    by_id: dict[str, Confirmation]
    """Prompt id -> its outcome."""
    threshold: float
    convention: str
    n_references: int
    n_references_confirmed: int
    """Reference prompts whose generations are near-identical too."""


def confirm(
    executor: GenerationExecutor,
    candidates: Sequence[Prompt],
    references: Sequence[Prompt],
    sampling: Sampling,
    noises: Sequence[int],
) -> Confirmations:
    """Draw candidates and some references with the same noises, and look for cliques."""
    chosen = list(references[:N_REFERENCES])
    among = _among(executor, chosen, sampling, noises)
    typical = float(np.median([_median(one.values) for one in among])) if among else np.inf
    threshold = min(NEAR, TYPICAL_SHARE * typical)
    found = [_outcome(one.values, threshold) for one in among]
    drawn = _among(executor, candidates, sampling, noises)
    outcomes = [_outcome(one.values, threshold) for one in drawn]
    return Confirmations(
        by_id={p.id: one for p, one in zip(candidates, outcomes, strict=True)},
        threshold=threshold,
        convention=tiled_convention(),
        n_references=len(chosen),
        n_references_confirmed=sum(one.is_confirmed for one in found),
    )


def _among(
    executor: GenerationExecutor,
    prompts: Sequence[Prompt],
    sampling: Sampling,
    noises: Sequence[int],
) -> list[Distances]:
    """Distances among the generations of each prompt; pictures of a few are in memory at once."""
    at_once = max(1, SHARD_DRAWS // len(noises))
    found = []
    for start in range(0, len(prompts), at_once):
        part = prompts[start : start + at_once]
        images = executor.images([Draw(p.text, z) for p in part for z in noises], sampling)
        found += [tiled_rms_matrix(of) for of in np.split(images, len(part))]
    return found


def _median(distances: NDArray[np.float64]) -> float:
    return float(np.median(distances[np.triu_indices(len(distances), 1)]))


def _outcome(distances: NDArray[np.float64], threshold: float) -> Confirmation:
    cliques = find_cliques(distances, threshold, smallest=SMALLEST)
    largest = len(cliques[0].members) if cliques else 0
    return Confirmation(largest, _median(distances))
