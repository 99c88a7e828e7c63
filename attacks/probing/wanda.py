"""Wanda on feed-forward layers: weights that memorized prompts use more than the empty prompt.

Idea: in every feed-forward block of the U-Net, score each weight of the second linear layer by its
size times the activity of its input, once for memorized prompts and once for a reference. Weights
that are among the highest of their row and more active than under the reference form the mask of
a step; the masks of the first steps together are what would be pruned.
Citation: Chavhan et al., "Memorized Images in Diffusion Models share a Subspace that can be Located
and Deleted", arXiv:2406.18566; the score is that of Sun et al., arXiv:2306.11695.
Score: |W_ij| A_j, where A_j is the root mean square of input j over rows of length 1. Higher means
more used by the prompts. Masks hold weights, not neurons, and no score of a record.
Our reading: a mean over rows where the published code sums, so that unequal lists of prompts do not
bias the comparison; steps are counted as they come, never assumed; layers go by name; an activity
counts as larger if it is so by more than a millionth part, which rounding is not.
Cost: one image for each memorized prompt and seed, one for each reference prompt; nothing on top
but the sums.
Invalid when: ordinary prompts against the same reference give the same mask: any caption differs
from the empty prompt. Localised is not erased: pruned models still draw their images from other
embeddings.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from attacks.errors import ShapeError, UsageError
from attacks.manifest import Access, DiffusionCapabilities, Manifest, Tier

if TYPE_CHECKING:
    from torch import Tensor

MANIFEST = Manifest(
    id="PRB001",
    name="wanda",
    title="Weights of feed-forward layers (Wanda)",
    goal="locate the weights that react to memorized prompts",
    access=Access.WHITE_BOX,
    tags=("edpb:55(i)",),
    references=("arXiv:2406.18566", "arXiv:2306.11695"),
    tier=Tier.THOROUGH,
    kind="probing",
)
MARGIN = 1e-6
"""Relative excess over the reference up to which an activity counts as equal to it."""


@dataclass(frozen=True, slots=True)
class WandaConfig:
    """Which weights of a step are marked, and which steps count; the published code's defaults."""

    sparsity: float = 0.01
    """Share s of each output row that a step can mark at most, in [0, 1]."""
    first_steps: int = 10
    """Steps T_hat from the first one whose masks are joined."""
    select_ratio: float = 0.0
    """A weight is kept if marked at more than this share of those steps, in [0, 1)."""
    cfg_half: Literal["both", "cond"] = "both"
    """Rows of a guided call that count: both halves, or those of the prompt alone."""

    def __post_init__(self) -> None:
        if not 0 <= self.sparsity <= 1:
            raise UsageError(f"the sparsity is a share from 0 to 1, got {self.sparsity:g}")
        if self.first_steps < 1:
            raise UsageError(f"at least the first step must count, got {self.first_steps}")
        if not 0 <= self.select_ratio < 1:
            raise UsageError(
                f"the select ratio is a share from 0 to below 1, got {self.select_ratio:g}"
            )
        if self.cfg_half not in ("both", "cond"):
            raise UsageError(f"cfg_half is both or cond, got '{self.cfg_half}'")

    def kept_per_row(self, n_inputs: int) -> int:
        """floor(s n): weights of a row that a step can mark."""
        return math.floor(self.sparsity * n_inputs)


def default_config(capabilities: DiffusionCapabilities) -> WandaConfig:
    """The defaults of the published code, for every model."""
    return WandaConfig()


def applicable(capabilities: DiffusionCapabilities) -> str | None:
    """None for models that take text, else the reason."""
    if capabilities.family != "diffusion":
        return f"needs a diffusion model, and this target is of the family '{capabilities.family}'"
    if not capabilities.is_text_conditional:
        return "compares prompts, and this model takes none"
    return None


def scores(weight: Tensor, activity: Tensor) -> Tensor:
    """(o, d) |W_ij| A_j of a weight matrix (o, d) and the activity (d,) of its inputs."""
    if weight.ndim != 2 or activity.shape != weight.shape[1:]:
        raise ShapeError(
            f"expected weights (o, d) and an activity (d,), got {tuple(weight.shape)} and "
            f"{tuple(activity.shape)}"
        )
    return weight.abs() * activity


def top_of_rows(scored: Tensor, k: int) -> Tensor:
    """(o, d) True at the k highest scores of each row; exactly k, ties broken by place."""
    import torch

    marked = torch.zeros_like(scored, dtype=torch.bool)
    if k < 1:
        return marked
    highest = torch.topk(scored, min(k, scored.shape[1]), dim=1).indices
    return marked.scatter_(1, highest, True)


def step_mask(weight: Tensor, ours: Tensor, reference: Tensor, config: WandaConfig) -> Tensor:
    """(o, d) weights in the top of their row whose score exceeds that under the reference.

    weight: (o, d); ours, reference: (d,) activity at this step. Empty for equal activities.
    """
    marked = top_of_rows(scores(weight, ours), config.kept_per_row(weight.shape[1]))
    exceeds = ours > reference * (1 + MARGIN)
    return marked & exceeds & (weight != 0)


def contrast(weight: Tensor, ours: Tensor, reference: Tensor, config: WandaConfig) -> float:
    """Mean score of the top of the rows over that of the same weights under the reference, minus 1.

    0 where nothing is in the top; positive where the prompts use these weights more.
    """
    top = top_of_rows(scores(weight, ours), config.kept_per_row(weight.shape[1]))
    if not bool(top.any()):
        return 0.0
    sizes = (weight.abs() * top).sum(dim=0).double()
    below = float((sizes * reference.double()).sum())
    return float((sizes * ours.double()).sum()) / below - 1 if below > 0 else 0.0


class TimeUnion:
    """Joins the masks of the first steps of one layer, step after step."""

    def __init__(self, config: WandaConfig):
        self._config = config
        self._count: Tensor | None = None
        self._seen = 0

    def add(self, mask: Tensor) -> None:
        """The mask (o, d) of the next step; steps beyond the first ones change nothing."""
        import torch

        self._seen += 1
        if self._seen > self._config.first_steps:
            return
        counted = mask.to(torch.int16)
        self._count = counted if self._count is None else self._count + counted

    @property
    def mask(self) -> Tensor:
        """(o, d) weights marked at more than select_ratio of the first steps.

        The share is of the steps that there were, where the trajectory has fewer.
        """
        if self._count is None:
            raise ShapeError("no step was seen; add the masks of the steps first")
        n_steps = min(self._seen, self._config.first_steps)
        return self._count > self._config.select_ratio * n_steps
