"""What the record of a classifier's audit says beyond its findings."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from attacks.observations import ShadowConfidence, ShadowLogits
from attacks.registry import attack
from attacks.results import GroupShare, ShadowPoint
from attacks.statistics.auc import auc
from attacks.statistics.groups import shares_by_group
from auditor.observe.plan import Plan
from auditor.observe.usage import Usage
from auditor.scoring import score_all
from auditor.shadows import ShadowSet

if TYPE_CHECKING:
    from auditor.families.classifier import ClassifierScan
    from auditor.prepare import Observed


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
