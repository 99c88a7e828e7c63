"""MemControl where the answer is known: all 64 masks of a small U-Net against the search.

A U-Net with six attention blocks learns digits that are nobody's, and is fine-tuned under every
mask at one learning rate on records of which twelve are repeated 30 times. The exact Pareto front
is then known, and samplers are run against the table, ten times each, with 20 trials.

    OMP_NUM_THREADS=1 python benchmarks/memcontrol.py
"""

from __future__ import annotations

import dataclasses
import itertools
import platform
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from attacks.statistics.means import t_interval
from auditor.demo.assets import materialise
from auditor.demo.components import TEXT_WIDTH
from auditor.demo.digits import N_PLANTED, demo_splits
from auditor.targets.loading import open_target
from mitigations.material import Examples
from mitigations.memcontrol.config import default_config
from mitigations.memcontrol.front import hypervolume, pareto_front, picked
from mitigations.memcontrol.masks import bits_text
from mitigations.memcontrol.measures import measures_of
from mitigations.memcontrol.parts import divided
from mitigations.memcontrol.study import Plan, Space, searched
from mitigations.memcontrol.trial import Candidate, Job
from mitigations.training import Recipe, fit, whole_copy

RATE, BASE_STEPS, STEPS, TRIALS, REPEATS = 5e-3, 300, 60, 20, 10


def main():
    began = time.perf_counter()
    job = new_job()
    masks = list(itertools.product((0, 1), repeat=6))
    table = {bits: job.run(Candidate(bits, RATE)) for bits in masks}
    points = np.array([(table[b].memorization, table[b].quality) for b in masks])
    exact = pareto_front(points)
    reference = tuple(points.max(axis=0) + 1e-9)
    area = hypervolume(points, reference)
    print(f"64 masks in {time.perf_counter() - began:.0f} s on {platform.machine()}, CPU")
    print(f"exact front: {', '.join(bits_text(masks[i]) for i in exact)}")
    print(f"gap over masks: {points[:, 0].min():.4f} to {points[:, 0].max():.4f}")
    shares = {kind: areas(kind, table, reference, area) for kind in ("tpe", "nsga2", "random")}
    for kind, values in shares.items():
        found = t_interval(values)
        print(f"{kind}: {found.value:.3f} of the exact area ({found.low:.3f} to {found.high:.3f})")
    for kind in ("tpe", "nsga2"):
        found = t_interval(np.subtract(shares[kind], shares["random"]))
        print(f"{kind} - random: {found.value:+.3f} ({found.low:+.3f} to {found.high:+.3f})")
    report(job, masks, points)
    print(f"{time.perf_counter() - began:.0f} s in all")


def areas(kind, table, reference, area):
    """(repeats,) share of the exact area that each repetition of a search dominates."""
    found = []
    for seed in range(REPEATS):
        plan = Plan(Space(6, RATE, RATE), kind, TRIALS, seed, 1, "table", None, TRIALS // 4)
        tried = searched(plan, lambda candidates: (table[one.bits] for one in candidates))
        points = [(one.outcome.memorization, one.outcome.quality) for one in tried]
        found.append(hypervolume(points, reference) / area)
    return found


def report(job, masks, points):
    """The pick of the whole table and its controls, on records that were not measured before."""
    bits = masks[picked(points, np.zeros(len(points)), 0.05)]
    ways = {
        "picked " + bits_text(bits): (job.tuned(bits), RATE),
        "plain": (job.tuned((1,) * 6), RATE),
        "none": (job.tuned((0,) * 6), RATE),
        "full": (None, job.config.full_rate),
    }
    gaps = {}
    for name, (tuned, rate) in ways.items():
        runs = [job.refit(tuned, rate, seed, ("gap",)) for seed in (1, 2, 3)]
        gaps[name] = np.mean([run.memorization["gap"] for run in runs], axis=0)
        quality = np.mean([run.quality for run in runs])
        found = t_interval(gaps[name])
        print(
            f"{name}: gap {found.value:.4f} ({found.low:.4f} to {found.high:.4f}), "
            f"held-out loss {quality:.4f}"
        )
    first = next(iter(gaps))
    for other in ("plain", "full"):
        less = t_interval(gaps[other] - gaps[first])
        print(f"{other} - picked: {less.value:+.4f} ({less.low:+.4f} to {less.high:+.4f})")


def new_job():
    """A U-Net with six attention blocks that has learned other digits, and the records."""
    from diffusers import UNet2DConditionModel

    with tempfile.TemporaryDirectory() as folder:
        target = open_target(str(materialise("clean", Path(folder, "model"))), device="cpu")
    torch.manual_seed(0)
    unet = UNet2DConditionModel(
        sample_size=8,
        in_channels=4,
        out_channels=4,
        block_out_channels=(32, 48),
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        layers_per_block=2,
        cross_attention_dim=TEXT_WIDTH,
        attention_head_dim=4,
        norm_num_groups=8,
    )
    splits = demo_splits()
    base = whole_copy(target.with_unet(unet))
    others = examples(target, splits.others, range(200), [1] * 200)
    fit(base, others, Recipe(BASE_STEPS, 32, 2e-3, caption_dropout=0.1), seed=0)
    base = base.with_unet(base.unet.eval().requires_grad_(False))
    repeats = [30] * N_PLANTED + [1] * 60
    members = examples(target, splits.members, range(N_PLANTED + 60), repeats)
    nonmembers = examples(target, splits.nonmembers, range(60), [1] * 60)
    config = dataclasses.replace(
        default_config(target.capabilities), steps=STEPS, train_batch=12, rate_low=RATE,
        rate_high=RATE, noises=2,
    )  # fmt: skip
    parts = divided(members, nonmembers, 0)
    return Job(base, parts, config, measures_of(base, parts, config, 64), 0, 64)


def examples(target, split, rows, repeats):
    inputs = target.prepare([Image.fromarray(split.images[row]) for row in rows])
    return Examples(inputs, tuple(split.captions[row] for row in rows), tuple(repeats))


if __name__ == "__main__":
    main()
