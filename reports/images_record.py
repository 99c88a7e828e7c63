"""The record of a scan of images, `images.json`: one pydantic model, schema `auditor-images/1`.

Are generated pictures copies of training pictures, without a model that was audited? Renderers are
pure functions of this record; they compute no statistic and cannot change a verdict.
"""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from attacks.extraction.results import ExtractionFinding
from attacks.results import ControlResult, RuleResult
from reports.record import Policy, Tool, Verdict

SCHEMA = "auditor-images/1"


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Sets(_Model):
    """What was compared; counts and hashes only."""

    n_training: int
    """Distinct training pictures."""
    n_training_groups: int
    """Groups of near-duplicates that they form."""
    n_training_rows: int
    """Rows that they stand for, copies included."""
    n_repeated: int
    """Groups that stand for more than one row."""
    n_generated: int
    """Distinct generated pictures."""
    n_generated_rows: int
    """Rows that they stand for."""
    n_background: int
    """Held-out pictures."""
    n_background_fit: int
    """Those that thresholds were taken from; they are in no other figure."""
    n_background_dropped: int
    """Held-out pictures left out because they equal or nearly equal a training record."""
    n_unreadable: int
    training_sha256: str
    """Hash over the sorted published ids of the training records."""
    generated_sha256: str
    background_sha256: str | None
    notes: tuple[str, ...] = ()


class Matching(_Model):
    """How candidates were found and verified."""

    encoder: str
    """What made the embeddings."""
    limits: str
    """What it is good for and what it misses."""
    encoder_sha256: str
    """Hash of everything that shapes an embedding."""
    width: int
    """Length of an embedding."""
    search: str
    """What the exact search ran on."""
    candidates: int
    """Training records verified by pixels, for each picture and for its mirror image."""
    n_embedded: int
    """Pictures embedded in this run."""
    n_reused: int
    """Pictures whose embeddings or matches were taken from the cache."""
    distance: str
    """Convention of the distances."""


class SimilarityBin(_Model):
    """Shares of pictures with low <= similarity < high, the last bin with its end."""

    low: float
    high: float
    generated: float
    """Share of the generated pictures."""
    background: float | None
    """Share of the held-out pictures; None without any."""


class Environment(_Model):
    """Where and how long."""

    started: datetime
    finished: datetime
    device: str
    versions: dict[str, str]
    seconds: dict[str, float]
    """Stage -> wall seconds."""
    peak_memory_mb: float


class ImagesRecord(_Model):
    """One scan of generated pictures against a training set."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, allow_inf_nan=False, populate_by_name=True
    )

    schema_: Literal["auditor-images/1"] = Field(default="auditor-images/1", alias="schema")
    tool: Tool
    command: str
    """The command, with placeholders for paths."""
    seed: int
    policy: Policy
    verdict: Verdict
    sets: Sets
    matching: Matching
    controls: tuple[ControlResult, ...]
    finding: ExtractionFinding
    rules: tuple[RuleResult, ...]
    similarities: tuple[SimilarityBin, ...]
    environment: Environment
    files: dict[str, str] = Field(default_factory=dict)
    """Table -> SHA-256."""
