"""From scores to findings: every figure of an audit that does not depend on its controls.

`evaluate` is pure arithmetic on arrays and takes seconds; `auditor.judge` turns its result into
rules and a verdict.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from attacks.errors import DataError
from attacks.manifest import Manifest
from attacks.results import Cost, Identified, MembershipFinding, TprAtFpr
from attacks.statistics.auc import Auc, auc, paired_difference, roc_curve, score_distribution
from attacks.statistics.identified import (
    RANKS,
    TopEvidence,
    named_members,
    top_evidence,
)
from attacks.statistics.permutation import PERMUTATIONS, joint_identified_test
from attacks.statistics.power import detectable_share
from attacks.statistics.rates import (
    CountedBound,
    counted_upper_bound,
    tpr_at_fpr,
    tpr_fail_p_value,
)
from auditor.policy import Policy
from auditor.top_records import top_records
from auditor.units import RecordTable, Units, unit_members, units_of

__all__ = ["AttackEntry", "AttackStatistics", "Evaluation", "RecordTable", "evaluate"]

REPORTED_FPRS = (0.001, 0.01, 0.05)
"""False-positive rates at which every finding gives its TPR."""
FALSE_DISCOVERY_RATE = 0.10
"""Share of named records that may be wrong on average."""


@dataclass(frozen=True, slots=True)
class AttackEntry:
    """What is known about an attack before its scores are judged."""

    manifest: Manifest
    cost: Cost
    positive_control_dose: int | None = None
    """Smallest dose at which its positive control was caught; None if never, or not run."""
    variant: str = ""
    """What tells this run of the attack from another one, such as `unconditional`."""
    blind_twin: NDArray[np.float64] | None = None
    """(n,) scores of the same classifier on the records alone, where the attack has such a twin."""


@dataclass(frozen=True, slots=True)
class AttackStatistics:
    """Figures of one attack that rules need and findings do not show."""

    auc: Auc
    tpr_upper: CountedBound
    """Upper bound of TPR at the policy's `identified.fpr`, error alpha_pass."""
    identified_p: float
    """P-value of its top ranks, corrected over all attacks by joint permutation."""
    identified_p_low: float | None
    """The same at the low end of its ranking; None unless a mitigation is declared."""
    top: TopEvidence
    bottom: TopEvidence | None
    """Evidence at the low end, if a mitigation is declared."""
    tpr_1: TprAtFpr
    """TPR at 1 % FPR with bounds at alpha_pass."""
    tpr_1_p: float
    """P-value of "TPR at 1 % FPR is at most the limit"; 1 without a limit."""


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Everything between scores and judgement."""

    findings: tuple[MembershipFinding, ...]
    """`is_named` and `supports_pass` are provisional until the controls are judged."""
    statistics: dict[str, AttackStatistics]
    """By attack, in the order of the findings."""
    identified_p: float | None
    """P-value of "no member stands out in any attack", joint over attacks; None without any."""
    leaked_at_least: int
    """Members that leak, at confidence 1 - alpha_fail; 0 unless identified_p <= alpha_fail."""
    unit: Literal["record", "subject"]
    n_members: int
    """Evaluated members, in units."""
    n_nonmembers: int
    permutations: int
    seed: int

    @property
    def access(self) -> dict[str, str]:
        """Access class of each attack."""
        return {finding.attack: finding.access for finding in self.findings}


def evaluate(
    scores: Mapping[str, NDArray],
    records: RecordTable,
    attacks: Mapping[str, AttackEntry],
    policy: Policy,
    *,
    seed: int,
    permutations: int = PERMUTATIONS,
) -> Evaluation:
    """Evaluate attacks jointly on the same records.

    scores: attack name -> (n,) scores, higher = more likely a member; attacks: the same names.

    Raises ShapeError or DataError for scores that do not fit the records or are not finite, and
    DataError when a subject has records on both sides. No attack at all gives an Evaluation
    without findings, which can never PASS.
    """
    if set(scores) != set(attacks):
        raise DataError(f"scores of {sorted(scores)} do not match attacks {sorted(attacks)}")
    units = {name: units_of(name, values, records) for name, values in scores.items()}
    is_member = next(iter(units.values())).is_member if units else unit_members(records)
    sizes = int(is_member.sum()), int((~is_member).sum())
    columns = [unit.scores for unit in units.values()]
    both_ends = policy.target_declares_mitigation
    ends = columns + [-column for column in columns] if both_ends else columns
    level = policy.alpha_fail / (len(RANKS) * max(len(ends), 1))
    joint_p, adjusted = None, np.empty(0)
    if ends:
        rng = np.random.default_rng(seed)
        joint_p, adjusted, _ = joint_identified_test(
            ends, is_member, rng=rng, permutations=permutations
        )
    statistics = {
        name: _statistics(
            unit,
            policy,
            level=level,
            n_attacks=len(units),
            adjusted=(float(adjusted[i]), float(adjusted[i + len(units)]) if both_ends else None),
        )
        for i, (name, unit) in enumerate(units.items())
    }
    rejected = joint_p is not None and joint_p <= policy.alpha_fail
    findings = tuple(
        _finding(name, unit, statistics[name], attacks[name], records, policy, len(ends))
        for name, unit in units.items()
    )
    return Evaluation(
        findings=findings,
        statistics=statistics,
        identified_p=joint_p,
        leaked_at_least=_leaked(statistics) if rejected else 0,
        unit="record" if records.subjects is None else "subject",
        n_members=sizes[0],
        n_nonmembers=sizes[1],
        permutations=permutations,
        seed=seed,
    )


def _leaked(statistics: Mapping[str, AttackStatistics]) -> int:
    """The largest lower bound; at least 1, since "none leaks" is rejected."""
    tails = [t for s in statistics.values() for t in (s.top, s.bottom) if t is not None]
    return max(1, *(tail.leaked_at_least for tail in tails))


def _statistics(
    unit: Units,
    policy: Policy,
    *,
    level: float,
    n_attacks: int,
    adjusted: tuple[float, float | None],
) -> AttackStatistics:
    members, nonmembers = unit.members, unit.nonmembers
    limit = policy.rules.tpr_at_1.limit
    holm_level = policy.alpha_fail / n_attacks
    two_ends = policy.target_declares_mitigation
    return AttackStatistics(
        auc=auc(members, nonmembers),
        tpr_upper=counted_upper_bound(
            members, nonmembers, policy.rules.identified.fpr, alpha=policy.alpha_pass
        ),
        identified_p=adjusted[0],
        identified_p_low=adjusted[1],
        top=top_evidence(members, nonmembers, level=level),
        bottom=top_evidence(-members, -nonmembers, level=level) if two_ends else None,
        tpr_1=tpr_at_fpr(members, nonmembers, 0.01, alpha=policy.alpha_pass),
        tpr_1_p=1.0
        if limit is None
        else tpr_fail_p_value(members, nonmembers, 0.01, limit, level=holm_level),
    )


def _finding(
    name: str,
    unit: Units,
    statistics: AttackStatistics,
    entry: AttackEntry,
    records: RecordTable,
    policy: Policy,
    n_rankings: int,
) -> MembershipFinding:
    members, nonmembers = unit.members, unit.nonmembers
    fprs = sorted({*REPORTED_FPRS, policy.rules.identified.fpr})
    tprs = {f"{fpr:g}": tpr_at_fpr(members, nonmembers, fpr) for fpr in fprs}
    is_named = np.zeros(unit.scores.size, dtype=bool)
    if statistics.identified_p <= policy.alpha_fail:
        is_named[unit.is_member] = named_members(members, nonmembers, q=FALSE_DISCOVERY_RATE)
    top = top_records(unit, is_named, records)
    dose = entry.positive_control_dose
    return MembershipFinding(
        attack=name,
        rule_id=entry.manifest.id,
        title=f"{entry.manifest.title} ({entry.variant})"
        if entry.variant
        else entry.manifest.title,
        access=str(entry.manifest.access),
        n_members=members.size,
        n_nonmembers=nonmembers.size,
        auc=statistics.auc.interval(),
        tpr_at_fpr=tprs,
        identified=Identified(
            members_above={str(rank): count for rank, count in statistics.top.counts.items()},
            p_value=statistics.top.p_value,
            leaked_at_least=statistics.top.leaked_at_least,
        ),
        detectable=detectable_share(
            members.size, nonmembers.size, n_attacks=n_rankings, alpha=policy.alpha_fail
        ),
        cost=entry.cost,
        roc=roc_curve(members, nonmembers),
        distribution=score_distribution(members, nonmembers),
        top_members=top.members,
        top_nonmembers=top.nonmembers,
        positive_control_dose=dose,
        supports_pass=dose is not None and dose <= policy.accepted_dose,
        warnings=(
            *_warnings(unit, statistics.auc, fprs),
            *_beside_its_twin(unit, entry.blind_twin, records),
        ),
    )


def _warnings(unit: Units, estimate: Auc, fprs: list[float]) -> tuple[str, ...]:
    found = []
    n_nonmembers = unit.nonmembers.size
    thin = [f"{100 * fpr:g} %" for fpr in fprs if 1 <= fpr * n_nonmembers < 10]
    if thin:
        found.append(
            f"TPR at an FPR of {' and '.join(thin)} rests on fewer than 10 nonmembers above the "
            "threshold."
        )
    if estimate.is_degenerate:
        found.append("The AUC has no estimable variance; its interval is a conservative one.")
    tied = 1 - np.unique(unit.scores).size / unit.scores.size
    if tied > 0.1:
        found.append(f"{tied:.0%} of the scores repeat another score; ties count for neither side.")
    return tuple(found)


def _beside_its_twin(
    unit: Units, twin: NDArray[np.float64] | None, records: RecordTable
) -> tuple[str, ...]:
    """What the attack's classifier reaches without the model, and whether the attack beats it."""
    if twin is None:
        return ()
    alone = units_of("its blind twin", twin, records)
    blind = auc(alone.members, alone.nonmembers).interval()
    ahead = paired_difference((unit.members, alone.members), (unit.nonmembers, alone.nonmembers))
    verdict = "the attack beats it" if ahead.low > 0 else "the attack is not shown to beat it"
    return (
        f"Its blind twin, the same classifier on the records without the model, has AUC "
        f"{blind.value:.3f} ({blind.low:.3f} to {blind.high:.3f}); {verdict} "
        f"(difference {ahead.low:+.3f} to {ahead.high:+.3f}).",
    )
