"""Classifiers: labelled rows, shadow models trained by the user's recipe, retrained copies."""

from __future__ import annotations

import dataclasses
import shlex
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from attacks.errors import UsageError
from attacks.manifest import ClassifierCapabilities
from attacks.observations import (
    Classes,
    Logits,
    Observations,
    ShadowConfidence,
    ShadowKeep,
    ShadowLogits,
)
from attacks.protocols import Classifier
from attacks.statistics.rates import share_estimate
from auditor.config import load_config
from auditor.controls.classifier import run_controls
from auditor.controls.positive import DOSES
from auditor.controls.suite import Controls
from auditor.families import classifier_sections as made
from auditor.observe.cache import Cache, default_cache, shard_key
from auditor.observe.classifier import ClassifierObserver
from auditor.observe.plan import make_plan
from auditor.policy import Policy, load_policy, preset_policy
from auditor.prepare import (
    Expense,
    Observed,
    PreparedScan,
    ScanOptions,
    calibration_share,
    check_out,
    check_plan,
    chosen_attacks,
    reading,
    refuse_options,
    timed,
    without_calibration,
)
from auditor.progress import Progress
from auditor.records.rows import RowRecord, RowSplits, Table, load_row_splits
from auditor.shadows import (
    Pool,
    Recipe,
    RecipeTrainer,
    ShadowSet,
    ShadowStore,
    SklearnRecipe,
    load_recipe,
    train_shadows,
)
from auditor.shadows.halves import check_even
from auditor.shadows.store import VERSION
from auditor.targets.classifier import (
    PREDICTIONS,
    ClassifierTarget,
    open_classifier,
    open_predictions,
)
from reports import record as schema

DEFAULT_SHADOWS = 32
"""Shadow models that a scan trains unasked, where it has a recipe."""
NOT_OURS = ("lora", "resolution", "reference", "batch_size")
"""Options of other families."""
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
class ClassifierScan(PreparedScan):
    """A scan of a classifier."""

    splits: RowSplits
    recipe: Recipe | None = None
    """How models like the target are trained; None if nobody said."""
    n_shadows: int = 0
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
        """Every record that is evaluated or calibrated on: what shadow models are drawn from."""
        records = (*self.evaluated, *self.calibration)
        positions = [record.position for record in records]
        subjects = [record.subject or record.id for record in records]
        return Pool(
            record_ids=[record.id for record in records],
            features=self.features.inputs(positions),
            classes=self.classes[positions],
            n_classes=self.target.capabilities.n_classes,
            groups=subjects if any(record.subject for record in records) else None,
        )

    @cached_property
    def shadows(self) -> ShadowSet | None:
        """The shadow models, trained when they are first asked for."""
        return self._train(self.n_shadows) if self.recipe is not None and self.n_shadows else None

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
        )

    def copies(
        self, planted: Sequence[RowRecord], wrong: Mapping[str, int], doses: Sequence[int]
    ) -> Iterator[Copy]:
        """Models trained by the recipe on all members and on planted records, as often as a dose.

        wrong: record id -> class with which a planted record is trained on.

        A copy is trained only when it is asked about something that is not stored yet.
        """
        assert self.recipe is not None
        members = [
            *self.splits.members,
            *self.splits.calibration_members,
            *self.splits.withheld_members,
        ]
        names = shard_key([record.id for record in [*members, *planted]])
        trainer = RecipeTrainer(
            self.recipe, self.target.capabilities.n_classes, self.options.device
        )
        seed = self.options.seed + COPY_SEED
        for dose in doses:
            records = [*members, *[record for record in planted for _ in range(dose)]]
            way = f"planted {VERSION} {self.recipe.key}"
            purpose = f"{way} {names} {sorted(wrong.items())} {dose} {seed}"
            copy = _Untrained(trainer, self, records, wrong, seed)
            yield Copy(dose, copy, self.cache.derived(purpose))

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
        return words

    def describe_target(self, observed: Observed) -> schema.Target:
        """The model, how well it does on both sides, and its shadow models."""
        target: ClassifierTarget = self.target
        capabilities: ClassifierCapabilities = target.capabilities
        logits = np.asarray(observed.observations[Logits()])[:, 0]
        correct = logits.argmax(axis=1) == np.asarray(observed.observations[Classes()])
        shadows = self.shadows
        return schema.Target(
            name=target.name,
            architecture=capabilities.architecture,
            family=capabilities.family,
            n_parameters=target.n_parameters,
            weights_sha256=target.hashes,
            classifier=schema.ClassifierDetails(
                n_classes=capabilities.n_classes,
                gives=capabilities.gives,
                n_features=len(self.splits.table.columns),
                accuracy_members=share_estimate(correct[observed.is_member]),
                accuracy_nonmembers=share_estimate(correct[~observed.is_member]),
                n_shadows=0 if shadows is None else len(shadows.keep),
                clipped=target.clipped_share(logits),
                notes=() if shadows is None else shadows.notes,
            ),
        )

    def sections(self, observed: Observed) -> dict[str, Any]:
        """Exposure by class, and how the attacks grow with the number of shadow models."""
        found: dict[str, Any] = {"by_class": made.by_class(observed)}
        if self.shadows is not None:
            found["shadow_curve"] = made.shadow_curve(self, observed, self.shadows)
        return found

    def knowledge(self, attack: str, access: str) -> str:
        """The record with its class, the answers of that access class, and shadow models."""
        means = "the predicted label" if access == "black-box" else "the model's confidences"
        uses_shadows = attack in made.attacks_with_shadows(self.plan)
        shadows = f"; {self.n_shadows} models trained like it" if uses_shadows else ""
        return f"the record and its class; {means}{shadows}"

    def expense(self) -> Expense:
        """Calls of the target, and the training of shadow models and copies by a timed pair."""
        n_calls = (len(self.evaluated) + len(self.calibration)) * self.plan.calls_per_record
        seconds = self._seconds_per_call() * n_calls
        if self.recipe is not None and self.n_shadows:
            seconds += self._train(2).seconds / 2 * (self.n_shadows + 2 * len(DOSES))
        return Expense(n_calls, 0, float(np.ceil(seconds)))

    def _train(self, n_models: int) -> ShadowSet:
        assert self.recipe is not None
        store = ShadowStore(self.options.cache or default_cache(), self.options.fresh)
        with self.timed("train shadow models"):
            return train_shadows(
                self.recipe,
                self.pool,
                n_models,
                self.options.seed,
                store,
                self.progress,
                device=self.options.device,
            )

    def _seconds_per_call(self) -> float:
        positions = [record.position for record in self.evaluated[:256]]
        began = time.perf_counter()
        self.target.logits(self.splits.table.inputs(positions))
        return (time.perf_counter() - began) / len(positions)


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


def prepare(options: ScanOptions, progress: Progress) -> ClassifierScan:
    """Read policy, configuration, records and model, and plan what to ask."""
    started = datetime.now(UTC)
    seconds: dict[str, float] = {}
    refuse_options(options, "classifier", NOT_OURS)
    policy = load_policy(options.policy) if options.policy else preset_policy("default")
    config = load_config(options.config)
    names = chosen_attacks(options.attacks, config, "classifier")
    check_out(options.out)
    recipe = None if options.train is None else load_recipe(options.train)
    with timed(seconds, "read records"):
        splits = load_row_splits(
            options.members,
            options.nonmembers,
            options=config.records,
            calibration_share=calibration_share(names),
            limit=options.limit,
            seed=options.seed,
            predictions="columns" if options.model == PREDICTIONS else None,
            on_progress=reading(progress),
        )
    with timed(seconds, "load model"):
        target = _open(options, splits, config.classes)
    if recipe is None and target.estimator is not None and target.capabilities.gives != "labels":
        recipe = SklearnRecipe(target.estimator)  # one that gives labels alone is no such recipe
    if recipe is not None and not splits.table.columns:
        raise UsageError(
            "--train needs the features of the records, and the data hold predictions alone; add "
            "the columns that the model was trained on, or leave --train out"
        )
    n_shadows = _n_shadows(options, recipe)
    target.capabilities = dataclasses.replace(target.capabilities, n_shadows=n_shadows)
    plan = make_plan(names, target.capabilities, config.attack_options, source=options.config)
    check_plan(plan)
    if not plan.is_fitted:
        splits = without_calibration(splits)
    if not any(isinstance(r, ShadowConfidence | ShadowKeep | ShadowLogits) for r in plan.requests):
        n_shadows = 0
    scan = ClassifierScan(
        options=options,
        policy=policy,
        config=config,
        splits=splits,
        target=target,
        plan=plan,
        cache=Cache(options.cache or default_cache(), target.key, options.seed, options.fresh),
        started=started,
        seconds=seconds,
        recipe=recipe,
        n_shadows=n_shadows,
        progress=progress,
    )
    _ = scan.classes  # labels that the model does not know are found before any work is done
    return scan


def _open(
    options: ScanOptions, splits: RowSplits, classes: tuple[str | int, ...] | None
) -> ClassifierTarget:
    if options.model == PREDICTIONS:
        return open_predictions(splits.table, classes=classes)
    return open_classifier(
        options.model,
        example=splits.table.inputs(range(min(256, len(splits.table)))),
        classes=classes,
        device=options.device,
        precision=options.precision,
        allow_pickle=options.allow_pickle,
        factory=options.factory,
    )


def _n_shadows(options: ScanOptions, recipe: Recipe | None) -> int:
    if recipe is None:
        if options.shadows:
            raise UsageError(
                "--shadows needs a recipe to train them by; name it with --train module:function"
            )
        return 0
    if options.shadows:
        check_even(options.shadows)
    return DEFAULT_SHADOWS if options.shadows is None else options.shadows
