"""Filtering by noise magnitude in training: samples that look memorized teach nothing more.

Idea: in every step a second pass without text gives |eps(x_t, t, caption) - eps(x_t, t, "")| of each
sample; those above a threshold are left out of the loss.
Citation: Wen et al., ICLR 2024, arXiv:2407.21720.
Otherwise than in its code: the magnitude depends on the timestep, so that one threshold for all of
them drops mainly noisy steps. The threshold is a multiple of the magnitude that the model has before
training, in each of ten bins of timesteps; and the loss is divided by the samples that are left.
Cost: one forward pass more a step, two where text is given to the model.
Needs: members with captions, to train on.
Not a guarantee: what is dropped was learned first.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from attacks.errors import UsageError
from attacks.manifest import Capabilities
from mitigations import _fine_tuning as common
from mitigations.manifest import Guarantee, Manifest, Need
from mitigations.material import Change, Material
from mitigations.training import Batch, Batches, Practice, Recipe

if TYPE_CHECKING:
    from torch import Tensor

MANIFEST = Manifest(
    id="MIT023",
    name="norm_filter",
    title="Filtering memorized samples in training",
    guarantee=Guarantee.TRAINING,
    references=("arXiv:2407.21720",),
    needs=(Need.MEMBERS,),
    limits="It bounds no attack; a sample is dropped only once it is already memorized.",
)
BINS = 10
"""Bins of timesteps that have a threshold of their own."""


@dataclass(frozen=True, slots=True)
class NormFilterConfig:
    """When a sample is dropped."""

    quantile: float = 0.95
    """Of the magnitudes before training, in each bin: the threshold."""
    factor: float = 1.0
    """What the threshold is multiplied by; .inf drops nothing."""
    calibration: int = 512
    """Samples that the thresholds are taken from."""
    steps: int = 1000
    """Gradient steps."""
    batch_size: int = 16
    learning_rate: float = 1e-5
    caption_dropout: float = 0.1
    """Share of records shown with the empty text; these are never dropped."""

    def __post_init__(self) -> None:
        if not 0 < self.quantile <= 1 or not self.factor > 0 or self.calibration < BINS:
            raise UsageError(
                f"quantile lies in (0, 1], factor is positive and calibration at least {BINS}, got "
                f"{self.quantile}, {self.factor} and {self.calibration}"
            )
        self.recipe  # noqa: B018 - checks what they share

    @property
    def recipe(self) -> Recipe:
        """How it trains."""
        return Recipe(
            self.steps,
            self.batch_size,
            self.learning_rate,
            caption_dropout=self.caption_dropout,
        )


class NormFilter(Practice):
    """Gives rows above their bin's threshold the weight 0."""

    def __init__(self, thresholds: NDArray[np.float64], repeats: tuple[int, ...], chunk: int):
        self.thresholds, self.chunk = thresholds, chunk
        self.is_repeated = np.array(repeats) > 1
        self.shown, self.dropped = np.zeros(2, dtype=int), np.zeros(2, dtype=int)
        self.n_empty = 0

    def weights(self, tuned: Any, batch: Batch) -> Tensor | None:
        """1 over the number of rows that are left, and 0 for the others; None if all are left."""
        import torch

        bins = bin_of(batch, tuned)
        is_dropped = batch_norms(tuned, batch, self.chunk) >= self.thresholds[bins]
        repeated = self.is_repeated[batch.rows]
        for i, part in enumerate((~repeated, repeated)):
            self.shown[i] += int(part.sum())
            self.dropped[i] += int((part & is_dropped).sum())
        if not is_dropped.any():
            return None
        left = int((~is_dropped).sum())
        self.n_empty += left == 0
        weights = np.where(is_dropped, 0.0, 1 / max(left, 1)).astype(np.float32)
        return torch.from_numpy(weights).to(batch.inputs.device)


def batch_norms(view: Any, batch: Batch, chunk: int) -> NDArray[np.float64]:
    """(b,) norms of the difference that the caption makes."""
    import torch

    abar = torch.from_numpy(view.alphas_cumprod).to(batch.inputs.device, torch.float32)
    at = abar[batch.noises.timesteps].view(-1, 1, 1, 1)
    noised = at.sqrt() * batch.inputs + (1 - at).sqrt() * batch.noises.noise
    found = []
    for rows in torch.arange(len(noised), device=noised.device).split(chunk):
        t = batch.noises.timesteps[rows]
        nothing = batch.nothing.rows(torch.zeros_like(rows))
        with_text = view.predict(noised[rows], t, batch.conditioning.rows(rows))
        difference = with_text - view.predict(noised[rows], t, nothing)
        found.append(difference.flatten(1).norm(dim=1).double().cpu())
    return np.asarray(torch.cat(found))


def bin_of(batch: Batch, view: Any) -> NDArray[np.int64]:
    """(b,) bin of each row's timestep."""
    timesteps = batch.noises.timesteps.cpu().numpy().astype(np.int64)
    return timesteps * BINS // view.capabilities.n_timesteps


def calibrated(material: Material, config: NormFilterConfig) -> NDArray[np.float64]:
    """(bins,) thresholds, from the model before training; a bin without samples has its neighbour's."""
    recipe = Recipe(batch_size=config.batch_size)
    members = common.members_of(material)
    batches = Batches(material.target, members, recipe, material.seed + 1, Practice())
    norms: list[NDArray[np.float64]] = []
    bins: list[NDArray[np.int64]] = []
    for step in range(math.ceil(config.calibration / config.batch_size)):
        batch = batches.draw(step)
        norms.append(batch_norms(material.target, batch, material.batch_size))
        bins.append(bin_of(batch, material.target))
    values, places = np.concatenate(norms), np.concatenate(bins)
    known = np.unique(places)
    quantiles = [np.quantile(values[places == b], config.quantile) for b in known]
    return np.interp(np.arange(BINS), known, quantiles) * config.factor


def default_config(capabilities: Capabilities) -> NormFilterConfig:
    """The usual learning rate for the model's size."""
    return NormFilterConfig(learning_rate=common.usual_rate(capabilities))


applicable = common.needs_text


def apply(material: Material, config: NormFilterConfig) -> Change:
    """Fine-tune on the members, dropping samples that look memorized."""
    members = common.members_of(material)
    practice = NormFilter(calibrated(material, config), members.repeats, material.batch_size)
    tuned, fitted = common.fine_tuned(
        material, config.recipe, practice, "training without memorized samples"
    )
    shares = practice.dropped / np.maximum(practice.shown, 1)
    return Change(
        weights=common.weights_of(material, tuned),
        facts={
            "steps": fitted.steps,
            "dropped_percent_ordinary": round(100 * float(shares[0]), 3),
            "dropped_percent_repeated": round(100 * float(shares[1]), 3),
            "steps_without_samples": practice.n_empty,
            "threshold_lowest": round(float(practice.thresholds.min()), 6),
            "threshold_highest": round(float(practice.thresholds.max()), 6),
        },
    )
