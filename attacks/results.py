"""Typed results: what an evaluation says about one attack, one control, one rule.

Arrays of scores live in Parquet files beside the record; these are the figures drawn from them.
Nothing here is NaN: a figure that cannot be given is None, with a reason beside it.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass, field


class Outcome(enum.StrEnum):
    """How a rule, and an audit, can end."""

    PASS = "pass"
    FAIL = "fail"
    INCONCLUSIVE = "inconclusive"
    INVALID = "invalid"


class ControlStatus(enum.StrEnum):
    """How a control can end."""

    PASSED = "passed"
    WARNING = "warning"
    FAILED = "failed"
    NOT_RUN = "not run"


@dataclass(frozen=True, slots=True)
class Estimate:
    """A figure with its interval."""

    value: float | None
    """Point estimate, or None when this sample cannot resolve it."""
    low: float | None
    """Lower limit, or None when none exists at this sample size."""
    high: float | None
    """Upper limit, or None when none exists."""
    reason: str | None = None
    """Why a value is missing."""


@dataclass(frozen=True, slots=True)
class TprAtFpr(Estimate):
    """TPR at a nominal FPR: `low` is verdict.md step 4 (95 %), `high` step 3 (one-sided 95 %)."""

    fpr: float | None = None
    """False-positive rate that the sample realised at the threshold of the point value."""


@dataclass(frozen=True, slots=True)
class RocPoint:
    """One point of a thinned ROC curve with its exact band."""

    fpr: float
    """Share of nonmembers at or above the threshold."""
    tpr: float
    """Share of members at or above the threshold."""
    tpr_low: float
    """Lower 95 % Clopper-Pearson limit of tpr."""
    tpr_high: float
    """Upper 95 % Clopper-Pearson limit of tpr."""


@dataclass(frozen=True, slots=True)
class ScoreShare:
    """One point of the distribution of scores."""

    score: float
    """A score that some record has."""
    members: float
    """Share of members at or above it."""
    nonmembers: float
    """Share of nonmembers at or above it."""


@dataclass(frozen=True, slots=True)
class Identified:
    """Members above the top nonmembers: the evidence of the primary rule (verdict.md, step 5-7)."""

    members_above: dict[str, int]
    """r -> K_r, the members strictly above the r-th largest nonmember score, r in {1, 3, 10}."""
    p_value: float
    """Exact p of this attack alone, minimum over r with Bonferroni, before joint correction."""
    leaked_at_least: int
    """m_lo: members that leak, at joint confidence 1 - alpha_F over attacks; 0 when none is shown."""


@dataclass(frozen=True, slots=True)
class Cost:
    """What an attack cost on the target."""

    calls_alone: int
    """Forward calls per record if this attack ran alone."""
    calls_marginal: int
    """Forward calls per record that would be saved by leaving it out of this scan."""


@dataclass(frozen=True, slots=True)
class NamedRecord:
    """A record near the top of the ranking."""

    record_id: str
    """Published id (an HMAC of the content hash under the project's key)."""
    is_member: bool
    """Whether the record was declared a member."""
    score: float
    """Score of this attack; higher is more likely a member."""
    rank: int
    """1 for the highest score among all evaluated records."""
    multiplicity: int
    """How often the content occurs in its split."""
    is_named: bool
    """Whether it is individually identified at false-discovery rate 10 % (step 7)."""
    comparable: bool | None = None
    """Whether at least five nonmembers have a similar blind score; None when not checked."""
    colour: str = "#808080"
    """Mean colour of the image as #rrggbb: the swatch of a redacted report."""
    size: str = ""
    """Width x height in pixels as read."""


@dataclass(frozen=True, slots=True)
class CurvePoint:
    """Mean loss at one timestep with 95 % intervals of the means."""

    t: int
    members: Estimate
    nonmembers: Estimate


@dataclass(frozen=True, slots=True)
class GroupShare:
    """How exposed the members of one group are."""

    group: str
    """Name of the group, such as a class."""
    n_members: int
    share: Estimate
    """Share of its members above the score that 1 % of all nonmembers reach; the intervals of all
    groups hold together at 95 %."""


@dataclass(frozen=True, slots=True)
class ShadowPoint:
    """The AUC of an attack that compares the target with so many shadow models."""

    attack: str
    n_shadows: int
    auc: Estimate


@dataclass(frozen=True, slots=True)
class MembershipFinding:
    """Everything that an audit says about one membership attack."""

    attack: str
    """Name on the command line."""
    rule_id: str
    """Stable id, such as MIA001."""
    title: str
    access: str
    n_members: int
    """Evaluated members (subjects, where the records name subjects)."""
    n_nonmembers: int
    """Evaluated nonmembers, likewise."""
    auc: Estimate
    """Area under the ROC curve with its two-sided 95 % interval (DeLong on the logit)."""
    tpr_at_fpr: dict[str, TprAtFpr]
    """Nominal FPR (`0.001`, `0.01`, `0.05`) -> TPR."""
    identified: Identified
    detectable: Estimate
    """Smallest share of members at the top that this sample would FAIL with 80 % power."""
    cost: Cost
    roc: tuple[RocPoint, ...]
    """At most 400 points, from strictest to laxest threshold."""
    distribution: tuple[ScoreShare, ...]
    """At most 80 points of the distribution of scores, from the highest score to the lowest."""
    top_members: tuple[NamedRecord, ...]
    """The highest-scoring members: every named one (at most 50), at least 10 where there are."""
    top_nonmembers: tuple[NamedRecord, ...]
    """The 20 highest-scoring nonmembers, for a check of their provenance."""
    positive_control_dose: int | None = None
    """Smallest dose (exposures) at which the positive control was caught; None if never."""
    supports_pass: bool = False
    """Whether the positive control was caught at a dose that the policy accepts."""
    scores: str = ""
    """Path of the scores, relative to audit.json (columns record_id, member, score)."""
    kind: str = "membership"
    warnings: tuple[str, ...] = ()
    knowledge: str = ""
    """What the attacker must hold, in words: the threat model beside `access` and `cost`."""


@dataclass(frozen=True, slots=True)
class AttributeValue:
    """How well the records of one value of a column are guessed."""

    value: str
    """The value, or a range of numbers; rare values together."""
    n_members: int
    n_nonmembers: int
    imputed_members: Estimate
    """Share of its members that the imputation guesses."""
    attacked_members: Estimate
    """Share of its members that the attack guesses."""
    leak: Estimate
    """Gain on its members minus gain on its nonmembers; the intervals of all values hold together
    at 95 %."""


@dataclass(frozen=True, slots=True)
class AttributeFinding:
    """What an audit says about one column that an attacker does not know."""

    attack: str
    """Name of the attack."""
    rule_id: str
    """Stable id, such as ATT001."""
    title: str
    access: str
    column: str
    """Name of the column."""
    n_members: int
    """Evaluated members in which the column holds one of the values tried."""
    n_nonmembers: int
    n_left_out: int
    """Evaluated records in which it holds nothing, or another value."""
    imputed_members: Estimate
    """Share of members that the imputation guesses, which never asks the model."""
    attacked_members: Estimate
    """Share of members that the attack guesses."""
    imputed_nonmembers: Estimate
    attacked_nonmembers: Estimate
    advantage_members: Estimate
    """Attack minus imputation on members, paired, with its 95 % interval."""
    advantage_nonmembers: Estimate
    """The same on nonmembers: what the model teaches about records that it never saw."""
    leak: Estimate
    """Advantage on members minus advantage on nonmembers."""
    is_shown: bool
    """Whether the intervals of the leak and of the advantage on members both lie above 0."""
    by_value: tuple[AttributeValue, ...]
    calls: int
    """Forward calls per record."""
    knowledge: str
    """What the attacker must hold, in words."""
    warnings: tuple[str, ...] = ()
    kind: str = "attribute"


@dataclass(frozen=True, slots=True)
class DatasetInference:
    """Whether a collection as a whole was used in training; says nothing about one record."""

    attack: str
    rule_id: str
    title: str
    access: str
    n_published: int
    """Members that the test used (subjects, where the records name subjects)."""
    n_unpublished: int
    """Nonmembers that it used, likewise."""
    p_value: float | None
    """One-sided p of one test on held-out records; None if no claim may be made."""
    effect: float | None
    """Difference of the mean scores in standard deviations of the unpublished records' scores."""
    alpha: float
    """Error probability of the claim."""
    is_used: bool | None
    """Whether p is at most alpha; None if no claim may be made."""
    explanation: str
    """The claim in one or two sentences, or why there is none."""
    cost: Cost
    kind: str = "dataset inference"


@dataclass(frozen=True, slots=True)
class PlannedAttack:
    """An attack that was asked for but could not run."""

    attack: str
    reason: str


@dataclass(frozen=True, slots=True)
class ControlResult:
    """Outcome of one control."""

    name: str
    """`competence`, `positive`, `negative`, `reference`, `blind` or `direction`."""
    status: ControlStatus
    summary: str
    """One sentence with the numbers that decided."""
    figures: dict[str, float | int | str | bool | None] = field(default_factory=dict)
    """The numbers themselves, flat."""


@dataclass(frozen=True, slots=True)
class RuleResult:
    """One rule of the policy, judged."""

    rule: str
    """`identified`, `auc` or `tpr@1%`."""
    metric: str
    """What is limited, in words."""
    outcome: Outcome | None
    """None when the rule only reports."""
    value: float | None
    low: float | None
    high: float | None
    limit: float | None
    attack: str | None
    """The attack that decided."""
    explanation: str
    """One or two sentences for a reader who knows no statistics."""
    p_value: float | None = None
    """Corrected over attacks, where the rule tests a hypothesis."""
    needed: str | None = None
    """What would decide an inconclusive rule, such as `about 1,200 nonmembers`."""
    unit: str = "number"
    """How value, low, high and limit read: `share` (of 1, printed as %), `count` or `number`."""
    extrapolation: str | None = None
    """The bound over the whole training set, such as `at most 260 of 10,000 records`."""
