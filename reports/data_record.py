"""The record of a data scan, `data.json`: one pydantic model, schema `auditor-data/1`.

Which records training memorizes, without a model that was audited: no verdict, only figures.
Classes and groups are numbered, since their names are cells of private records.
"""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from attacks.memorization.groups import GroupShare
from attacks.memorization.suppression import GroupCost
from attacks.results import Estimate
from reports.record import Tool

SCHEMA = "auditor-data/1"


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class DataSet(_Model):
    """What was trained on and asked about; counts and hashes only."""

    n_records: int
    """Distinct records."""
    n_rows: int
    """Rows that they stand for, copies included."""
    n_repeated: int
    """Records that occur more than once."""
    n_test: int
    """Distinct test records; 0 without a test set."""
    n_test_dropped: int
    """Test records dropped because their features are those of a record."""
    n_unreadable: int
    n_classes: int
    n_features: int
    has_subjects: bool
    """Whether records of one data subject stayed together in the training sets."""
    records_sha256: str
    """Hash over the sorted published ids of the records."""
    label_source: str
    notes: tuple[str, ...] = ()


class Training(_Model):
    """The models that were trained."""

    recipe: str
    """`module:function` that returns how a model is trained."""
    model: str
    """Name of the class of the model."""
    n_models: int
    share: float
    """Share of the records in a training set."""
    design: Literal["paired halves", "random subsets"]
    n_reused: int
    """Models that were trained before and taken from the cache."""
    seconds: float
    """Time that all trainings took, summed over processes; also of those before."""
    accuracy_in: float
    """Share of right answers about records that a model trained on."""
    accuracy_out: float
    """Share of right answers about records that it did not train on."""
    notes: tuple[str, ...] = ()


class Refusal(_Model):
    """Records without a figure, for one reason."""

    reason: str
    n_records: int


class Summary(_Model):
    """Memorization over all records."""

    threshold: float
    """Memorization from which a record counts as memorized."""
    confidence: float
    """Two-sided level of the interval of a record."""
    n_estimated: int
    n_refused: int
    refusals: tuple[Refusal, ...]
    n_memorized: int
    n_sure: int
    """Memorized records whose lower limit also reaches the threshold."""
    mean: float
    """Mean memorization of the label."""
    mean_confidence: float
    """Mean memorization of the probability of the true label."""
    rms_error_bound: float
    """Bound of the root mean square error of a figure at this number of models."""


class Checks(_Model):
    """Do the figures hold together?"""

    identities_hold: bool
    """Whether memorization equals the gap of accuracies and the influence on itself."""
    mean_memorization: float
    accuracy_gap: float
    is_balanced: bool
    """Whether all records have equally many models, so that the two figures above are equal."""
    diagonal_error: float
    half_correlation: Estimate
    """Rank correlation of the figures from two halves of the models."""
    half_jaccard: float | None
    """Records memorized in both halves over those in either."""


class Bin(_Model):
    """One bar of the histogram: low <= memorization < high, the last bar with its end."""

    low: float
    high: float
    n_records: int
    n_sure: int
    """Those whose lower limit reaches the threshold."""


class MemorizedRecord(_Model):
    """One record, by its published id."""

    record_id: str
    rank: int
    memorization: float
    standard_error: float
    low: float
    high: float
    confidence_memorization: float
    n_in: int
    n_out: int
    multiplicity: int
    is_sure: bool


class Breakdown(_Model):
    """Memorized records by class, by group, or by copies."""

    by: Literal["class", "group", "copies"]
    groups: tuple[GroupShare, ...]
    """In the order of their numbers; limits hold for all of them at once."""


class InfluencePair(_Model):
    """A training record that decides the answer about a test record."""

    train_id: str
    test_id: str
    influence: float
    low: float
    high: float
    is_sure: bool


class Influence(_Model):
    """Influence of records on test records of their class."""

    threshold: float
    n_compared: int
    n_found: int
    """Pairs at or above the threshold."""
    n_kept: int
    """Those in influence.parquet."""
    n_sure: int
    """Those kept that influence at all once all pairs compared are corrected for."""
    n_test_affected: int
    n_test_affected_by_one: int
    top: tuple[InfluencePair, ...]


class LongTail(_Model):
    """What it would cost not to memorize records that are alone in their subpopulation."""

    by: Literal["class", "group"]
    reason: str | None = None
    """Why there are no figures; None where there are."""
    n_clusters: int = 0
    n_singletons: int = 0
    """Clusters of a single row."""
    tau_1: Estimate = Estimate(None, None, None, "not estimated")
    """Expected frequency of a subpopulation that the data hold once (Good and Turing)."""
    guess: float = 0.0
    """Probability of the best guess of a label without its cluster."""
    total: float | None = None
    """Expected excess error of a model that fits no singleton."""
    disparity: float | None = None
    """Largest minus smallest cost within a group."""
    groups: tuple[GroupCost, ...] = ()
    """The group that pays most per record first."""


class Environment(_Model):
    """Where and how long."""

    started: datetime
    finished: datetime
    versions: dict[str, str]
    seconds: dict[str, float]
    """Stage -> wall seconds."""


class DataRecord(_Model):
    """One scan of a data set."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, allow_inf_nan=False, populate_by_name=True
    )

    schema_: Literal["auditor-data/1"] = Field(default="auditor-data/1", alias="schema")
    tool: Tool
    command: str
    """The command, with placeholders for paths."""
    seed: int
    headline: str
    """The answer in one sentence."""
    data: DataSet
    training: Training
    memorization: Summary
    checks: Checks
    histogram: tuple[Bin, ...]
    top: tuple[MemorizedRecord, ...]
    """The most memorized records."""
    breakdowns: tuple[Breakdown, ...]
    influence: Influence | None = None
    """None without a test set."""
    long_tail: tuple[LongTail, ...]
    environment: Environment
    files: dict[str, str] = Field(default_factory=dict)
    """Table -> SHA-256."""
