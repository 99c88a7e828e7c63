"""The record of a probe, `probe.json`: one pydantic model, schema `auditor-probe/1`.

Prompts are private: counts and keyed hashes stand for them. A probe locates; it gives no verdict.
"""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from reports.record import Environment, Target, Tool

SCHEMA = "auditor-probe/1"


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class ProbedPrompts(_Model):
    """The prompts; counts and hashes over sorted published ids only."""

    n_memorized: int
    memorized_sets: tuple[int, ...]
    """Prompts of each disjoint set."""
    memorized_sha256: str
    n_ordinary: int
    ordinary_sets: tuple[int, ...]
    ordinary_sha256: str | None
    ordinary_kind: Literal["given", "labelled", "none"]
    n_reference: int
    reference_kind: Literal["given", "empty prompt"]
    reference_sha256: str


class ProbeSetting(_Model):
    """How images were drawn, and which weights were marked."""

    method: Literal["wanda"]
    rule_id: str
    steps: int
    guidance: float
    seeds: int
    sparsity: float
    first_steps: int
    select_ratio: float
    cfg_half: Literal["both", "cond"]


class ProbeFinding(_Model):
    """What was found, in words."""

    outcome: Literal["distinct", "not distinguishable", "not run"]
    """Whether memorized prompts mark weights that ordinary ones do not."""
    sentence: str
    headline: str
    untested: str


class Overlap(_Model):
    """Mean intersection over union of pairs of masks; None where there is no such pair."""

    memorized: float | None
    ordinary: float | None
    across: float | None
    random: float | None
    """Of random masks with as many weights in every row."""


class OverlapTest(_Model):
    """Exact permutation test over the sets, one-sided."""

    difference: float
    """Overlap of two memorized sets minus that of a memorized and an ordinary one."""
    p_value: float
    smallest_p: float


class LayerFigures(_Model):
    """One layer, by the name of its module."""

    name: str
    n_outputs: int
    n_inputs: int
    density: float
    """Share of its weights that the mask of all memorized prompts marks."""
    step_density: tuple[float, ...]
    """The same of the mask of each step."""
    step_contrast: tuple[float, ...]
    """Mean score of the top weights over that under the reference, minus 1, at each step."""
    overlap: Overlap
    """Mean over steps."""


class Shares(_Model):
    """How much is marked, over both denominators."""

    n_marked: int
    n_probed: int
    """Weights of the probed layers."""
    of_layers: float
    of_model: float
    union_of_layers: float
    """Weights that any of the sets marks."""
    consensus_of_layers: float
    """Weights that every set marks."""
    minus_ordinary_of_layers: float | None
    """Marked for all memorized prompts and by no ordinary set."""


class ProbeRecord(_Model):
    """One probe."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, allow_inf_nan=False, populate_by_name=True
    )

    schema_: Literal["auditor-probe/1"] = Field(default="auditor-probe/1", alias="schema")
    tool: Tool
    command: str
    """The command with every path replaced by its last component."""
    seed: int
    finding: ProbeFinding
    target: Target
    prompts: ProbedPrompts
    setting: ProbeSetting
    shares: Shares
    overlap: Overlap
    """Mean over pairs, steps and layers."""
    pruned_overlap: Overlap
    """The same of the joined masks, which would be pruned, mean over pairs and layers."""
    test: OverlapTest | None
    """None where it was not run; `finding.untested` says why."""
    set_names: tuple[str, ...]
    matrix: tuple[tuple[float, ...], ...]
    """Overlap of every pair of sets, mean over steps and layers."""
    layers: tuple[LayerFigures, ...]
    environment: Environment
    files: dict[str, str] = Field(default_factory=dict)
    """File -> SHA-256."""
