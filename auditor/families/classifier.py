"""Classifiers: labelled rows, shadow models trained by the user's recipe, retrained copies."""

from __future__ import annotations

import dataclasses
from datetime import UTC, datetime

from attacks.errors import UsageError
from auditor.config import load_config
from auditor.families.attributes import hidden_columns, sensitive_columns
from auditor.families.classifier_plan import n_shadows_of, planned
from auditor.families.classifier_scan import ClassifierScan
from auditor.observe.boundary import has_numbers
from auditor.observe.cache import Cache, default_cache
from auditor.policy import load_policy, preset_policy
from auditor.prepare import (
    CALIBRATION_SHARE,
    TRAJECTORY,
    ScanOptions,
    attacks_of,
    calibration_share,
    check_out,
    check_plan,
    reading,
    refuse_options,
    timed,
    without_calibration,
)
from auditor.progress import Progress
from auditor.records.rows import RowSplits, load_row_splits
from auditor.shadows import (
    TorchRecipe,
    labels,
    load_recipe,
)
from auditor.targets.classifier import (
    PREDICTIONS,
    ClassifierTarget,
    open_classifier,
    open_predictions,
)

NOT_OURS = ("lora", "resolution", "reference", "batch_size")
"""Options of other families."""


def prepare(options: ScanOptions, progress: Progress) -> ClassifierScan:
    """Read policy, configuration, records and model, and plan what to ask."""
    started = datetime.now(UTC)
    seconds: dict[str, float] = {}
    refuse_options(options, "classifier", NOT_OURS)
    policy = load_policy(options.policy) if options.policy else preset_policy("default")
    config = load_config(options.config)
    names, config = attacks_of(options, config, "classifier")
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
    target.capabilities = dataclasses.replace(
        target.capabilities,
        n_shadows=n_shadows_of(options, recipe),
        has_numbers=has_numbers(splits.table),
        has_trajectory=isinstance(recipe, TorchRecipe),
    )
    plan, n_shadows = planned(
        names, target.capabilities, config, options, recipe, table=splits.table
    )
    check_plan(plan)
    hidden = hidden_columns(sensitive, splits, config, target.capabilities)
    if not plan.is_fitted and not hidden:
        splits = without_calibration(splits, keeps_nonmembers=TRAJECTORY in plan.configs)
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
