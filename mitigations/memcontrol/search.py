"""From records to a front, a pick, and what the pick is worth on records it was not chosen by."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from attacks.errors import Inapplicable, UsageError
from mitigations.material import Material
from mitigations.memcontrol.blocks import block_names
from mitigations.memcontrol.config import MemControlConfig
from mitigations.memcontrol.front import hypervolume, pareto_front, picked
from mitigations.memcontrol.masks import Mask, bits_text, read_mask
from mitigations.memcontrol.measures import measures_of
from mitigations.memcontrol.parts import Parts, divided
from mitigations.memcontrol.refits import Refits, new_seeds, refitted
from mitigations.memcontrol.result import MemControlResult, TrialRow
from mitigations.memcontrol.study import Kind, Plan, Space, Tried, searched
from mitigations.memcontrol.trial import Job
from mitigations.memcontrol.workers import Evaluate, evaluator

VERSION = 1
"""Raised whenever a trial would give other figures, so that no older study is continued."""


class Found(NamedTuple):
    """The end of a search."""

    result: MemControlResult
    mask: Mask
    weights: dict[str, Any]
    """Of the plain U-Net, after the pick's first refit."""


def search(material: Material, config: MemControlConfig) -> Found:
    """Search, pick, refit; or refit a mask from a file.

    Raises DataError with too few records, UsageError for a mask that does not fit or if every
    trial diverges.
    """
    job = _job(material, config)
    blocks = _blocks(job)
    given = None if config.mask is None else _given(Path(config.mask), blocks)
    key = fingerprint(job)
    tried: list[Tried] = []
    control: list[Tried] = []
    if given is None:
        with evaluator(job, config.workers) as evaluate:
            tried = _study(material, job, len(blocks), config.sampler, key, evaluate)
            if config.control:
                control = _study(material, job, len(blocks), "random", key, evaluate)
        mask = _picked(job, tried, blocks)
    else:
        mask = given
    title = "training the pick and its controls on new seeds"
    refits = refitted(
        job,
        mask,
        None if material.folder is None else _refit_file(material.folder, key),
        lambda done, total: material.on_progress(title, done, total),
    )
    weights = job.weights(mask.tuned, mask.learning_rate, new_seeds(job)[0])
    return Found(_result(job, mask, blocks, tried, control, refits), mask, weights)


def _job(material: Material, config: MemControlConfig) -> Job:
    if material.members is None or material.nonmembers is None:
        raise UsageError("memcontrol needs --members and --nonmembers; pass both")
    is_text = material.target.capabilities.is_text_conditional
    if config.memorization.startswith("magnitude") and not is_text:
        raise UsageError(
            "the noise magnitude compares a caption with none, and this model takes no text; set "
            "memorization=gap"
        )
    if config.guidance != 1 and not is_text:
        raise UsageError("guidance needs a model that takes text; set guidance=1")
    parts = divided(material.members, material.nonmembers, material.seed)
    measures = measures_of(material.target, parts, config, material.batch_size)
    return Job(material.target, parts, config, measures, material.seed, material.batch_size)


def _blocks(job: Job) -> tuple[str, ...]:
    try:
        return block_names(job.target.unet)
    except Inapplicable as reason:
        raise UsageError(f"memcontrol cannot be applied: {reason}") from None


def _given(path: Path, blocks: tuple[str, ...]) -> Mask:
    mask = read_mask(path)
    if mask.blocks != blocks:
        raise UsageError(
            f"the mask of {path.name} is for {len(mask.blocks)} attention blocks of another model; "
            f"this one has {len(blocks)}. Use a mask that was found on a model of this layout"
        )
    return mask


def _study(
    material: Material, job: Job, n_bits: int, kind: Kind, key: str, evaluate: Evaluate
) -> list[Tried]:
    config = job.config
    plan = Plan(
        space=Space(n_bits, config.rate_low, config.rate_high),
        kind=kind,
        trials=config.trials,
        seed=job.seed,
        workers=config.workers,
        name=key,
        folder=material.folder,
        population=config.population,
    )
    name = "random control" if kind == "random" else "search"

    def told(tried: list[Tried]) -> None:
        material.on_progress(f"{name}: {front_in_words(tried)}", len(tried), config.trials)

    material.on_progress(f"{name}: training the first masks", 0, config.trials)
    return searched(plan, evaluate, told)


def front_in_words(tried: Sequence[Tried]) -> str:
    """The front so far, from the least memorization to the best quality."""
    sound = [one for one in tried if one.outcome.is_finite]
    points = [(one.outcome.memorization, one.outcome.quality) for one in sound]
    front = pareto_front(points)
    ends = sorted({points[i] for i in front})
    shown = ends if len(ends) <= 3 else [ends[0], ends[len(ends) // 2], ends[-1]]
    listed = ", ".join(f"{m:.3g}/{q:.3g}" for m, q in shown)
    return f"front of {len(front)} (memorization/quality {listed or 'none yet'})"


def _picked(job: Job, tried: Sequence[Tried], blocks: tuple[str, ...]) -> Mask:
    sound = [one for one in tried if one.outcome.is_finite]
    if not sound:
        raise UsageError(
            f"all {len(tried)} trainings of the search diverged; lower rate_high and rate_low"
        )
    place = picked(
        [(one.outcome.memorization, one.outcome.quality) for one in sound],
        [one.outcome.slack for one in sound],
        job.config.tolerance,
    )
    chosen = sound[place].candidate
    return Mask(job.tuned(chosen.bits), chosen.learning_rate, blocks)


# --- the record -----------------------------------------------------------------------------


def _result(
    job: Job,
    mask: Mask,
    blocks: tuple[str, ...],
    tried: Sequence[Tried],
    control: Sequence[Tried],
    refits: Refits,
) -> MemControlResult:
    config, parts = job.config, job.parts
    reference, areas = _areas(tried, control)
    more = refits.excess
    return MemControlResult(
        family=mask.tuned.family,
        rest=mask.tuned.rest,
        sampler=config.sampler if config.mask is None else "given",
        memorization=config.memorization,
        quality=config.quality,
        tolerance=config.tolerance,
        blocks=blocks,
        n_parameters=sum(p.numel() for p in job.target.unet.parameters()),
        n_trained=len(parts.trained),
        n_search=(len(parts.search.memorized), len(parts.search.held_out)),
        n_report=(len(parts.report.memorized), len(parts.report.held_out)),
        is_repeated=parts.is_repeated,
        seed=job.seed,
        seeds=new_seeds(job),
        trials=_rows(tried),
        control=_rows(control),
        reference=reference,
        area=areas[0],
        control_area=areas[1],
        chosen=mask.text,
        learning_rate=mask.learning_rate,
        refits=refits.rows,
        is_memorizing=more is not None and more.low is not None and more.low > 0,
    )


def _rows(tried: Sequence[Tried]) -> tuple[TrialRow, ...]:
    sound = [i for i, one in enumerate(tried) if one.outcome.is_finite]
    points = [(tried[i].outcome.memorization, tried[i].outcome.quality) for i in sound]
    front = {sound[i] for i in pareto_front(points)}
    return tuple(
        TrialRow(
            bits=bits_text(one.candidate.bits),
            learning_rate=one.candidate.learning_rate,
            memorization=one.outcome.memorization if one.outcome.is_finite else None,
            quality=one.outcome.quality if one.outcome.is_finite else None,
            trainable=one.outcome.trainable,
            is_on_front=i in front,
        )
        for i, one in enumerate(tried)
    )


def _areas(
    tried: Sequence[Tried], control: Sequence[Tried]
) -> tuple[tuple[float, float] | None, tuple[float | None, float | None]]:
    """The worst corner of both searches, and the share of the box that each dominates."""
    sets = [
        [(t.outcome.memorization, t.outcome.quality) for t in one if t.outcome.is_finite]
        for one in (tried, control)
    ]
    if not sets[0]:
        return None, (None, None)
    everything = np.array(sets[0] + sets[1])
    worst, best = everything.max(axis=0), everything.min(axis=0)
    box = float(np.prod(worst - best))
    reference = (float(worst[0]), float(worst[1]))
    if box <= 0:
        return reference, (None, None)
    shares = [hypervolume(points, reference) / box if points else None for points in sets]
    return reference, (shares[0], shares[1])


def fingerprint(job: Job) -> str:
    """Hash of all that decides what a trial gives; trials and workers may change between runs."""
    free = {"trials", "sampler", "control", "workers", "refits", "tolerance", "mask", "full_rate"}
    settings = {k: v for k, v in dataclasses.asdict(job.config).items() if k not in free}
    facts = {
        "version": VERSION,
        "target": job.target.key,
        "seed": job.seed,
        "settings": settings,
        "population": job.config.population if job.config.sampler == "nsga2" else None,
        "data": _data_key(job.parts),
    }
    text = json.dumps(facts, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _data_key(parts: Parts) -> str:
    digest = hashlib.sha256()
    for side in (parts.search, parts.report):
        for examples in (parts.trained, side.memorized, side.held_out):
            digest.update(examples.inputs.float().cpu().numpy().tobytes())
            digest.update(json.dumps([examples.captions, examples.repeats]).encode())
    return digest.hexdigest()


def _refit_file(folder: Path, key: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder / f"refits-{key}.json"
