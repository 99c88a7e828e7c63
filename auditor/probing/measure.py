"""Streams prompts through a target, and turns what its layers did into masks and overlaps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from attacks.errors import TargetError
from attacks.probing.activity import Activity, merged
from attacks.probing.masks import PackedMask
from attacks.probing.overlap import (
    expected_iou_of_rows,
    iou_matrix,
    random_like,
)
from attacks.probing.wanda import TimeUnion, WandaConfig, contrast, step_mask
from auditor.observe import generation
from auditor.observe.feed_forward import feed_forward_layers, watched_activity
from auditor.observe.generation import GenerationExecutor
from auditor.targets.sampling import Draw, Sampling, follow


def activity_of(
    executor: GenerationExecutor,
    prompts: Sequence[str],
    seeds: Sequence[int],
    sampling: Sampling,
    config: WandaConfig,
) -> Activity:
    """The activity under the prompts, each drawn from every seed; memory is that of a shard."""
    draws = [Draw(prompt, seed) for prompt in prompts for seed in seeds]
    whole = Activity()
    for start in range(0, len(draws), generation.SHARD_DRAWS):
        shard = draws[start : start + generation.SHARD_DRAWS]
        part = executor.in_memory(
            lambda rows, shard=shard: _followed(executor, shard, sampling, config, rows)  # type: ignore[misc]
        )
        whole = merged([whole, part])
        executor.progress.advance(len(shard))
    for layer in whole.layers:
        if not np.isfinite(whole.rms(layer)).all():
            raise TargetError(
                "the model gave NaN or infinity inside a feed-forward layer; use --precision "
                "fp32, and check that the weights are complete"
            )
    return whole


def _followed(
    executor: GenerationExecutor,
    shard: Sequence[Draw],
    sampling: Sampling,
    config: WandaConfig,
    rows: int,
) -> Activity:
    def count(n: int) -> None:
        executor.usage.n_calls += n

    unet = executor.target.unet
    with watched_activity(unet, prompts_alone=config.cfg_half == "cond") as watcher:
        follow(
            executor.target,
            shard,
            sampling,
            n_steps=sampling.steps,
            batch_size=rows,
            watcher=watcher,
            on_calls=count,
        )
    return watcher.into


class Pairs(NamedTuple):
    """(p, p) overlap of every pair of sets, and what random masks of equal rows give."""

    matrix: NDArray[np.float64]
    random: float | None
    """Mean over pairs of memorized sets; None with a single one."""


@dataclass
class LayerResult:
    """What was found in one layer; sets are the memorized ones, then the ordinary ones."""

    shape: tuple[int, int]
    together: PackedMask
    sets: tuple[PackedMask, ...]
    steps: Pairs
    """Mean over steps; random in expectation."""
    joined: Pairs
    """Of the masks that would be pruned; random as drawn."""
    step_density: list[float] = field(default_factory=list)
    step_contrast: list[float] = field(default_factory=list)


def layer_results(
    executor: GenerationExecutor,
    memorized: Sequence[Activity],
    ordinary: Sequence[Activity],
    reference: Activity,
    config: WandaConfig,
    rng: np.random.Generator,
) -> dict[str, LayerResult]:
    """Layer -> its masks and overlaps, one layer and step in memory at a time."""
    lists = [merged(memorized), *memorized, *ordinary]
    found = {}
    for name, layer in feed_forward_layers(executor.target.unet).items():
        weight = layer.weight.detach().float()
        rms = [torch.from_numpy(one.rms(name)).to(weight) for one in lists]
        base = torch.from_numpy(reference.rms(name)).to(weight)
        found[name] = _layer(weight, rms, base, len(memorized), config, rng)
        executor.progress.advance(1)
    return found


def _layer(
    weight: torch.Tensor,
    rms: Sequence[torch.Tensor],
    base: torch.Tensor,
    n_memorized: int,
    config: WandaConfig,
    rng: np.random.Generator,
) -> LayerResult:
    unions = [TimeUnion(config) for _ in rms]
    matrices, expected, densities, contrasts = [], [], [], []
    for t in range(len(base)):
        masks = [step_mask(weight, one[t], base[t], config) for one in rms]
        for union, mask in zip(unions, masks, strict=True):
            union.add(mask)
        arrays = [mask.cpu().numpy() for mask in masks]
        densities.append(float(arrays[0].mean()))
        contrasts.append(contrast(weight, rms[0][t], base[t], config))
        matrices.append(iou_matrix(arrays[1:]))
        expected += _pairwise(arrays[1 : 1 + n_memorized], expected_iou_of_rows)
    joined = [union.mask.cpu().numpy() for union in unions]
    drawn = _pairwise(
        joined[1 : 1 + n_memorized],
        lambda a, b: float(iou_matrix([random_like(a, rng), random_like(b, rng)])[0, 1]),
    )
    return LayerResult(
        shape=(weight.shape[0], weight.shape[1]),
        together=PackedMask.pack(joined[0]),
        sets=tuple(PackedMask.pack(one) for one in joined[1:]),
        steps=Pairs(np.mean(matrices, axis=0), float(np.mean(expected)) if expected else None),
        joined=Pairs(iou_matrix(joined[1:]), float(np.mean(drawn)) if drawn else None),
        step_density=densities,
        step_contrast=contrasts,
    )


def _pairwise(masks, measure) -> list[float]:  # type: ignore[no-untyped-def]
    """A measure of every pair of masks."""
    return [
        float(measure(masks[i], masks[j]))
        for i in range(len(masks))
        for j in range(i + 1, len(masks))
    ]
