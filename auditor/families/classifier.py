"""Classifiers: labelled rows, shadow models trained by the user's recipe, retrained copies."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime

from attacks.errors import UsageError
from attacks.observations import (
    Logits,
    ShadowConfidence,
    ShadowKeep,
    ShadowLogits,
)
from auditor.config import load_config
from auditor.families.attributes import NAME, hidden_columns, sensitive_columns
from auditor.families.classifier_scan import ClassifierScan
from auditor.observe.augment import MOST_QUERIES
from auditor.observe.boundary import has_numbers
from auditor.observe.cache import Cache, default_cache
from auditor.observe.plan import Plan, make_plan
from auditor.policy import load_policy, preset_policy
from auditor.prepare import (
    CALIBRATION_SHARE,
    TRAJECTORY,
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
from auditor.records.rows import RowSplits, Table, load_row_splits
from auditor.shadows import (
    Recipe,
    TorchRecipe,
    labels,
    load_recipe,
)
from auditor.shadows.halves import check_even
from auditor.targets.classifier import (
    PREDICTIONS,
    ClassifierTarget,
    open_classifier,
    open_predictions,
)

DEFAULT_SHADOWS = 32
"""Shadow models that a scan trains unasked, where it has a recipe."""
NOT_OURS = ("lora", "resolution", "reference", "batch_size")
"""Options of other families."""


def prepare(options: ScanOptions, progress: Progress) -> ClassifierScan:
    """Read policy, configuration, records and model, and plan what to ask."""
    started = datetime.now(UTC)
    seconds: dict[str, float] = {}
    refuse_options(options, "classifier", NOT_OURS)
    policy = load_policy(options.policy) if options.policy else preset_policy("default")
    config = load_config(options.config)
    names = chosen_attacks(options.attacks, config, "classifier")
    sensitive = sensitive_columns(options.sensitive, config)
    check_out(options.out)
    recipe = None if options.train is None else load_recipe(options.train)
    with timed(seconds, "read records"):
        splits = load_row_splits(
            options.members,
            options.nonmembers,
            options=config.records,
            calibration_share=CALIBRATION_SHARE if sensitive else calibration_share(names),
            limit=options.limit,
            seed=options.seed,
            predictions="columns" if options.model == PREDICTIONS else None,
            on_progress=reading(progress),
        )
    with timed(seconds, "load model"):
        target = _open(options, splits, config.classes)
    if recipe is None and target.estimator is not None and target.capabilities.gives != "labels":
        # one that gives labels alone is no such recipe
        recipe = labels.of_target(target.estimator, target.classes)
    elif recipe is not None:
        recipe = labels.of_weights(recipe, target.classes)
    if recipe is not None and not splits.table.columns:
        raise UsageError(
            "--train needs the features of the records, and the data hold predictions alone; add "
            "the columns that the model was trained on, or leave --train out"
        )
    n_shadows = _n_shadows(options, recipe)
    target.capabilities = dataclasses.replace(
        target.capabilities,
        n_shadows=n_shadows,
        has_numbers=has_numbers(splits.table),
        has_trajectory=isinstance(recipe, TorchRecipe),
    )
    settings = {name: own for name, own in config.attack_options.items() if name != NAME}
    plan = make_plan(names, target.capabilities, settings, source=options.config)
    check_plan(plan)
    check_queries(plan, splits.table)
    hidden = hidden_columns(sensitive, splits, config, target.capabilities)
    if not plan.is_fitted and not hidden:
        splits = without_calibration(splits, keeps_nonmembers=TRAJECTORY in plan.configs)
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
        hidden=hidden,
        progress=progress,
    )
    # labels that the model does not know, and too few records, are found before any work is done
    _ = scan.classes, scan.students
    return scan


def check_queries(plan: Plan, table: Table) -> None:
    """Refuse augmented versions of records that have none, and more than there are."""
    asked = [r.queries for r in plan.requests if isinstance(r, Logits | ShadowConfidence)]
    most = MOST_QUERIES if table.is_pictures and table.predictions is None else 1
    if max(asked, default=1) > most:
        raise UsageError(
            f"{max(asked)} queries were asked for, and these records have {most} "
            "(pictures: as they are, mirrored, shifted by a pixel); lower `queries`"
        )


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
