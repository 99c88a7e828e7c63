"""What a search found, as plain values for `memcontrol.json`."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass

from attacks.results import Estimate

FILE = "memcontrol.json"
"""Its name beside the changed model."""
SCHEMA = "auditor-memcontrol/1"


@dataclass(frozen=True, slots=True)
class TrialRow:
    """One trial."""

    bits: str
    learning_rate: float
    memorization: float | None
    """On the search's records; None if the training diverged."""
    quality: float | None
    trainable: int
    is_on_front: bool
    """Whether no other trial of its search is better in both."""


@dataclass(frozen=True, slots=True)
class RefitRow:
    """A variant of the training, over several seeds, on the report's records."""

    name: str
    """`chosen`, `plain`, `random`, `none` or `full`."""
    bits: str | None
    """None for full fine-tuning."""
    learning_rate: float
    trainable: int
    share: float
    """Of all numbers of the U-Net."""
    memorization: dict[str, Estimate]
    """Metric -> mean over records, of the mean over seeds."""
    relief: dict[str, Estimate]
    """Metric -> how much less than plain fine-tuning of the family, record by record."""
    quality: Estimate
    """Mean over records, or over seeds for a figure of a whole set."""


@dataclass(frozen=True, slots=True)
class MemControlResult:
    """Everything that a report is drawn from."""

    family: str
    rest: bool
    sampler: str
    """`tpe`, `nsga2`, or `given` for a mask from a file."""
    memorization: str
    """Name of the objective."""
    quality: str
    tolerance: float
    blocks: tuple[str, ...]
    n_parameters: int
    """Of the U-Net."""
    n_trained: int
    """Distinct members."""
    n_search: tuple[int, int]
    """Records at risk and held-out records that the search measured."""
    n_report: tuple[int, int]
    """Those that were kept for the report."""
    is_repeated: bool
    """Whether the records at risk are those that occur more than once."""
    seed: int
    seeds: tuple[int, ...]
    """Of the refits."""
    trials: tuple[TrialRow, ...]
    control: tuple[TrialRow, ...]
    """Random search with as many trials."""
    reference: tuple[float, float] | None
    """Point up to which areas are measured: the worst of both searches."""
    area: float | None
    """Dominated by the search, as a share of that up to the best of both in each figure."""
    control_area: float | None
    chosen: str
    learning_rate: float
    refits: tuple[RefitRow, ...]
    is_memorizing: bool
    """Whether full fine-tuning is shown to memorize more than no training: the positive control."""

    def to_json(self) -> bytes:
        """The content of the file."""
        record = {"schema": SCHEMA, **dataclasses.asdict(self)}
        return (json.dumps(record, indent=1, allow_nan=False) + "\n").encode()
