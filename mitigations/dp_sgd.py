"""DP-SGD: fine-tune adapters so that no record can change the model by more than a bounded amount.

Idea: gradients are taken for each record alone, cut to a norm C, summed, and Gaussian noise of
standard deviation sigma C is added; batches are Poisson samples. An accountant turns sigma, the
sampling rate and the number of steps into (epsilon, delta).
Citation: Abadi et al., arXiv:1607.00133; Opacus, arXiv:2109.12298, whose per-sample gradients and
accountant are used. The gradient of a record is averaged over several timesteps and noises before
it is cut (noise multiplicity, Dockhorn et al., arXiv:2210.09929).
Unit of privacy: one distinct record, however often it occurs in the data: repeats are trained on
once, or the claim would not hold for them.
What the claim covers: the adapter weights, for adding or removing one record, if the base model was
not trained on the members. It does not cover choosing settings by looking at the members, several
runs on the same members, or one person with many records.
"""

from __future__ import annotations

import math
import secrets
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from attacks.errors import UsageError
from attacks.manifest import Capabilities
from attacks.protocols import Noises
from mitigations import _fine_tuning as common
from mitigations.manifest import Guarantee, Manifest, Need
from mitigations.material import Change, Examples, Material

MANIFEST = Manifest(
    id="MIT024",
    name="dp_sgd",
    title="DP-SGD on adapters",
    guarantee=Guarantee.FORMAL,
    references=("arXiv:1607.00133", "arXiv:2109.12298"),
    needs=(Need.MEMBERS,),
    limits=(
        "Epsilon covers one record in one run; choosing settings by looking at the members, or "
        "one person with many records, is not covered."
    ),
)


@dataclass(frozen=True, slots=True)
class DpSgdConfig:
    """How private, and how long."""

    epsilon: float = 8.0
    """Claimed for the whole training; the noise is chosen for it."""
    delta: float | None = None
    """Of the claim; default: one over ten times the records."""
    clip: float = 1.0
    """C: largest norm of a record's gradient."""
    steps: int = 200
    """Gradient steps."""
    batch_size: int = 64
    """Records of a step on average."""
    learning_rate: float = 1e-3
    multiplicity: int = 4
    """Timesteps and noises that a record's gradient is averaged over."""
    rank: int = 4
    """Of the adapters on all attention projections."""
    noise_seed: int | None = None
    """Of the noise and the batches. By default they cannot be repeated: whoever knows the seed can
    subtract the noise, and the claim does not hold against them."""

    def __post_init__(self) -> None:
        positive = (
            self.epsilon,
            self.clip,
            self.learning_rate,
            1 if self.delta is None else self.delta,
        )
        if not all(0 < value < math.inf for value in positive):
            raise UsageError("epsilon, delta, clip and learning_rate must be positive numbers")
        if self.delta is not None and self.delta >= 1:
            raise UsageError(f"delta is a probability below 1, got {self.delta}")
        if min(self.steps, self.batch_size, self.multiplicity, self.rank) < 1:
            raise UsageError("steps, batch_size, multiplicity and rank must be at least 1")


class Privacy(NamedTuple):
    """What is claimed."""

    epsilon: float
    delta: float
    sigma: float
    """Noise multiplier."""
    rate: float
    """Probability that a record is in a step's batch."""


def default_config(capabilities: Capabilities) -> DpSgdConfig:
    """Epsilon 8 on adapters of rank 4."""
    return DpSgdConfig()


applicable = common.is_diffusion


def privacy(config: DpSgdConfig, n: int) -> Privacy:
    """The noise for a claim, and the epsilon that the accountant gives for it.

    n: distinct records. Raises UsageError without Opacus.
    """
    try:
        from opacus.accountants import RDPAccountant
        from opacus.accountants.utils import get_noise_multiplier
    except ImportError:
        raise UsageError(
            'dp_sgd needs Opacus; install it with `pip install "memorization-auditor[dp]"`'
        ) from None
    rate = min(config.batch_size / n, 1.0)
    delta = config.delta or 1 / (10 * n)
    sigma = get_noise_multiplier(
        target_epsilon=config.epsilon,
        target_delta=delta,
        sample_rate=rate,
        steps=config.steps,
        accountant="rdp",
    )
    accountant = RDPAccountant()
    accountant.history = [(sigma, rate, config.steps)]
    return Privacy(float(accountant.get_epsilon(delta)), delta, float(sigma), rate)


def per_sample_gradients(
    wrapped: Any, view: Any, inputs: Any, noises: Noises, conditioning: Any, chunk: int
) -> list[Any]:
    """Per trainable weight, the (b, ...) gradient of each row's own mean square error.

    wrapped: the view's network inside Opacus' GradSampleModule, for a loss that is a sum: told that
        it is a mean, Opacus multiplies every gradient by the number of rows.
    """
    import torch

    weights = [p for p in wrapped.parameters() if p.requires_grad]
    found: list[list[Any]] = [[] for _ in weights]
    abar = torch.from_numpy(view.alphas_cumprod).to(inputs.device, torch.float32)
    for rows in torch.arange(len(inputs), device=inputs.device).split(chunk):
        wrapped.zero_grad(set_to_none=True)
        for weight in weights:
            weight.grad_sample = None
        t = noises.timesteps[rows]
        at = abar[t].view(-1, 1, 1, 1)
        noised = at.sqrt() * inputs[rows] + (1 - at).sqrt() * noises.noise[rows]
        given = None if conditioning is None else conditioning.rows(rows)
        predicted = view.noise(noised, t, given)
        errors = (predicted - noises.noise[rows]).square().flatten(1).mean(1)
        errors.sum().backward()
        for kept, weight in zip(found, weights, strict=True):
            kept.append(weight.grad_sample.detach().clone())
    return [torch.cat(one) for one in found]


def clipped_sum(gradients: list[Any], clip: float) -> list[Any]:
    """Sum over rows of gradients that are cut to a norm over all weights together."""
    import torch

    squares = sum(one.flatten(1).square().sum(1) for one in gradients)
    factor = (clip / torch.as_tensor(squares).sqrt().clamp_min(1e-12)).clamp_max(1.0)
    return [torch.einsum("b,b...->...", factor, one) for one in gradients]


def apply(material: Material, config: DpSgdConfig) -> Change:
    """Fine-tune adapters with DP-SGD and merge them."""
    from mitigations.memcontrol.blocks import block_names
    from mitigations.memcontrol.families import Tuned, attached, merged, with_weights

    members = common.members_of(material)
    claim = privacy(config, len(members))
    bits = (1,) * len(block_names(material.target.unet))
    view = attached(material.target, Tuned("lora", bits, rank=config.rank), seed=material.seed)
    n_empty = train(view, members, config, claim, material)
    final = with_weights(material.target, merged(view.unet))
    return Change(
        weights=common.weights_of(material, final),
        facts={
            "epsilon": round(claim.epsilon, 4),
            "delta": claim.delta,
            "noise_multiplier": round(claim.sigma, 4),
            "sampling_rate": round(claim.rate, 6),
            "steps": config.steps,
            "records": len(members),
            "steps_without_records": n_empty,
        },
        notes=(
            f"Epsilon {claim.epsilon:.3g} at delta {claim.delta:.2g} holds for adding or removing "
            "one distinct record in this one run, by Opacus' RDP accountant. It does not count "
            "settings that were chosen by looking at the members, other runs on them, or several "
            "records of one person; and the base model must not have been trained on them.",
            _noise_note(config),
        ),
    )


def _noise_note(config: DpSgdConfig) -> str:
    """Where the noise came from, and what that is worth."""
    if config.noise_seed is not None:
        return (
            "The noise came from a stated seed: the claim does not hold against anyone who knows "
            "it. Use this for tests alone."
        )
    return (
        "The noise came from a fresh secret seed through a generator that is statistically sound "
        "but not cryptographically secure, in floating point."
    )


def train(
    view: Any, members: Examples, config: DpSgdConfig, claim: Privacy, material: Material
) -> int:
    """Train the view's adapters in place; returns how many batches were empty.

    An empty batch is a step like any other: its gradient is the noise alone.
    """
    import torch
    from opacus import GradSampleModule

    wrapped = GradSampleModule(view.unet, strict=False, loss_reduction="sum")
    try:
        weights = [p for p in wrapped.parameters() if p.requires_grad]
        optimiser = torch.optim.AdamW(weights, lr=config.learning_rate, weight_decay=0.0)
        seed = secrets.randbits(63) if config.noise_seed is None else config.noise_seed
        rng = np.random.default_rng([seed, 0xD9])
        generator = torch.Generator().manual_seed(seed)
        captions = view.embed(list(members.captions))
        n_empty = 0
        for step in range(config.steps):
            rows = np.flatnonzero(rng.random(len(members)) < claim.rate)
            n_empty += len(rows) == 0
            total = _batch_gradient(
                wrapped, view, members, captions, rows, config, generator, material
            )
            for weight, one in zip(weights, total, strict=True):
                noise = torch.randn(weight.shape, generator=generator).to(weight.device)
                weight.grad = (one + claim.sigma * config.clip * noise) / (
                    claim.rate * len(members)
                )
            optimiser.step()
            material.on_progress("training with DP-SGD", step + 1, config.steps)
    finally:
        wrapped.remove_hooks()
        for weight in view.unet.parameters():
            if hasattr(weight, "grad_sample"):
                del weight.grad_sample
    return n_empty


def _batch_gradient(
    wrapped: Any, view: Any, members: Examples, captions: Any, rows: Any, config: DpSgdConfig,
    generator: Any, material: Material,
) -> list[Any]:  # fmt: skip
    """Sum of the cut gradients of a batch, each averaged over its noises; zeros if it is empty."""
    import torch

    weights = [p for p in wrapped.parameters() if p.requires_grad]
    total = [torch.zeros_like(weight) for weight in weights]
    for part in np.array_split(rows, max(1, math.ceil(len(rows) / material.batch_size))):
        if not len(part):
            continue
        index = torch.from_numpy(part).to(view.device)
        inputs = members.inputs[index]
        given = None if captions is None else captions.rows(index)
        mean = [torch.zeros(len(part), *w.shape, device=w.device) for w in weights]
        for _ in range(config.multiplicity):
            noises = view.draw_noises(inputs, generator)
            found = per_sample_gradients(wrapped, view, inputs, noises, given, material.batch_size)
            mean = [m + f / config.multiplicity for m, f in zip(mean, found, strict=True)]
        total = [t + c for t, c in zip(total, clipped_sum(mean, config.clip), strict=True)]
    return total
