"""Figures of a comparison: every attack that both audits hold, extraction, accuracy.

An attack whose AUC is shown to be below the policy's lower limit leaks from its low end (a change
of the model may hide records by making them look less familiar than strangers). Its scores are
negated before anything is compared, so that the difference is that of the leak.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from attacks.extraction.generation import GenerationFinding
from attacks.outcomes import reasons_invalid
from attacks.results import Estimate
from attacks.statistics.auc import Auc, auc
from attacks.statistics.differences import newcombe
from attacks.statistics.multiplicity import holm
from attacks.statistics.paired_auc import PairedAucs, paired_aucs
from attacks.statistics.paired_top import (
    PairedCount,
    count_above,
    share_difference,
    share_p_value,
    swap_test,
    top_rank,
)
from auditor.compare.read import Audit, Paired
from auditor.records.identity import keyed_rank
from reports import compare_record as schema
from reports.record import AuditRecord

ALPHA = 0.05
"""Probability of any wrong `better` or `worse` among the leak metrics."""
LOWER, FPR, ALPHA_FAIL = 0.40, 0.001, 0.01
"""Of the default policy, for a policy that does not state them."""

_Sides = tuple[NDArray[np.float64], NDArray[np.float64]]


@dataclass(frozen=True, slots=True)
class Changes:
    """What changed between two audits."""

    attacks: tuple[schema.AttackChange, ...]
    extraction: schema.ExtractionChange | None
    accuracy: tuple[schema.AccuracyChange, ...]


@dataclass(frozen=True, slots=True, eq=False)
class _Attack:
    """One attack with its scores turned so that higher is the leak."""

    name: str
    is_reversed: tuple[bool, bool]
    before: _Sides
    after: _Sides

    @property
    def members(self) -> _Sides:
        """Members before and after."""
        return self.before[0], self.after[0]

    @property
    def nonmembers(self) -> _Sides:
        """Nonmembers before and after."""
        return self.before[1], self.after[1]


def measure(paired: Paired, *, margin: float, seed: int, swaps: int) -> Changes:
    """Every figure of the comparison; one Holm correction over all leak metrics of all attacks."""
    before, after = paired.before.record, paired.after.record
    turned = _turned(paired)
    areas = paired_aucs(
        (np.stack([one.before[0] for one in turned]), np.stack([one.before[1] for one in turned])),
        (np.stack([one.after[0] for one in turned]), np.stack([one.after[1] for one in turned])),
        confidence=1 - ALPHA,
    )
    fpr = _stated(after, "identified", "fpr", FPR)
    counts = [count_above(one.members, one.nonmembers, fpr) for one in turned]
    p_swap = [
        swap_test(one.members, one.nonmembers, fpr, rng=_rng(seed, one.name), swaps=swaps)
        for one in turned
    ]
    p_top = [max(share_p_value(c), p) for c, p in zip(counts, p_swap, strict=True)]
    extraction = _extraction(before.extraction, after.extraction)
    p_extracted = [] if extraction is None else [extraction.p_value]
    adjusted = holm([*areas.p_value, *p_top, *p_extracted]).tolist()
    k, is_valid = len(turned), is_valid_side(before) and is_valid_side(after)
    attacks = tuple(
        schema.AttackChange(
            attack=one.name,
            title=paired.after.findings[one.name].title,
            access=paired.after.findings[one.name].access,
            is_reversed_before=one.is_reversed[0],
            is_reversed_after=one.is_reversed[1],
            auc=_auc_change(one, areas, i, adjusted[i], margin, is_valid=is_valid),
            top=_top_change(
                counts[i], fpr, len(one.after[1]), p_swap[i], adjusted[k + i], is_valid=is_valid
            ),
        )
        for i, one in enumerate(turned)
    )
    if extraction is not None:
        change = _change(extraction.difference, adjusted[-1])
        extraction = extraction.model_copy(update={"p_holm": adjusted[-1], "change": change})
    return Changes(attacks, extraction, _accuracy(before, after))


def is_valid_side(record: AuditRecord) -> bool:
    """Whether no control failed that makes the membership rules of an audit invalid."""
    return not reasons_invalid(record.controls)


def _rng(seed: int, name: str) -> np.random.Generator:
    """A generator of its own for each attack, whatever other attacks there are."""
    return np.random.default_rng(keyed_rank("compare", seed, name))


def _stated(record: AuditRecord, rule: str, key: str, default: float) -> float:
    stated = record.policy.rules.get(rule)
    value = stated.get(key) if isinstance(stated, dict) else None
    return float(value) if isinstance(value, int | float) and 0 < value < 1 else default


def _turned(paired: Paired) -> list[_Attack]:
    sides = {name: paired.sides(name) for name in paired.attacks}
    low_end = [
        _reversed(audit, [auc(*sides[name][i]) for name in sides])
        for i, audit in enumerate((paired.before, paired.after))
    ]
    turned = []
    for k, (name, (before, after)) in enumerate(sides.items()):
        flips = (bool(low_end[0][k]), bool(low_end[1][k]))
        before = (-before[0], -before[1]) if flips[0] else before
        after = (-after[0], -after[1]) if flips[1] else after
        turned.append(_Attack(name, flips, before, after))
    return turned


def _reversed(audit: Audit, found: Sequence[Auc]) -> NDArray[np.bool_]:
    """(k,) which attacks are shown to have an AUC below the lower limit, Holm over attacks."""
    limit = _stated(audit.record, "auc", "lower", LOWER)
    alpha = audit.record.policy.alpha_fail or ALPHA_FAIL
    shown: NDArray[np.bool_] = holm([one.p_below(limit) for one in found]) <= alpha
    return shown


def _change(difference: Estimate, p_holm: float) -> schema.Change:
    """Better or worse only where the interval leaves 0 out and the corrected p agrees."""
    if p_holm > ALPHA or difference.low is None or difference.high is None:
        return "undecided"
    if difference.high < 0:
        return "better"
    return "worse" if difference.low > 0 else "undecided"


def _auc_change(
    one: _Attack, areas: PairedAucs, i: int, p_holm: float, margin: float, *, is_valid: bool
) -> schema.AucChange:
    difference = Estimate(float(areas.value[i]), float(areas.low[i]), float(areas.high[i]))
    change = _change(difference, p_holm)
    # Less than nothing cannot leak less, and what does not leak is not worse.
    leaking = {"better": one.before, "worse": one.after}.get(change)
    if leaking is not None and auc(*leaking).lower(ALPHA / 2) <= 0.5:
        change = "undecided"
    raw = [
        1 - value if flipped else value
        for value, flipped in zip(
            (float(areas.before[i]), float(areas.after[i])), one.is_reversed, strict=True
        )
    ]
    return schema.AucChange(
        before=raw[0],
        after=raw[1],
        difference=difference,
        p_value=float(areas.p_value[i]),
        p_holm=p_holm,
        change=change if is_valid else "undecided",
        is_within_margin=is_valid and float(areas.high[i]) < margin,
    )


def _top_change(
    count: PairedCount, fpr: float, n_nonmembers: int, p_swap: float, p_holm: float, *,
    is_valid: bool,
) -> schema.TopChange:  # fmt: skip
    difference = share_difference(count, confidence=1 - ALPHA)
    return schema.TopChange(
        fpr=fpr,
        rank=top_rank(n_nonmembers, fpr),
        before=count.before,
        after=count.after,
        both=count.both,
        before_alone=count.before_alone,
        after_alone=count.after_alone,
        difference=difference,
        p_interval=share_p_value(count),
        p_swap=p_swap,
        p_holm=p_holm,
        change=_change(difference, p_holm) if is_valid else "undecided",
    )


def _extraction(
    before: GenerationFinding | None, after: GenerationFinding | None
) -> schema.ExtractionChange | None:
    """Records that came back out; paired if both audits list every one of them."""
    if before is None or after is None or not before.n_tried or not after.n_tried:
        return None
    is_listed = all(len(one.records) == one.n_extracted for one in (before, after))
    alone: tuple[int | None, int | None] = (None, None)
    if is_listed and before.n_tried == after.n_tried:
        first, second = ({r.record_id for r in one.records} for one in (before, after))
        count = PairedCount(
            before.n_tried, len(first & second), len(first - second), len(second - first)
        )
        alone = (count.before_alone, count.after_alone)
        difference, p = share_difference(count, confidence=1 - ALPHA), share_p_value(count)
    else:
        a, b = before.n_extracted / before.n_tried, after.n_extracted / after.n_tried
        limits = newcombe(b, after.n_tried, a, before.n_tried, confidence=1 - ALPHA)
        difference = Estimate(b - a, float(limits.low), float(limits.high))
        table = [[one.n_extracted, one.n_tried - one.n_extracted] for one in (before, after)]
        p = float(stats.fisher_exact(table).pvalue)
    return schema.ExtractionChange(
        attack=after.attack,
        before=before.n_extracted,
        after=after.n_extracted,
        n_before=before.n_tried,
        n_after=after.n_tried,
        before_alone=alone[0],
        after_alone=alone[1],
        difference=difference,
        p_value=p,
        p_holm=p,
        change="undecided",
    )


def _accuracy(before: AuditRecord, after: AuditRecord) -> tuple[schema.AccuracyChange, ...]:
    first, second = before.target.classifier, after.target.classifier
    if first is None or second is None:
        return ()
    rows = (
        ("members", first.accuracy_members, second.accuracy_members),
        ("nonmembers", first.accuracy_nonmembers, second.accuracy_nonmembers),
    )
    sizes = {
        "members": (before.data.n_members, after.data.n_members),
        "nonmembers": (before.data.n_nonmembers, after.data.n_nonmembers),
    }
    found = []
    for group, a, b in rows:
        n = sizes[group]
        if a.value is None or b.value is None or not all(n):
            continue
        limits = newcombe(b.value, n[1], a.value, n[0], confidence=1 - ALPHA)
        low, high = float(limits.low), float(limits.high)
        change: schema.Change = "better" if low > 0 else "worse" if high < 0 else "undecided"
        found.append(
            schema.AccuracyChange(
                group=group,  # type: ignore[arg-type]
                before=a,
                after=b,
                difference=Estimate(b.value - a.value, low, high),
                change=change,
            )
        )
    return tuple(found)
