"""Prompt-embedding adjustment: shrink what the prompt does to the first step, then draw as usual.

Idea: a memorized prompt has a large text-conditional difference ||g||, g = eps_c - eps_0, at the
    first step. Where it exceeds a target, the embedding of the prompt is optimised until it does
    not, or until the iterations are used up; the start token is left as it is.
Citation: Wen et al., "Detecting, Explaining, and Mitigating Memorization in Diffusion Models",
    arXiv:2407.21720; 10 iterations and rate 0.05 are those of their code.
Target: ||g|| depends on the model, so it is a quantile over ordinary prompts (--reference), or a
    number that is given. The loss is the sum of the norms of single images (their code takes one
    norm over the batch, so that an image would depend on its company).
Cost: up to 10 forward and backward calls before the first step of a prompt above the target.
Limits: whoever has the weights leaves it out; what the prompt asks for is followed less closely.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from attacks.errors import UsageError
from attacks.manifest import Capabilities
from mitigations._transition import needs_guidance
from mitigations.filters import Drawing, Filter
from mitigations.manifest import Guarantee, Manifest, Need
from mitigations.material import Change, Material

if TYPE_CHECKING:
    from torch import Tensor

MANIFEST = Manifest(
    id="MIT003",
    name="prompt_adjust",
    title="Prompt-embedding adjustment",
    guarantee=Guarantee.FILTER,
    references=("arXiv:2407.21720",),
    takes=(Need.REFERENCE,),
    limits="It protects nothing once the weights are released.",
)


@dataclass(frozen=True, slots=True)
class PromptAdjustConfig:
    """How far and how the embedding is moved."""

    quantile: float = 0.5
    """Quantile of ||g|| over the reference prompts that is the target. Our choice."""
    target: float | None = None
    """The target itself, in place of the quantile; lower is stronger."""
    iterations: int = 10
    """Most steps of AdamW."""
    rate: float = 0.05
    """Learning rate."""
    leash: float = 0.0
    """Weight of the distance to the original embedding in the loss."""

    def __post_init__(self) -> None:
        if not 0 <= self.quantile <= 1:
            raise UsageError(f"quantile must lie between 0 and 1, got {self.quantile}")
        if self.target is not None and not (math.isfinite(self.target) and self.target > 0):
            raise UsageError(f"target must be a positive number, got {self.target}")
        if self.iterations < 0 or self.rate <= 0 or self.leash < 0:
            raise UsageError("iterations and leash must be at least 0, and rate positive")


def default_config(capabilities: Capabilities) -> PromptAdjustConfig:
    """The settings of the authors' code, with a target from the reference prompts."""
    return PromptAdjustConfig()


def applicable(capabilities: Capabilities) -> str | None:
    """None for models that take text, else the reason."""
    return needs_guidance(capabilities)


def apply(material: Material, config: PromptAdjustConfig) -> Change:
    """Find the target; raises UsageError if there is nothing to find it from."""
    import numpy as np

    settings = dataclasses.asdict(config)
    if config.target is not None:
        return Change(filter=settings)
    if not material.reference:
        raise UsageError(
            "prompt_adjust needs --reference, ordinary prompts that set the target, or "
            "--option target=NUMBER"
        )
    found = np.concatenate([part for part in _magnitudes(material, material.reference)])
    target = float(np.quantile(found, config.quantile))
    facts: dict[str, float | int | str] = {
        "target": target,
        "reference_prompts": len(material.reference),
    }
    if material.prompts:
        ours = np.concatenate([part for part in _magnitudes(material, material.prompts)])
        facts["prompts_above_target"] = int((ours > target).sum())
    return Change(filter=settings | {"target": target}, facts=facts)


def _magnitudes(material: Material, prompts: tuple[str, ...]) -> Any:
    """||g|| of prompts in batches, each from a noise of its own, close to the noisiest timestep."""
    import torch

    target = material.target
    t = len(target.alphas_cumprod) * 49 // 50
    rows = max(1, material.batch_size // 2)
    draw = torch.Generator("cpu").manual_seed(material.seed)
    for start in range(0, len(prompts), rows):
        part = prompts[start : start + rows]
        noise = torch.randn((len(part), *target.input_shape), generator=draw).to(target.device)
        at = torch.full((len(part),), t, device=target.device)
        empty = target.embed_nothing().rows(torch.zeros_like(at))
        given = target.predict(noise, at, target.embed(part))
        yield (given - target.predict(noise, at, empty)).flatten(1).norm(dim=1).cpu().numpy()
        material.on_progress("measuring prompts", start + len(part), len(prompts))


class PromptAdjust(Filter):
    """Moves the embeddings of prompts whose first step is too much their own."""

    def __init__(self, target: float, iterations: int = 10, rate: float = 0.05, leash: float = 0.0):
        self.target, self.iterations, self.rate, self.leash = target, iterations, rate, leash
        self.history: list[Tensor] = []
        """(n,) norms at every iteration of the last drawing."""

    def begins(self, drawing: Drawing) -> Any:
        """Adjusted conditioning; the one that was given where nothing exceeds the target."""
        import torch

        super().begins(drawing)
        self.history = []
        if drawing.conditional is None or math.isinf(self.target):
            return drawing.conditional
        hidden = drawing.conditional.hidden
        embedding = hidden.detach().float().clone().requires_grad_(True)
        start = embedding.detach().clone()
        optimizer = torch.optim.AdamW([embedding], lr=self.rate)
        empty = self._without_prompt(drawing)
        for _ in range(self.iterations):
            with torch.enable_grad():
                norms = self._norms(drawing, embedding, empty)
                away = (embedding - start).flatten(1).square().sum(dim=1)
                loss = (norms + self.leash * (away + 1e-12).sqrt()).sum()
            self.history.append(norms.detach())
            active = norms.detach() > self.target
            if not active.any():
                break
            (embedding.grad,) = torch.autograd.grad(loss, [embedding])
            before = embedding.detach().clone()
            optimizer.step()
            with torch.no_grad():
                embedding[~active] = before[~active]
                embedding[:, 0] = start[:, 0]
        if torch.equal(embedding, start):
            return drawing.conditional
        return dataclasses.replace(drawing.conditional, hidden=embedding.detach().to(hidden.dtype))

    def _timesteps(self, drawing: Drawing) -> Tensor:
        import torch

        n, device = len(drawing.inputs), drawing.inputs.device
        return torch.full((n,), drawing.timesteps[0], device=device)

    def _without_prompt(self, drawing: Drawing) -> Tensor:
        """(n, c, h, w) eps_0 at the first step."""
        import torch

        empty = drawing.unconditional
        if empty is None:
            index = torch.zeros(len(drawing.inputs), dtype=torch.long, device=drawing.inputs.device)
            empty = drawing.model.embed_nothing().rows(index)
        with torch.no_grad():
            return drawing.model.noise(drawing.inputs, self._timesteps(drawing), empty)

    def _norms(self, drawing: Drawing, embedding: Tensor, empty: Tensor) -> Tensor:
        """(n,) ||g|| at the first step, with the graph."""
        given = dataclasses.replace(drawing.conditional, hidden=embedding)
        predicted = drawing.model.noise(drawing.inputs, self._timesteps(drawing), given)
        return (predicted - empty).flatten(1).norm(dim=1)


def open_filter(settings: Mapping[str, Any], tensors: Mapping[str, Any]) -> PromptAdjust:
    """The filter of stored settings."""
    return PromptAdjust(
        settings["target"], settings["iterations"], settings["rate"], settings["leash"]
    )
