"""The record of a comparison of two audits, `compare.json`: schema `auditor-compare/1`.

Differences are always after minus before. Renderers draw this record and compute no statistic.
"""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from attacks.results import Estimate, Outcome
from reports.record import Tool

SCHEMA = "auditor-compare/1"

Answer = Literal["no worse", "worse", "undecided"]
"""What the comparison as a whole says."""
Change = Literal["better", "worse", "undecided"]
"""What an interval says about one metric."""


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Side(_Model):
    """One of the two audits."""

    name: str
    """Name of the target."""
    architecture: str
    audit_sha256: str
    """SHA-256 of its audit.json."""
    finished: str
    outcome: Outcome
    sentence: str
    headline: str
    policy: str
    policy_sha256: str
    seed: int
    n_members: int
    n_nonmembers: int
    is_valid: bool
    """Whether no control failed that makes its membership rules invalid."""


class Pairing(_Model):
    """The records that both audits evaluated."""

    n_members: int
    n_nonmembers: int
    n_before_alone: int
    """Records that only the first audit evaluated; they are left out."""
    n_after_alone: int


class AucChange(_Model):
    """The area under the ROC curve of one attack, before and after."""

    before: float
    after: float
    difference: Estimate
    """Of what is read as the leak, with its paired 95 % interval (DeLong)."""
    p_value: float
    """Two-sided, this attack alone."""
    p_holm: float
    """Corrected over all attacks and leak metrics."""
    change: Change
    is_within_margin: bool
    """Whether the upper limit of the difference is below the margin."""


class TopChange(_Model):
    """Members above the top nonmembers, before and after, counted on the same members."""

    fpr: float
    """False-positive rate of the policy of the second audit."""
    rank: int
    """A member counts if it lies above the so-many-th highest nonmember."""
    before: int
    after: int
    both: int
    before_alone: int
    after_alone: int
    difference: Estimate
    """Of the shares of members, with exact 95 % limits for these two thresholds."""
    p_interval: float
    """Two-sided p-value that agrees with the interval (McNemar's exact test)."""
    p_swap: float
    """Two-sided p-value that accounts for the thresholds (exchange of each record's scores)."""
    p_holm: float
    """The larger of the two, corrected over all attacks and leak metrics."""
    change: Change


class AttackChange(_Model):
    """One membership attack that both audits ran."""

    attack: str
    title: str
    access: str
    is_reversed_before: bool
    """Whether its AUC is shown to be below the lower limit: then 1 - AUC is the leak."""
    is_reversed_after: bool
    auc: AucChange
    top: TopChange


class ExtractionChange(_Model):
    """Training records that came back out, before and after."""

    attack: str
    before: int
    after: int
    n_before: int
    """Members that were tried."""
    n_after: int
    before_alone: int | None
    """Records that came back before alone; None where the audits cannot be paired."""
    after_alone: int | None
    difference: Estimate
    """Of the shares, with its 95 % interval."""
    p_value: float
    p_holm: float
    change: Change


class AccuracyChange(_Model):
    """Task accuracy of classifiers; unpaired, since audits hold no answers about single records."""

    group: Literal["members", "nonmembers"]
    before: Estimate
    after: Estimate
    difference: Estimate
    """With Newcombe's 95 % interval for independent groups."""
    change: Change
    """On nonmembers: the use of the model. It does not enter the answer."""


class QualityChange(_Model):
    """One figure of the images that both models draw from the same captions and seeds."""

    metric: str
    before: Estimate
    after: Estimate
    difference: Estimate
    """With its paired 95 % interval; FID has none."""
    change: Change
    """From the interval alone, uncorrected; it does not enter the answer."""
    note: str


class Quality(_Model):
    """What the change costs: quality of generated images."""

    features: str
    """What pictures are compared by."""
    limits: str
    """What these features do not see."""
    n_images: int
    """Images drawn by each model."""
    n_real: int
    """Real pictures that they are compared with."""
    steps: int
    guidance: float
    rows: tuple[QualityChange, ...]


class RulePair(_Model):
    """One rule of the policies, side by side."""

    rule: str
    before: Outcome | None
    """None: reported only, or not judged."""
    after: Outcome | None


class Conclusion(_Model):
    """The answer, and what it rests on."""

    answer: Answer
    sentence: str
    headline: str
    untested: str
    exit_code: int
    """0 no worse, 1 worse, 3 undecided."""


class CompareRecord(_Model):
    """A comparison of two audits."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, allow_inf_nan=False, populate_by_name=True
    )

    schema_: Literal["auditor-compare/1"] = Field(default="auditor-compare/1", alias="schema")
    tool: Tool
    command: str
    conclusion: Conclusion
    margin: float
    """Largest rise of an AUC that counts as no worse."""
    alpha: float
    """Probability of any wrong "better" or "worse" among the leak metrics."""
    swaps: int
    before: Side
    after: Side
    pairing: Pairing
    rules: tuple[RulePair, ...]
    attacks: tuple[AttackChange, ...]
    before_alone: tuple[str, ...]
    """Attacks that only the first audit has."""
    after_alone: tuple[str, ...]
    extraction: ExtractionChange | None
    accuracy: tuple[AccuracyChange, ...]
    quality: Quality | None = None
    """Diffusion models, if both were given beside their audits."""
    warnings: tuple[str, ...]
    notes: tuple[str, ...]
    """What differs between the two audits beside the model."""
