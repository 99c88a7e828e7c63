"""The charts of the report as Vega-Lite specifications, each with its table twin.

The points come from the record; here they are only chosen (thinned), clamped to the axes and
drawn. A chart holds no free text of the record except cleaned attack names.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import altair as alt

from attacks.extraction.generation import GenerationFinding
from attacks.results import CurvePoint, MembershipFinding, RocPoint, RuleResult, ShadowPoint
from attacks.wording import plural
from reports.html import layers
from reports.text import clean, decimal, interval, number, share


@dataclass(frozen=True, slots=True)
class Chart:
    """One chart: what to draw, what to say, and the same figures as a table."""

    id: str
    title: str
    description: str
    spec: dict[str, Any]
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str = ""


def thin(points: Sequence[RocPoint], most: int) -> tuple[RocPoint, ...]:
    """At most `most` points, evenly by position on the log axis of the false-positive rate."""
    if len(points) <= most:
        return tuple(points)
    seen: dict[int, RocPoint] = {}
    for point in points:
        place = math.log10(max(point.fpr, layers.FLOOR)) / -math.log10(layers.FLOOR) + 1
        seen[round(place * (most - 2))] = point
    return (points[0], *(one for one in seen.values() if one is not points[0]))


def roc_chart(finding: MembershipFinding, chart_id: str, most: int) -> Chart:
    """ROC on two logarithmic axes, with its band and the region that the sample cannot resolve."""
    points = thin(finding.roc, most)
    parts = [
        *layers.unresolved(1 / max(finding.n_nonmembers, 1)),
        layers.markers(finding),
        layers.diagonal(),
        *layers.curve("roc"),
        *layers.estimates(finding),
    ]
    name = clean(finding.attack, 40)
    return Chart(
        id=chart_id,
        title=f"ROC of {name}",
        description=(
            f"Share of members above the threshold against share of nonmembers above it, for "
            f"{name}, both on logarithmic axes from 0.01 % to 100 %. The band is the 95 % "
            f"Clopper-Pearson interval; the hatched region lies below one in "
            f"{plural(finding.n_nonmembers, 'nonmember')}."
        ),
        spec=layers.finish(alt.layer(*parts), height=340, roc=layers.curve_values(points)),
        columns=("False alarms (FPR)", "Members found (TPR)", "95 % interval"),
        rows=tuple(
            (share(p.fpr), share(p.tpr), interval(p.tpr_low, p.tpr_high, "share")) for p in points
        ),
        note=f"{len(points)} of {len(finding.roc)} points; all of them are in audit.json."
        if len(points) < len(finding.roc)
        else "",
    )


def loss_chart(curve: Sequence[CurvePoint], chart_id: str = "loss") -> Chart:
    """Mean loss of members and nonmembers at each timestep."""
    values = [
        {
            "t": point.t,
            "who": who,
            "loss": layers.rounded(one.value),
            "low": layers.rounded(one.low),
            "high": layers.rounded(one.high),
        }
        for point in curve
        for who, one in (("members", point.members), ("nonmembers", point.nonmembers))
        if one.value is not None
    ]
    positive = all(row["loss"] > 0 and (row["low"] is None or row["low"] > 0) for row in values)
    return Chart(
        id=chart_id,
        title="Loss against timestep",
        description=(
            "Mean loss of members (solid line, circles) and nonmembers (dashed line, diamonds) at "
            "each timestep, with 95 % intervals of the means. Members below nonmembers is what "
            "memorization looks like on average."
        ),
        spec=layers.finish(layers.loss_layers(values, positive), height=300),
        columns=("Timestep", "Members", "95 % interval", "Nonmembers", "95 % interval"),
        rows=tuple(
            (
                number(p.t),
                number(p.members.value),
                _span(p.members.low, p.members.high),
                number(p.nonmembers.value),
                _span(p.nonmembers.low, p.nonmembers.high),
            )
            for p in curve
        ),
    )


def distribution_chart(finding: MembershipFinding) -> Chart:
    """Risk by record: the scores of members and nonmembers, from the highest down."""
    name = clean(finding.attack, 40)
    sides = [("members", p.score, p.members) for p in finding.distribution]
    sides += [("nonmembers", p.score, p.nonmembers) for p in finding.distribution]
    values = [
        {"who": who, "score": layers.rounded(score), "share": layers.rounded(part)}
        for who, score, part in sides
    ]
    return Chart(
        id="scores",
        title=f"Scores of {name}, record by record",
        description=(
            f"Share of members (solid line) and of nonmembers (dashed line) whose score of {name} "
            "is at least the value on the horizontal axis. Members beyond the end of the dashed "
            "line are the ones that stand out."
        ),
        spec=layers.finish(layers.distribution_layers(values, name), height=260),
        columns=("Score", "Members at or above", "Nonmembers at or above"),
        rows=tuple(
            (number(layers.rounded(p.score)), share(p.members), share(p.nonmembers))
            for p in finding.distribution
        ),
    )


def distance_chart(found: GenerationFinding) -> Chart:
    """How near images come to the records of both sides."""
    points = found.distribution
    sides = [("members", p.distance, p.members) for p in points]
    sides += [("nonmembers", p.distance, p.nonmembers) for p in points]
    values = [
        {"who": who, "score": layers.rounded(at), "share": layers.rounded(part)}
        for who, at, part in sides
    ]
    return Chart(
        id="distances",
        title="How near the drawn images come to each record",
        description=(
            "Share of members (solid line) and of nonmembers (dashed line) whose nearest image is "
            "at most as far away as the value on the horizontal axis. Members to the left of the "
            f"dashed line's beginning stand out; copies lie within {number(found.threshold)}."
        ),
        spec=layers.finish(layers.distance_layers(values), height=260),
        columns=("Distance", "Members within", "Nonmembers within"),
        rows=tuple(
            (number(layers.rounded(p.distance)), share(p.members), share(p.nonmembers))
            for p in points
        ),
    )


def shadow_chart(points: Sequence[ShadowPoint]) -> Chart:
    """AUC of the attacks that compare the target with shadow models, by how many there are."""
    values = [
        {
            "attack": clean(p.attack, 24),
            "n": p.n_shadows,
            "auc": layers.rounded(p.auc.value),
            "low": layers.rounded(p.auc.low),
            "high": layers.rounded(p.auc.high),
        }
        for p in points
    ]
    return Chart(
        id="shadows",
        title="How much more would further shadow models find?",
        description=(
            "AUC of each attack with the first 2, 4, 8 ... shadow models, with 95 % intervals. A "
            "curve that still rises at its right end says that more of them would find more."
        ),
        spec=layers.finish(layers.shadow_layers(values), height=260),
        columns=("Attack", "Shadow models", "AUC", "95 % interval"),
        rows=tuple(
            (
                clean(p.attack, 80),
                number(p.n_shadows),
                decimal(p.auc.value),
                interval(p.auc.low, p.auc.high),
            )
            for p in points
        ),
    )


def auc_chart(findings: Sequence[MembershipFinding], rule: RuleResult | None) -> Chart:
    """AUC of every attack with its interval, beside chance and the limit."""
    values = [
        {
            "attack": clean(f.attack, 24),
            "auc": layers.rounded(f.auc.value),
            "low": f.auc.low,
            "high": f.auc.high,
        }
        for f in findings
        if f.auc.value is not None
    ]
    limit = rule.limit if rule else None
    return Chart(
        id="auc",
        title="Separation over all records (AUC)",
        description=(
            "One row per attack: the area under the ROC curve with its 95 % interval. 0.5 is "
            "guessing. The average over all records does not show a leak of a few of them."
        ),
        spec=layers.finish(layers.auc_layers(values, limit), height=max(70, 26 * len(values) + 20)),
        columns=("Attack", "AUC", "95 % interval"),
        rows=tuple(
            (clean(f.attack, 80), decimal(f.auc.value), interval(f.auc.low, f.auc.high))
            for f in findings
        ),
    )


def _span(low: float | None, high: float | None) -> str:
    return interval(low, high, "count")
