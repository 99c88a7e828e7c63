"""The record of a concealment test, `concealment.json`: schema `auditor-concealment/1`.

Are records erased from an edited model, or only concealed? Renderers are pure functions of this
record; they compute no statistic and cannot change the answer.
"""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from attacks.concealment.curve import Stage
from attacks.concealment.verdict import Conclusion
from attacks.concealment.zeros import DisclosedLayer
from reports.record import Environment, Target, Tool, Verdict

SCHEMA = "auditor-concealment/1"


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class TestedRecords(_Model):
    """The records; counts and hashes only."""

    n_members: int
    """Distinct records that the edit was to remove."""
    n_nonmembers: int
    """Distinct records that neither model saw."""
    n_fit: int
    """Never-seen records that thresholds were taken from; they are compared with nothing."""
    n_dropped: int
    """Never-seen records left out because a member equals or nearly equals them."""
    members_sha256: str
    """Hash over the sorted published ids."""
    nonmembers_sha256: str
    notes: tuple[str, ...] = ()


class AttackSetting(_Model):
    """How every model was attacked and drawn from."""

    steps: int
    rate: float
    draws: int
    """Timesteps and noises for each image and step, fresh every time."""
    restarts: int
    n_prompt_starts: int
    """Starts from the caption; the others are random."""
    images: int
    """Images drawn from each embedding, from noises that the attack never saw."""
    sampling_steps: int
    guidance: float
    convention: str
    """What distances are measured in."""
    calls_per_record: int
    """Forward calls for one record on one model, a backward pass counted as two."""


class Thresholds(_Model):
    """What was asked of the answer."""

    margin: float
    """Largest share of the records that may still be recoverable in an erased model."""
    alpha: float
    alpha_bound: float
    fpr: float
    """Share of never-seen records that may count as recovered, where so many resolve it."""


class ModelCurve(_Model):
    """How one model gives records back, budget by budget."""

    role: Literal["original", "edited", "reference"]
    starts: Literal["all", "random"]
    """`random`: starts that know nothing of the caption, the positive control."""
    loss: float
    """Noise error on never-seen records; 1 for no prediction at all."""
    stages: tuple[Stage, ...]
    """By prompt (0 steps), then by embedding."""


class RecordFigures(_Model):
    """One member, by its published id."""

    record_id: str
    multiplicity: int
    colour: str
    """Mean colour, #rrggbb."""
    original_prompt: float
    """Distance of the nearest image that the original draws by the caption."""
    original_attacked: float
    """The same by embeddings, at the largest budget."""
    edited_prompt: float
    edited_attacked: float
    edited_median: float
    """Median over all images of the largest budget."""
    moved: float
    """How far the best embedding lies from the caption's, over the norm of the latter."""
    is_proven: bool
    """Whether the attack recovers it from the original, from random starts."""
    came_back: Literal["by prompt", "by embedding", "no"]
    """Whether the edited model gives it back."""
    reference_attacked: float | None = None


class ZerosCheck(_Model):
    """Exact zeros of the edited model's weights against the original's."""

    mask_disclosed: bool
    """Whether the places of zeros tell what was pruned."""
    n_zeros_original: int
    n_zeros_edited: int
    layers: tuple[DisclosedLayer, ...]
    """Those whose zeros differ in number, the most telling first."""
    revived: Stage | None = None
    """By prompt, after disclosed zeros were refilled; None where it was not tried."""


class ConcealmentRecord(_Model):
    """One concealment test."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, allow_inf_nan=False, populate_by_name=True
    )

    schema_: Literal["auditor-concealment/1"] = Field(
        default="auditor-concealment/1", alias="schema"
    )
    tool: Tool
    command: str
    """The command with every path replaced by its last component."""
    seed: int
    answer: Literal["erased", "concealed", "suppressed_inconclusive", "invalid"]
    verdict: Verdict
    """The answer as an audit's: erased passes, concealed fails."""
    conclusion: Conclusion
    thresholds: Thresholds
    target: Target
    """The edited model."""
    original: Target
    reference: Target | None
    records: TestedRecords
    setting: AttackSetting
    curves: tuple[ModelCurve, ...]
    members: tuple[RecordFigures, ...]
    """The nearest to the edited model's images first."""
    zeros: ZerosCheck
    environment: Environment
    files: dict[str, str] = Field(default_factory=dict)
    """Table -> SHA-256."""
