"""Fine-tuning a copy of a diffusion target on given records: dose by dose.

One exposure of a record is one gradient step on it with a fresh timestep and noise. Small U-Nets
are tuned wholly, large ones by LoRA on their attention layers (Hu et al., arXiv:2106.09685). The
target itself is never touched.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from attacks.protocols import Dose
from auditor.targets.parametrisation import add_noise, native_goal

if TYPE_CHECKING:
    from auditor.targets.diffusion import DiffusionTarget

RECIPE = 1
"""Raised whenever fine-tuning changes, so that stored observations of copies are not reused."""
WHOLE_UP_TO = 50_000_000
"""Parameters up to which the whole U-Net is tuned."""
LEARNING_RATE = 1e-3
LORA_LEARNING_RATE = 1e-3
LORA_RANK = 16
PROBES = 8
"""Timesteps at which the loss before and after is measured."""


def finetune(
    target: DiffusionTarget,
    inputs: Tensor,
    conditioning: Any,
    *,
    doses: Sequence[int],
    seed: int,
) -> Iterator[Dose]:
    """Train a copy on the inputs (n, c, h, w), yielded at each cumulative dose (ascending)."""
    generator = torch.Generator().manual_seed(seed)
    tuned = target.with_unet(_trainable_copy(target.unet))
    weights = [p for p in tuned.unet.parameters() if p.requires_grad]
    is_whole = len(weights) == len(list(tuned.unet.parameters()))
    optimiser = torch.optim.AdamW(
        weights, lr=LEARNING_RATE if is_whole else LORA_LEARNING_RATE, weight_decay=0.0
    )
    before = _probe_loss(target, inputs, conditioning, seed)
    exposures = 0
    for dose in doses:
        while exposures < dose:
            _step(tuned, optimiser, inputs, conditioning, generator)
            exposures += 1
        yield Dose(dose, tuned, before, _probe_loss(tuned, inputs, conditioning, seed))


def _trainable_copy(unet: Any) -> Any:
    copied = copy.deepcopy(unet).float()
    if sum(p.numel() for p in copied.parameters()) <= WHOLE_UP_TO:
        return copied.requires_grad_(True)
    from peft import LoraConfig

    copied.add_adapter(
        LoraConfig(
            r=LORA_RANK,
            lora_alpha=LORA_RANK,
            init_lora_weights="gaussian",
            target_modules=["to_q", "to_k", "to_v", "to_out.0"],
        )
    )
    return copied


def _step(
    tuned: DiffusionTarget,
    optimiser: torch.optim.Optimizer,
    inputs: Tensor,
    conditioning: Any,
    generator: torch.Generator,
) -> None:
    n_timesteps = tuned.capabilities.n_timesteps
    timesteps = torch.randint(n_timesteps, (len(inputs),), generator=generator).to(inputs.device)
    noise = torch.randn(inputs.shape, generator=generator).to(inputs.device)
    at = tuned.coefficients.at(timesteps)
    output = tuned.native(add_noise(inputs, noise, at), timesteps, conditioning)
    goal = native_goal(inputs, noise, at, tuned.layout.prediction_type)
    optimiser.zero_grad()
    torch.nn.functional.mse_loss(output, goal).backward()
    torch.nn.utils.clip_grad_norm_([p for p in tuned.unet.parameters() if p.requires_grad], 1.0)
    optimiser.step()


def _probe_loss(target: DiffusionTarget, inputs: Tensor, conditioning: Any, seed: int) -> float:
    """Mean squared noise error on the inputs over fixed timesteps and noises."""
    generator = torch.Generator().manual_seed(seed + 1)
    total = 0.0
    for i in range(PROBES):
        t = (2 * i + 1) * target.capabilities.n_timesteps // (4 * PROBES)
        timesteps = torch.full((len(inputs),), t, device=inputs.device)
        noise = torch.randn(inputs.shape, generator=generator).to(inputs.device)
        noised = add_noise(inputs, noise, target.coefficients.at(timesteps))
        predicted = target.predict(noised, timesteps, conditioning)
        total += float((predicted - noise).double().square().mean())
    return total / PROBES
