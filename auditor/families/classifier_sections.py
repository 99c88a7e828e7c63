"""What the record of a classifier's audit says beyond its findings."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np

from attacks.manifest import ClassifierCapabilities
from attacks.observations import Classes, Logits, ShadowConfidence, ShadowLogits
from attacks.registry import attack
from attacks.results import GroupShare, ShadowPoint
from attacks.statistics.auc import auc
from attacks.statistics.groups import shares_by_group
from attacks.statistics.rates import share_estimate
from auditor.observe.plan import Plan
from auditor.observe.usage import Usage
from auditor.scoring import score_all
from auditor.shadows import ShadowSet
from auditor.targets.classifier import ClassifierTarget
from reports import record as schema

if TYPE_CHECKING:
    from auditor.families.classifier_scan import ClassifierScan
    from auditor.prepare import Observed


def describe_target(scan: ClassifierScan, observed: Observed) -> schema.Target:
    """The model, how well it does on both sides, and its shadow models."""
    target: ClassifierTarget = scan.target
    capabilities: ClassifierCapabilities = target.capabilities
    logits = np.asarray(observed.observations[Logits()])[:, 0]
    classes = np.asarray(observed.observations[Classes()])
    correct = logits.argmax(axis=1) == classes
    shadows = scan.shadows
    return schema.Target(
        name=target.name,
        architecture=capabilities.architecture,
        family=capabilities.family,
        n_parameters=target.n_parameters,
        weights_sha256=target.hashes,
        classifier=schema.ClassifierDetails(
            n_classes=capabilities.n_classes,
            gives=capabilities.gives,
            n_features=len(scan.splits.table.columns),
            accuracy_members=share_estimate(correct[observed.is_member]),
            accuracy_nonmembers=share_estimate(correct[~observed.is_member]),
            n_shadows=0 if shadows is None else len(shadows.keep),
            clipped=target.clipped_share(logits, classes),
            notes=() if shadows is None else shadows.notes,
        ),
    )


def by_class(observed: Observed) -> dict[str, tuple[GroupShare, ...]]:
    """Attack -> exposure of the members of each class."""
    inside, labels = observed.is_member, [record.label for record in observed.members]
    return {
        name: shares_by_group(values[inside], values[~inside], labels)
        for name, values in observed.scores.items()
    }


def shadow_curve(
    scan: ClassifierScan, observed: Observed, shadows: ShadowSet
) -> tuple[ShadowPoint, ...]:
    """AUC with the first 2, 4, 8 ... shadow models, for the attacks that use them.

    A curve that still rises says that more of them would find more.
    """
    uses = attacks_with_shadows(scan.plan)
    inside, points = observed.is_member, []
    cache = dataclasses.replace(scan.cache, is_fresh=False)  # the target was asked in this scan
    for n in _counts(len(shadows.keep)):
        fewer = dataclasses.replace(shadows, keep=shadows.keep[:n], logits=shadows.logits[:n])
        observer = scan.observer_of(scan.target, cache, shadows=fewer)
        observer.usage = Usage()  # the same answers again are no calls that the cache saved
        found = observer.observe(observed.records, scan.plan.requests)
        scores, _ = score_all(scan.plan, found, observed.calibration)
        for name in uses:
            if name in scores:
                estimate = auc(scores[name][inside], scores[name][~inside]).interval()
                points.append(ShadowPoint(name, n, estimate))
    return tuple(points)


def attacks_with_shadows(plan: Plan) -> list[str]:
    """The attacks of a plan that compare the target with shadow models."""
    return [
        name
        for name, config in plan.configs.items()
        if any(
            isinstance(r, ShadowConfidence | ShadowLogits) for r in attack(name).requests(config)
        )
    ]


def _counts(n_shadows: int) -> list[int]:
    """2, 4, 8 ... and all of them."""
    doubled = [2**i for i in range(1, n_shadows.bit_length()) if 2**i < n_shadows]
    return [*doubled, n_shadows]
