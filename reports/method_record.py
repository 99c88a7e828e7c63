"""The record of a method's audit, `method.json`: one pydantic model, schema `auditor-method/1`.

Renderers are pure functions of this record; they compute no statistic and cannot change an answer.
"""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from attacks.results import ControlResult, Estimate, TprAtFpr
from reports.record import Tool

SCHEMA = "auditor-method/1"

Kind = Literal["method", "baseline"]
Group = Literal["ordinary", "canaries"]
Answer = Literal["leaks more", "leaks less", "undecided"]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class MethodLabel(_Model):
    """The method that was audited."""

    name: str
    title: str
    family: str
    """Family of the targets that it trains."""
    reference: str
    """The paper."""
    claim: str
    """One sentence: the effect that the paper claims."""
    privacy_question: str
    """One sentence: the privacy question that is special to it."""


class MethodAnswer(_Model):
    """The answer in one sentence, with the number behind it."""

    reproduced: bool
    """Whether the paper's claim was reproduced."""
    sentence: str
    """Claim and leak in one sentence that a reader without statistics understands."""
    headline: str
    """The numbers behind it, with their interval."""
    untested: str
    """What was not tested, in one sentence."""
    exit_code: int
    """0 claim reproduced; 3 not reproduced, or the comparison is invalid."""


class MethodPool(_Model):
    """The method's default data; counts only."""

    n_pool: int
    """Records that models are trained on, or on halves of."""
    n_test: int
    """Records that no model is trained on."""
    n_kept: int
    """Ordinary records in each training set."""
    n_canaries: int
    """Records of the pool with a wrong label; about half of them are in each training set."""


class ClaimCheck(_Model):
    """A side condition of the claim."""

    name: str
    passed: bool


class Claim(_Model):
    """The paper's effect, measured: method against baseline, one value per seed."""

    metric: str
    """What is measured; higher is better."""
    seeds: tuple[int, ...]
    method: tuple[float, ...]
    """The metric with the mechanism, one per seed."""
    baseline: tuple[float, ...]
    """The metric without it, one per seed."""
    mean: float
    """Mean difference over seeds."""
    sd: float
    """Standard deviation of the difference over seeds."""
    low: float
    """One-sided 95 % lower limit of the mean difference."""
    floor: float
    """Smallest mean difference at which the claim holds."""
    holds: bool
    rule: str
    description: str
    checks: tuple[ClaimCheck, ...] = ()
    figures: dict[str, float] = Field(default_factory=dict)


class AttackFigures(_Model):
    """One attack on one group of records of one model."""

    attack: str
    group: Group
    auc: Estimate
    """AUC of members against nonmembers with its 95 % interval (DeLong on the logit)."""
    tpr: TprAtFpr
    """TPR at 1 % FPR, as in `audit.json`."""
    n_members: int
    n_nonmembers: int


class TrainedModel(_Model):
    """One model of the comparison."""

    kind: Kind
    trial: int
    """Counted from 1."""
    half: int
    """1 or 2: the two halves of a trial are complementary."""
    seed: int
    accuracy: Estimate
    """Share of test records that it classifies rightly, with its exact 95 % interval."""
    attacks: tuple[AttackFigures, ...]


class PairedAuc(_Model):
    """Method minus baseline on the same records, within one half of a trial."""

    trial: int
    half: int
    difference: Estimate
    """Difference of the AUCs with DeLong's paired 95 % interval."""
    p_value: float


class Comparison(_Model):
    """Method against baseline for one attack and one group of records, over trials."""

    attack: str
    group: Group
    is_primary: bool
    """Whether this is the comparison that the answer rests on, fixed before any score."""
    method: Estimate
    """Mean AUC over trials with Student's 95 % interval; a trial is the mean of its halves."""
    baseline: Estimate
    difference: Estimate
    """Mean over trials of method minus baseline, with Student's 95 % interval."""
    per_trial: tuple[float, ...]
    """Method minus baseline, one per trial."""
    pairs: tuple[PairedAuc, ...]
    answer: Answer
    sentence: str


class Utility(_Model):
    """Test accuracy of the models of the comparison, over trials."""

    method: Estimate
    baseline: Estimate
    difference: Estimate


class Leak(_Model):
    """Membership leak of the method beside its baseline."""

    models: tuple[TrainedModel, ...]
    comparisons: tuple[Comparison, ...]
    utility: Utility
    canaries_found: dict[Kind, Estimate]
    """Share of canaries to whose wrong label the model trained on them gives more confidence than
    its twin does, over trials, with the exact 95 % interval."""


class OwnFigure(_Model):
    """One figure of the method's own question, over trials."""

    name: str
    sentence: str
    metric: str
    is_certain: bool
    """Whether it is read off the artefact rather than inferred."""
    method: tuple[float | None, ...]
    """One value per trial; None where it cannot be given."""
    baseline: tuple[float | None, ...]
    method_mean: Estimate
    """Mean over the trials that have a value, with Student's 95 % interval."""
    baseline_mean: Estimate
    control_name: str = ""
    """What the control is, where there is one."""
    method_control: tuple[float | None, ...] = ()
    """The same figure where no leak can be, one per trial."""
    baseline_control: tuple[float | None, ...] = ()


class MethodEnvironment(_Model):
    """Where and how long."""

    started: datetime
    finished: datetime
    device: str
    versions: dict[str, str]
    seconds: dict[str, float]
    """Stage -> wall seconds."""
    peak_memory_mb: float


class MethodRecord(_Model):
    """One audit of a method."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, allow_inf_nan=False, populate_by_name=True
    )

    schema_: Literal["auditor-method/1"] = Field(default="auditor-method/1", alias="schema")
    tool: Tool
    command: str
    seed: int
    trials: int
    quick: bool
    answer: MethodAnswer
    method: MethodLabel
    data: MethodPool
    claim: Claim
    leak: Leak | None
    """None where the family cannot be compared yet."""
    leak_missing: str = ""
    """Why there is no comparison."""
    own_question: tuple[OwnFigure, ...]
    controls: tuple[ControlResult, ...]
    environment: MethodEnvironment
