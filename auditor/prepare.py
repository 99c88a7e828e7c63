"""Everything that can be wrong is read and checked before any work is done."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from attacks.errors import TargetError, UsageError
from attacks.registry import attack, default_attacks
from attacks.registry import names as attack_names
from auditor.config import ScanConfig, load_config
from auditor.observe.cache import Cache, default_cache
from auditor.observe.executor import LocalExecutor, automatic_batch_size
from auditor.observe.plan import Plan, make_plan
from auditor.policy import Policy, load_policy, preset_policy
from auditor.progress import Progress
from auditor.records import (
    ProjectKey,
    Record,
    Splits,
    load_or_create_project_key,
    load_splits,
)
from auditor.targets.diffusion import DiffusionTarget
from auditor.targets.loading import open_target

CALIBRATION_SHARE = 0.2
"""Share of both splits that fitted attacks are fitted on."""


@dataclass(frozen=True, slots=True)
class ScanOptions:
    """Everything that `auditor scan model` can be told, under the same names."""

    model: str
    members: Path
    nonmembers: Path
    out: Path
    policy: Path | None = None
    attacks: tuple[str, ...] | None = None
    config: Path | None = None
    reference: str | None = None
    lora: Path | None = None
    device: str = "auto"
    precision: str = "auto"
    batch_size: int | None = None
    """Images per forward call; None chooses by device."""
    resolution: int | None = None
    seed: int = 0
    limit: int | None = None
    cache: Path | None = None
    fresh: bool = False
    reveal: bool = False
    allow_pickle: bool = False


@dataclass
class PreparedScan:
    """A scan whose inputs have been read and found sound."""

    options: ScanOptions
    policy: Policy
    config: ScanConfig
    splits: Splits
    target: DiffusionTarget
    reference: DiffusionTarget | None
    plan: Plan
    executor: LocalExecutor
    cache: Cache
    key: ProjectKey
    started: datetime
    seconds: dict[str, float] = field(default_factory=dict)

    @property
    def evaluated(self) -> tuple[Record, ...]:
        """Members and nonmembers that are evaluated, ordered by content id."""
        return tuple(sorted(self.splits.members + self.splits.nonmembers, key=lambda r: r.id))

    def open_base(self) -> DiffusionTarget:
        """The model without its adapter."""
        return _open(self.options, self.options.model, None)

    @contextmanager
    def timed(self, stage: str) -> Iterator[None]:
        """Add the wall seconds of a block to a stage."""
        began = time.perf_counter()
        try:
            yield
        finally:
            passed = time.perf_counter() - began
            self.seconds[stage] = self.seconds.get(stage, 0.0) + passed


def plan_scan(options: ScanOptions, progress: Progress) -> PreparedScan:
    """Read policy, configuration, records and model, and plan the pass over them."""
    started = datetime.now(UTC)
    seconds: dict[str, float] = {}
    policy = load_policy(options.policy) if options.policy else preset_policy("default")
    config = load_config(options.config)
    names = _chosen(options, config)
    _check_out(options.out)
    began = time.perf_counter()
    splits = load_splits(
        options.members,
        options.nonmembers,
        options=config.records,
        calibration_share=CALIBRATION_SHARE
        if any(attack(name).MANIFEST.fitted for name in names)
        else 0.0,
        limit=options.limit,
        seed=options.seed,
        on_progress=_reading(progress),
    )
    seconds["read records"] = time.perf_counter() - began
    began = time.perf_counter()
    target = _open(options, options.model, options.lora)
    reference = _open(options, options.reference, None) if options.reference else None
    seconds["load model"] = time.perf_counter() - began
    target.capabilities = dataclasses.replace(target.capabilities, has_captions=splits.has_captions)
    plan = make_plan(names, target.capabilities, config.attack_options)
    if not plan.configs:
        reasons = "; ".join(f"{skipped.attack}: {skipped.reason}" for skipped in plan.inapplicable)
        raise UsageError(f"none of the chosen attacks can run on this target ({reasons})")
    if not plan.is_fitted:
        splits = _without_calibration(splits)
    if reference is not None:
        _check_reference(target, reference)
    cache = Cache(options.cache or default_cache(), target.key, options.seed, options.fresh)
    batch_size = options.batch_size or cache.batch_size() or automatic_batch_size(target)
    return PreparedScan(
        options=options,
        policy=policy,
        config=config,
        splits=splits,
        target=target,
        reference=reference,
        plan=plan,
        executor=LocalExecutor(options.seed, batch_size, progress),
        cache=cache,
        key=load_or_create_project_key(options.out.absolute().parent / ".auditor" / "project.key"),
        started=started,
        seconds=seconds,
    )


def _chosen(options: ScanOptions, config: ScanConfig) -> tuple[str, ...]:
    names = config.attacks if options.attacks is None else options.attacks
    if names is None:
        return tuple(found.MANIFEST.name for found in default_attacks("diffusion"))
    if "all" in names:
        return attack_names("diffusion")
    if not names:
        raise UsageError("no attack was named; `auditor list` shows them")
    for name in names:
        attack(name)
    return tuple(dict.fromkeys(names))


def _without_calibration(splits: Splits) -> Splits:
    """All records evaluated, since none of the attacks that run is fitted."""
    return dataclasses.replace(
        splits,
        members=tuple(sorted(splits.members + splits.calibration_members, key=lambda r: r.id)),
        nonmembers=tuple(
            sorted(splits.nonmembers + splits.calibration_nonmembers, key=lambda r: r.id)
        ),
        calibration_members=(),
        calibration_nonmembers=(),
    )


def _check_reference(target: DiffusionTarget, reference: DiffusionTarget) -> None:
    """Scores can only be paired with those of a model that answers the same questions."""
    differences = {
        "the shape of its input": target.input_shape != reference.input_shape,
        "its noise schedule": not (
            target.alphas_cumprod.shape == reference.alphas_cumprod.shape
            and np.allclose(target.alphas_cumprod, reference.alphas_cumprod)
        ),
        "its conditioning": target.capabilities.is_text_conditional
        != reference.capabilities.is_text_conditional,
        "its input space": target.capabilities.is_latent != reference.capabilities.is_latent,
    }
    for what, differs in differences.items():
        if differs:
            raise TargetError(
                f"the reference '{reference.name}' cannot be paired with '{target.name}': {what} "
                "differs; pass a model of the same kind, such as the base before fine-tuning"
            )


def _check_out(out: Path) -> None:
    if out.exists() and not out.is_dir():
        raise UsageError(f"--out {out} is a file; pass a directory")


def _open(options: ScanOptions, model: str, lora: Path | None) -> DiffusionTarget:
    return open_target(
        model,
        device=options.device,
        precision=options.precision,
        resolution=options.resolution,
        lora=lora,
        allow_pickle=options.allow_pickle,
    )


def _reading(progress: Progress) -> Callable[[str, int, int], None]:
    """Shows the stages of reading, each reported as (stage, done, total)."""
    current, before = "", 0

    def report(stage: str, done: int, total: int) -> None:
        nonlocal current, before
        if stage != current:
            progress.stage(stage, total)
            current, before = stage, 0
        progress.advance(done - before)
        before = done

    return report
