"""Which attacks a classifier is asked, and how many shadow models they need."""

from __future__ import annotations

import dataclasses

from attacks.errors import UsageError
from attacks.manifest import ClassifierCapabilities
from attacks.observations import Logits, ShadowConfidence, ShadowKeep, ShadowLogits
from auditor.config import ScanConfig
from auditor.families.attributes import NAME
from auditor.observe.augment import MOST_QUERIES
from auditor.observe.plan import Plan, make_plan
from auditor.prepare import ScanOptions
from auditor.records.rows import Table
from auditor.shadows import Recipe
from auditor.shadows.halves import check_even

DEFAULT_SHADOWS = 32
"""Shadow models that a scan trains unasked, where it has a recipe."""


def planned(
    names: tuple[str, ...],
    capabilities: ClassifierCapabilities,
    config: ScanConfig,
    options: ScanOptions,
    recipe: Recipe | None,
    *,
    table: Table,
) -> tuple[Plan, int]:
    """The plan of these attacks, and how many shadow models they need."""
    n_shadows = n_shadows_of(options, recipe)
    capabilities = dataclasses.replace(capabilities, n_shadows=n_shadows)
    settings = {name: own for name, own in config.attack_options.items() if name != NAME}
    source = None if options.option else options.config
    plan = make_plan(names, capabilities, settings, source=source)
    check_queries(plan, table)
    asks = (ShadowConfidence, ShadowKeep, ShadowLogits)
    return plan, n_shadows if any(isinstance(r, asks) for r in plan.requests) else 0


def n_shadows_of(options: ScanOptions, recipe: Recipe | None) -> int:
    """Shadow models that may be trained: as asked for, or as usual where there is a recipe."""
    if recipe is None:
        if options.shadows:
            raise UsageError(
                "--shadows needs a recipe to train them by; name it with --train module:function"
            )
        return 0
    if options.shadows:
        check_even(options.shadows)
    if options.shadows is not None:
        return options.shadows
    return DEFAULT_SHADOWS if options.usual_shadows is None else options.usual_shadows


def check_queries(plan: Plan, table: Table) -> None:
    """Refuse augmented versions of records that have none, and more than there are."""
    asked = [r.queries for r in plan.requests if isinstance(r, Logits | ShadowConfidence)]
    most = MOST_QUERIES if table.is_pictures and table.predictions is None else 1
    if max(asked, default=1) > most:
        raise UsageError(
            f"{max(asked)} queries were asked for, and these records have {most} "
            "(pictures: as they are, mirrored, shifted by a pixel); lower `queries`"
        )
