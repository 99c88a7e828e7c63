"""The record of an audit, `audit.json`: one pydantic model, schema `auditor/1`.

Renderers are pure functions of this record; they compute no statistic and cannot change a verdict.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from attacks.extraction.generation import GenerationFinding
from attacks.results import (
    AttributeFinding,
    ControlResult,
    CurvePoint,
    DatasetInference,
    Estimate,
    GroupShare,
    MembershipFinding,
    Outcome,
    PlannedAttack,
    RuleResult,
    ShadowPoint,
)

SCHEMA = "auditor/1"


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Tool(_Model):
    """The tool that made the record."""

    name: str = "auditor"
    version: str
    commit: str | None = None
    """Commit of the tool, where it runs from a checkout."""


class Verdict(_Model):
    """The answer in one sentence, with the number behind it."""

    outcome: Outcome
    sentence: str
    """Verdict in one sentence that a reader without statistics understands."""
    headline: str
    """The number behind the verdict, with its interval."""
    untested: str
    """What was not tested, in one sentence."""
    exit_code: int
    """0 pass, 1 fail, 3 inconclusive or invalid."""


class Policy(_Model):
    """The policy that judged, as loaded."""

    name: str
    sha256: str
    rules: dict[str, Any]
    alpha_fail: float | None = None
    """Probability of a wrong FAIL, over all attacks together."""
    alpha_pass: float | None = None
    """Probability of a wrong PASS."""
    release_context: Literal["public_api", "internal", "open_weights", "unspecified"] = (
        "unspecified"
    )


class DiffusionDetails(_Model):
    """What only a diffusion model has."""

    prediction_type: str
    n_timesteps: int
    resolution: int
    """Side of the input image in pixels."""
    is_latent: bool
    is_text_conditional: bool


class ClassifierDetails(_Model):
    """What only a classifier has."""

    n_classes: int
    gives: Literal["logits", "probabilities", "labels"]
    """The most that an answer holds."""
    n_features: int
    """Columns of a record."""
    accuracy_members: Estimate
    """Share of evaluated members that it classifies rightly, with its exact 95 % interval."""
    accuracy_nonmembers: Estimate
    n_shadows: int
    """Shadow models that attacks compared it with."""
    clipped: float | None
    """Share of the records whose probability of the true class was clipped: it was 0 or 1."""
    notes: tuple[str, ...] = ()
    """What a reader should know about the training of the shadow models."""


class DeclaredMitigation(_Model):
    """A mitigation that the model declares: then scores far below chance count as a leak."""

    id: str
    name: str
    title: str
    guarantee: str
    """Kind of protection; an inference filter never changes what attacks on the weights see."""


class Target(_Model):
    """What was audited; no path, only hashes."""

    name: str
    """Directory name or hub id of the model."""
    architecture: str
    family: str
    n_parameters: int | None
    """Learned numbers, where that means something."""
    weights_sha256: dict[str, str]
    """Component file -> SHA-256."""
    diffusion: DiffusionDetails | None = None
    classifier: ClassifierDetails | None = None
    adapter: str | None = None
    reference: str | None = None
    mitigations: tuple[DeclaredMitigation, ...] = ()
    """What was done to the model, by the record beside it; the first one first."""


class Data(_Model):
    """The records that were used; counts and hashes only."""

    n_members: int
    """Distinct members evaluated."""
    n_nonmembers: int
    n_calibration: int
    """Records set aside for fitted attacks (both sides)."""
    members_sha256: str
    """Hash over the sorted content ids of the members, keyed by the project key."""
    nonmembers_sha256: str
    unit: Literal["record", "subject"] = "record"
    repeats: dict[str, int] = Field(default_factory=dict)
    """Multiplicity -> number of distinct members that occur so often."""
    n_repeated_members: int = 0
    n_cross_split_dropped: int = 0
    """Distinct nonmembers that are not evaluated because a member equals them."""
    n_withheld_members: int = 0
    """Distinct members that are not evaluated because a nonmember equals or nearly equals them."""
    n_unreadable: int = 0
    n_near_duplicates_across: int = 0
    """Nonmembers that are not evaluated because they nearly equal a member."""
    has_captions: bool = False
    caption_source: str = "none"
    n_train: int | None = None
    """Training-set size, if the user declared it."""
    notes: tuple[str, ...] = ()


class Environment(_Model):
    """Where and how long."""

    started: datetime
    finished: datetime
    device: str
    precision: str
    batch_size: int
    versions: dict[str, str]
    seconds: dict[str, float]
    """Stage -> wall seconds."""
    peak_memory_mb: float
    calls_per_record: int
    """Forward calls per record that the plan shares among all attacks."""
    n_calls: int
    """Forward calls made in this run, in images, controls included."""
    n_calls_cached: int
    """Forward calls answered from the cache."""
    images_per_second: float | None
    """Records per second through the observation of the target."""
    tester: str | None = None
    """Who ran the audit, if declared: a report that is signed needs a name."""


class Coverage(_Model):
    """One attack class of EDPB Opinion 28/2024, paragraph 55."""

    id: str
    """An id of `reports.crosswalk.COVERAGE_IDS`, such as `membership-inference`."""
    name: str
    status: Literal["tested", "not tested", "not applicable"]
    reason: str
    results: tuple[str, ...] = ()
    """Names of the findings that stand behind `tested`."""


class Manifest(_Model):
    """SHA-256 of inputs (keyed) and of the score files."""

    inputs: dict[str, str]
    files: dict[str, str]


class AuditRecord(_Model):
    """One audit."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, allow_inf_nan=False, populate_by_name=True
    )

    schema_: Literal["auditor/1"] = Field(default="auditor/1", alias="schema")
    tool: Tool
    command: str
    """The command with every path replaced by its last component."""
    seed: int
    policy: Policy
    verdict: Verdict
    target: Target
    data: Data
    environment: Environment
    controls: tuple[ControlResult, ...]
    findings: tuple[MembershipFinding, ...]
    collections: tuple[DatasetInference, ...] = ()
    """Claims about the members as a collection; they never enter the verdict."""
    inapplicable: tuple[PlannedAttack, ...] = ()
    loss_curve: tuple[CurvePoint, ...] = ()
    by_class: dict[str, tuple[GroupShare, ...]] = Field(default_factory=dict)
    """Classifiers: attack -> exposure of the members of each class, the most exposed first."""
    shadow_curve: tuple[ShadowPoint, ...] = ()
    """Classifiers: how the attacks grow with the number of shadow models."""
    attributes: tuple[AttributeFinding, ...] = ()
    extraction: GenerationFinding | None = None
    """Classifiers: attribute inference, one finding for each column that was named sensitive."""
    rules: tuple[RuleResult, ...]
    coverage: tuple[Coverage, ...]
    manifest: Manifest
