"""The blind control: can members be told from nonmembers by their records alone?

Everything here is computed from pixels, captions and file properties; the model is never touched,
and this module imports nothing that could touch it. If the test of `attacks.statistics.blind`
succeeds on such features, the two sets differ in more than having been trained on, and every
membership claim about them is void (Das, Zhang, Tramer, arXiv 2406.16201).

What it sees: 16 x 16 pixels through 32 principal components and their squares; words and pairs of
words of captions, and their style; size, mode, format and bytes as read from the file; and
label-free complexity scores. What it cannot see: a difference that lives only in fine texture, in
word order, or in columns that the records do not carry. Multiplicity is left out: how often a
record was listed is no property of its content.

Measured on scikit-learn's digits, 600 + 600, p <= .01: 1 of 200 clean random splits. Found in 16
or 17 runs each: class mix with AUC .55 6 %, words with .55 44 %, brightness with .56 53 % and with
.59 100 %; 12 odd members among the 600 29 % (noise), 41 % (negatives), 65 % (one colour), though
p <= .05 in 71, 100 and 100 %; 24 of one colour 100 %. So a pass does not show that every member
comes from where the nonmembers come from.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from attacks.errors import UnderPowered
from attacks.results import ControlResult, ControlStatus
from attacks.statistics.blind import PERMUTATIONS, BlindResult, blind_test, label_units
from attacks.wording import p_equals, plural
from auditor.controls.features import BlindFeatures

if TYPE_CHECKING:
    from auditor.prepare import Record

ALPHA_INVALID = 0.01
"""p at or below which the comparison is confounded."""
ALPHA_WARNING = 0.05
"""p at or below which a warning is printed."""
MAX_PER_SIDE = 5_000
"""Records a side beyond which a random subset is tested."""


@dataclass(frozen=True, slots=True)
class BlindBaseline:
    """The control and what it knows about each record."""

    control: ControlResult
    scores: dict[str, float]
    """Record id -> out-of-fold blind score; higher looks more like a member. Empty if not run."""
    result: BlindResult | None
    """All AUCs and p-values; None if not run."""


def blind_baseline(
    members: Sequence[Record],
    nonmembers: Sequence[Record],
    features_of: Callable[[Sequence[Record]], BlindFeatures],
    *,
    seed: int,
    n_permutations: int = PERMUTATIONS,
) -> BlindBaseline:
    """Test whether members differ from nonmembers before any model is asked.

    members, nonmembers: records with distinct ids; their order has no effect. Above 5,000 a side
        a random subset is tested, and only its records are scored.
    features_of: label-free features of records, such as `image_features`.

    A subject that appears on both sides counts as two units. Never raises for small or uniform
    sets: the control then says NOT_RUN, or passes for want of any difference.
    """
    rng = np.random.default_rng(seed)
    sides = [_subset(side, rng) for side in (members, nonmembers)]
    listed = sorted(
        (
            (r, is_member)
            for side, is_member in zip(sides, (True, False), strict=True)
            for r in side
        ),
        key=lambda pair: pair[0].id,
    )
    is_member = np.array([member for _, member in listed], dtype=bool)
    groups = None
    if any(r.subject for r, _ in listed):
        groups = np.array([f"{m}:{r.subject}" if r.subject else f"id:{r.id}" for r, m in listed])
    try:
        label_units(is_member, groups)
        features = features_of([r for r, _ in listed])
        result = blind_test(
            features.blocks,
            features.scores,
            is_member,
            rng=rng,
            groups=groups,
            n_permutations=n_permutations,
        )
    except UnderPowered as error:
        return BlindBaseline(ControlResult("blind", ControlStatus.NOT_RUN, f"{error}."), {}, None)
    dropped = len(members) + len(nonmembers) - len(listed)
    control = _judge(result, dropped=dropped, n_permutations=n_permutations)
    scores = {r.id: float(s) for (r, _), s in zip(listed, result.record_scores, strict=True)}
    return BlindBaseline(control, scores, result)


def _subset(side: Sequence[Record], rng: np.random.Generator) -> list[Record]:
    """The records of one side, or a random 5,000 of them, whatever order they came in."""
    ordered = sorted(side, key=lambda record: record.id)
    if len(ordered) <= MAX_PER_SIDE:
        return ordered
    chosen = rng.choice(len(ordered), MAX_PER_SIDE, replace=False)
    return [ordered[i] for i in np.sort(chosen)]


def _judge(result: BlindResult, *, dropped: int, n_permutations: int) -> ControlResult:
    """The control's status by its p-value, with the sentence that says why."""
    tail, count = max(result.tail.items(), key=lambda item: item[1], default=("none", 0))
    by_average = result.p_z <= result.p_tail
    if by_average:
        evidence = f"{result.strongest} has AUC {result.auc[result.strongest]:.3f}"
    else:
        evidence = f"{plural(count, 'member')} beyond the third most extreme nonmember in {tail}"
    sizes = f"{plural(result.n_members, 'member')} and {plural(result.n_nonmembers, 'nonmember')}"
    sizes = f"a random subset of {sizes}" if dropped else sizes
    if result.p <= ALPHA_INVALID:
        status, meaning = ControlStatus.FAILED, "differ without the model: confounded"
    elif result.p <= ALPHA_WARNING:
        status, meaning = ControlStatus.WARNING, "may differ without the model"
    else:
        status, meaning = ControlStatus.PASSED, "could not be told apart without the model"
    figures: dict[str, float | int | str | bool | None] = {
        "p": result.p,
        "p_z": result.p_z,
        "p_tail": result.p_tail,
        "n_members": result.n_members,
        "n_nonmembers": result.n_nonmembers,
        "n_units": result.n_units,
        "records_left_out": dropped,
        "permutations": n_permutations,
        "strongest": result.strongest,
        "tail": tail,
        "tail_members": count,
    }
    figures |= {f"auc:{name}": auc for name, auc in result.auc.items()}
    summary = f"{sizes} {meaning} ({evidence}; {p_equals(result.p)})."
    return ControlResult("blind", status, summary[0].upper() + summary[1:], figures)
