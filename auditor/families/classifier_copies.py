"""Models trained by the recipe of a scan on its members and on planted records."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from attacks.manifest import ClassifierCapabilities
from attacks.protocols import Classifier
from auditor.observe.cache import Cache, shard_key
from auditor.records.rows import RowRecord
from auditor.shadows import (
    RecipeTrainer,
)
from auditor.shadows.store import VERSION

if TYPE_CHECKING:
    from auditor.families.classifier_scan import ClassifierScan

COPY_SEED = 0xC0
"""Added to the seed of the copies of the positive control."""


@dataclass
class Copy:
    """A model trained like the target, on its members and some records more."""

    dose: int
    """How often each further record is in its training set."""
    classifier: Classifier
    cache: Cache


@dataclass
class _Untrained:
    """A copy that is trained when it is first asked."""

    trainer: RecipeTrainer
    scan: ClassifierScan
    records: Sequence[RowRecord]
    """Its training set, repeats included."""
    wrong: Mapping[str, int]
    """Record id -> class, where that is not the true one."""
    seed: int

    @property
    def capabilities(self) -> ClassifierCapabilities:
        """Those of the target that it is a copy of."""
        return self.scan.target.capabilities

    @cached_property
    def _trained(self) -> Classifier:
        positions = [record.position for record in self.records]
        own = self.scan.classes[positions]
        classes = [self.wrong.get(r.id, int(c)) for r, c in zip(self.records, own, strict=True)]
        everything = np.ones((1, len(positions)), dtype=bool)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # shadow models of the same recipe have reported them
            return self.trainer.train(
                self.scan.features.inputs(positions), np.array(classes), everything, [self.seed]
            )[0]

    def logits(self, features: NDArray) -> NDArray[np.floating]:
        """(n, k) logits."""
        return self._trained.logits(features)


def copies(
    scan: ClassifierScan,
    planted: Sequence[RowRecord],
    wrong: Mapping[str, int],
    doses: Sequence[int],
) -> Iterator[Copy]:
    """Models trained by the recipe on all members and on planted records, as often as a dose.

    wrong: record id -> class with which a planted record is trained on; doses: 0 for a model
    of the members alone.

    A copy is trained only when it is asked about something that is not stored yet.
    """
    assert scan.recipe is not None
    members = [
        *scan.splits.members,
        *scan.splits.calibration_members,
        *scan.splits.withheld_members,
    ]
    names = shard_key([record.id for record in [*members, *planted]])
    trainer = RecipeTrainer(scan.recipe, scan.target.capabilities.n_classes, scan.options.device)
    seed = scan.options.seed + COPY_SEED
    for dose in doses:
        records = [*members, *[record for record in planted for _ in range(dose)]]
        way = f"planted {VERSION} {scan.recipe.key}"
        purpose = f"{way} {names} {sorted(wrong.items())} {dose} {seed}"
        copy = _Untrained(trainer, scan, records, wrong, seed)
        yield Copy(dose, copy, scan.cache.derived(purpose))
