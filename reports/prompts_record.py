"""The record of a scan of prompts, `prompts.json`: one pydantic model, schema `auditor-prompts/1`.

Prompts are private: a published id, lengths and token positions stand for them. Renderers are pure
functions of this record and cannot change its verdict.
"""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from attacks.results import ControlResult, Estimate, RuleResult, TprAtFpr
from reports.record import Environment, Policy, Target, Tool, Verdict

SCHEMA = "auditor-prompts/1"


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class PromptSet(_Model):
    """The prompts that were scanned; counts and hashes only."""

    n_prompts: int
    """Distinct suspects."""
    n_repeated: int
    """Suspects that occur more than once."""
    n_cut: int
    """Suspects of which the model never sees the end."""
    n_references: int
    reference_kind: Literal["given", "labelled", "built"]
    """A file of references, a column of labels, or built: the prompts' own words shuffled."""
    prompts_sha256: str
    """Hash over the sorted published ids."""
    references_sha256: str


class Watched(_Model):
    """How images were drawn while the detectors watched."""

    steps: int
    guidance: float
    seeds: int
    primary: str
    """The detector that flags, chosen before any score was seen."""
    q: float
    """False-discovery rate of the flags."""
    confirm_seeds: int
    confirm_clique: int
    """Near-identical generations that confirm."""
    confirm_threshold: float
    """Tiled distance below which two generations are near-identical."""
    convention: str
    """What that distance is measured in."""
    n_references_drawn: int
    n_references_confirmed: int
    """Reference prompts that would be confirmed by the same rule."""


class CaptionFigures(_Model):
    """What the words alone say about suspect against reference; no model is asked."""

    auc: float
    tpr_at_1: float
    p_value: float
    is_grouped: bool
    n_groups: int


class DetectorFigures(_Model):
    """One detector over all prompts."""

    detector: str
    rule_id: str
    """Stable id, such as DET001."""
    title: str
    access: str
    is_primary: bool
    is_directed: bool
    """False: either end of its scores may be that of memorized prompts."""
    n_flagged: int
    """Suspects that it alone would flag at the same rate."""
    smallest_p: float
    auc: Estimate
    """Suspects above references. Lists that hold few memorized prompts stay near 0.5."""
    tpr: TprAtFpr
    """Suspects above the score that 1 % of references reach."""
    side: Literal["higher", "lower", "even"]
    """Where the suspects' median lies beside that of the references."""
    calls: int
    """Forward calls per prompt if it ran alone."""


class Trigger(_Model):
    """One token of a prompt and its part in the score; never its text."""

    position: int
    """Position among the prompt's own tokens, counted from 1."""
    word: int
    """Number of the word, counted from 1."""
    share: float
    """Share in the gradient of the primary score, over the prompt's own tokens."""


class PromptFigures(_Model):
    """One prompt, by its published id."""

    prompt_id: str
    rank: int
    n_tokens: int
    n_words: int
    multiplicity: int
    scores: dict[str, float]
    p_values: dict[str, float]
    is_flagged: bool
    clique: int | None
    """Near-identical generations, 0 where there are too few; None where none was drawn."""
    median_distance: float | None
    is_confirmed: bool | None
    triggers: tuple[Trigger, ...] = ()
    """In the order of the prompt; empty where they were not computed."""


class ScorePoint(_Model):
    """One bar of the histogram of primary scores: low <= score < high."""

    low: float
    high: float
    n_prompts: int
    n_references: int


class PromptsRecord(_Model):
    """One scan of prompts."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, allow_inf_nan=False, populate_by_name=True
    )

    schema_: Literal["auditor-prompts/1"] = Field(default="auditor-prompts/1", alias="schema")
    tool: Tool
    command: str
    """The command with every path replaced by its last component."""
    seed: int
    policy: Policy
    verdict: Verdict
    target: Target
    prompts: PromptSet
    watched: Watched
    captions: CaptionFigures | None
    """None where it was not run; the control says why."""
    detectors: tuple[DetectorFigures, ...]
    top: tuple[PromptFigures, ...]
    """The highest primary scores, the flagged ones first."""
    histogram: tuple[ScorePoint, ...]
    controls: tuple[ControlResult, ...]
    rules: tuple[RuleResult, ...]
    environment: Environment
    files: dict[str, str] = Field(default_factory=dict)
    """Table -> SHA-256."""
