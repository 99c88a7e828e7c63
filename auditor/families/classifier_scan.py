"""A scan of a classifier: what it asks, trains and describes."""

from __future__ import annotations

import dataclasses
import shlex
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from attacks.observations import Observations, ShadowConfidence
from attacks.protocols import Classifier
from auditor.controls.classifier import run_controls
from auditor.controls.positive import DOSES
from auditor.controls.suite import Controls
from auditor.families import classifier_sections as made
from auditor.families.attributes import Hidden, attribute_findings
from auditor.families.classifier_copies import Copy, copies
from auditor.families.classifier_plan import planned
from auditor.observe.augment import augmented
from auditor.observe.cache import Cache, default_cache
from auditor.observe.classifier import ClassifierObserver
from auditor.observe.plan import Plan
from auditor.policy import Policy
from auditor.prepare import (
    TRAJECTORY,
    Expense,
    Inferred,
    Observed,
    PreparedScan,
    ScanOptions,
    attacks_of,
)
from auditor.progress import Progress
from auditor.records.rows import RowRecord, RowSplits, Table
from auditor.shadows import (
    Pool,
    Recipe,
    ShadowSet,
    ShadowStore,
    TorchRecipe,
    train_shadows,
)
from auditor.shadows.pool import version_id
from auditor.shadows.students import Students
from reports import record as schema


@dataclass
class ClassifierScan(PreparedScan):
    """A scan of a classifier."""

    splits: RowSplits
    recipe: Recipe | None = None
    """How models like the target are trained; None if nobody said."""
    n_shadows: int = 0
    hidden: tuple[Hidden, ...] = ()
    """Columns that attribute inference guesses."""
    progress: Progress = dataclasses.field(default_factory=Progress)

    @cached_property
    def classes(self) -> NDArray[np.int64]:
        """(N,) class index of every row of the table."""
        return self.target.class_indices(self.splits.table.labels)

    @property
    def judged_by(self) -> Policy:
        """A PASS rests on attacks that catch a record which training showed as often as a member.

        A dose counts copies in the training set, and every copy is seen in each epoch: more of
        them than a member has would make the control easier than the leak that it stands for.
        """
        copies = min(record.multiplicity for record in self.splits.members)
        declared = self.policy.training_exposures
        exposures = copies if declared is None else min(copies, declared)
        return self.policy.model_copy(update={"training_exposures": exposures})

    @cached_property
    def features(self) -> Table:
        """What models of the recipe are trained on and asked: never what the target answered."""
        table = self.splits.table
        if table.predictions is None:
            return table
        return Table(table.features, table.labels.tolist(), is_pictures=table.is_pictures)

    @cached_property
    def pool(self) -> Pool:
        """Every record that is evaluated or calibrated on: what shadow models are drawn from.

        What students are distilled on and augmented versions come behind them: shadow models are
        asked about these, not trained on.
        """
        apart = {record.id for record in self.auxiliary}
        drawn = [r for r in (*self.evaluated, *self.calibration) if r.id not in apart]
        records = (*drawn, *self.auxiliary)
        positions = [record.position for record in records]
        subjects = [record.subject or record.id for record in records]
        features, n_queries = self.features.inputs(positions), shadow_queries(self.plan)
        if n_queries > 1:
            features = np.concatenate([augmented(features, i) for i in range(n_queries)])
        return Pool(
            record_ids=[version_id(r.id, i) for i in range(n_queries) for r in records],
            features=features,
            classes=np.tile(self.classes[positions], n_queries),
            n_classes=self.target.capabilities.n_classes,
            groups=subjects * n_queries if any(record.subject for record in records) else None,
            n_asked=(n_queries - 1) * len(records) + len(self.auxiliary),
        )

    @cached_property
    def auxiliary(self) -> tuple[RowRecord, ...]:
        """Nonmembers set aside that students are distilled on: no model is trained on them."""
        return self.splits.calibration_nonmembers if TRAJECTORY in self.plan.configs else ()

    @cached_property
    def students(self) -> Students | None:
        """What distils the target and a shadow model, where an attack asks for it."""
        if not self.auxiliary:
            return None
        assert isinstance(self.recipe, TorchRecipe)
        pool, n = self.pool, len(self.pool.record_ids) // shadow_queries(self.plan)
        records = Pool(
            pool.record_ids[:n],
            pool.features[:n],
            pool.classes[:n],
            pool.n_classes,
            n_asked=len(self.auxiliary),
        )
        return Students(self.recipe, records, self.options.seed, self._store, self.options.device)

    @cached_property
    def shadows(self) -> ShadowSet | None:
        """The shadow models, trained when they are first asked for."""
        return self._train(self.n_shadows) if self.recipe is not None and self.n_shadows else None

    @property
    def eps(self) -> float:
        """How far from 0 and 1 the probability of the true class counts, whoever gives it.

        The largest of the target's and of its shadow models': a file may not tell how many trees
        answer, or a tree have no pure leaves where others do.
        """
        if self.target.capabilities.gives == "logits":
            return 0.0
        return max(self.target.eps, 0.0 if self.shadows is None else self.shadows.eps)

    @property
    def device(self) -> torch.device:
        """Where the target runs."""
        return torch.device(self.target.device)

    @property
    def precision(self) -> str:
        """Precision of networks; other models keep their own."""
        return "fp32"

    @property
    def batch_size(self) -> int:
        """All records are asked about at once."""
        return len(self.evaluated)

    def observe(self, records: Sequence[RowRecord]) -> Observations:
        """What the target and its shadow models answer about records."""
        return self.observer_of(self.target, self.cache).observe(records, self.plan.requests)

    def observer_of(
        self,
        classifier: Classifier,
        cache: Cache,
        relabelled: Mapping[str, int] | None = None,
        shadows: ShadowSet | None = None,
    ) -> ClassifierObserver:
        """The records of this scan in front of a classifier: the target, or a copy.

        relabelled: record id -> class that counts as its true one; shadows: other shadow models
        than those of the scan.
        """
        return ClassifierObserver(
            target=classifier,
            table=self.splits.table if classifier is self.target else self.features,
            classes=self.classes,
            shadows=shadows or self.shadows,
            seed=self.options.seed,
            cache=cache,
            usage=self.usage,
            relabelled=relabelled or {},
            eps=self.eps,
            students=self.students,
            auxiliary=self.auxiliary,
        )

    def copies(
        self, planted: Sequence[RowRecord], wrong: Mapping[str, int], doses: Sequence[int]
    ) -> Iterator[Copy]:
        """Models of the recipe that were also trained on planted records, see `copies`."""
        return copies(self, planted, wrong, doses)

    def run_controls(self, observed: Observed, progress: Progress) -> Controls:
        """Competence, negative, blind and positive controls."""
        return run_controls(self, observed, progress)

    def own_flags(self) -> list[str]:
        """The recipe, the shadow models and the factory."""
        words = ["--family classifier"]
        if self.options.train is not None:
            words.append(f"--train {shlex.quote(self.options.train)}")
        if self.n_shadows:
            words.append(f"--shadows {self.n_shadows}")
        if self.options.factory is not None:
            words.append(f"--factory {shlex.quote(self.options.factory)}")
        words += [f"--sensitive {shlex.quote(hidden.column)}" for hidden in self.hidden]
        return words

    def describe_target(self, observed: Observed) -> schema.Target:
        """The model, how well it does on both sides, and its shadow models."""
        return made.describe_target(self, observed)

    def infer_attributes(self, observed: Observed, progress: Progress) -> Inferred:
        """What the model gives away about the columns that were named."""
        if not self.hidden:
            return Inferred()
        with self.timed("attribute inference"):
            return attribute_findings(self, observed, progress)

    def sections(self, observed: Observed) -> dict[str, Any]:
        """Exposure by class, and how the attacks grow with the number of shadow models."""
        found: dict[str, Any] = {"by_class": made.by_class(observed)}
        if self.shadows is not None:
            found["shadow_curve"] = made.shadow_curve(self, observed, self.shadows)
        return found

    def knowledge(self, attack: str, access: str) -> str:
        """The record with its class, the answers of that access class, and shadow models."""
        means = "the predicted label" if access == "black-box" else "the model's confidences"
        if attack == TRAJECTORY:
            return (
                f"the record and its class; {means}; a model trained like it, and "
                f"{len(self.auxiliary)} unlabelled records that neither was trained on"
            )
        uses_shadows = attack in made.attacks_with_shadows(self.plan)
        shadows = f"; {self.n_shadows} models trained like it" if uses_shadows else ""
        return f"the record and its class; {means}{shadows}"

    def expense(self) -> Expense:
        """Calls of the target, and the training of shadow models, copies and students."""
        return self._expense(self.plan, self.n_shadows, self._n_all)

    def seconds_with(self, options: ScanOptions) -> float:
        """The same for other attacks, shadow models or fewer records, without loading anything."""
        names, config = attacks_of(options, self.config, "classifier")
        plan, n_shadows = planned(
            names, self.target.capabilities, config, options, self.recipe, table=self.splits.table
        )
        sides = (
            self.splits.members + self.splits.calibration_members,
            self.splits.nonmembers + self.splits.calibration_nonmembers,
        )
        n = sum(min(len(side), options.limit or len(side)) for side in sides)
        return self._expense(plan, n_shadows, n).seconds

    @property
    def _n_all(self) -> int:
        return len(self.evaluated) + len(self.calibration)

    def _expense(self, plan: Plan, n_shadows: int, n: int) -> Expense:
        """n: records that are evaluated or calibrated on; training takes as long as they are many."""
        per_record = plan.calls_per_record + sum(hidden.calls for hidden in self.hidden)
        seconds = self._seconds_per_call * n * per_record
        if self.recipe is not None and n_shadows:
            n_trained = n_shadows + 2 * (len(DOSES) + 1)
            seconds += self._seconds_per_model * n_trained * n / self._n_all
        if self.students is not None and TRAJECTORY in plan.configs:
            epochs = plan.configs[TRAJECTORY].epochs
            seconds += self.students.seconds_per_epoch() * epochs * (2 + len(DOSES))
        n_calls = n * per_record + len(self.auxiliary)
        return Expense(n_calls, 0, float(np.ceil(seconds)))

    @cached_property
    def _seconds_per_model(self) -> float:
        return self._train(2).seconds / 2

    @property
    def _store(self) -> ShadowStore:
        return ShadowStore(self.options.cache or default_cache(), self.options.fresh)

    def _train(self, n_models: int) -> ShadowSet:
        assert self.recipe is not None
        with self.timed("train shadow models"):
            return train_shadows(
                self.recipe,
                self.pool,
                n_models,
                self.options.seed,
                self._store,
                self.progress,
                device=self.options.device,
            )

    @cached_property
    def _seconds_per_call(self) -> float:
        positions = [record.position for record in self.evaluated[:256]]
        began = time.perf_counter()
        self.target.logits(self.splits.table.inputs(positions))
        return (time.perf_counter() - began) / len(positions)


def shadow_queries(plan: Plan) -> int:
    """Versions of a record that shadow models are asked about, the record included."""
    asked = [r.queries for r in plan.requests if isinstance(r, ShadowConfidence)]
    return max([1, *asked])
