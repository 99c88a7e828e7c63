"""Which weights react to memorized prompts, and to them alone? The flow of a probe.

prompts --split into sets, draw--> activity --score--> masks --compare--> overlap --> files
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from attacks.errors import DataError, TargetError, UsageError
from attacks.probing import wanda
from attacks.probing.wanda import WandaConfig
from auditor.observe.executor import automatic_batch_size
from auditor.observe.feed_forward import feed_forward_layers
from auditor.observe.generation import GenerationExecutor
from auditor.observe.usage import Usage
from auditor.prepare import check_out, timed
from auditor.probing.measure import LayerResult, activity_of, layer_results
from auditor.progress import Progress
from auditor.prompts.reading import Prompt, drawn, read_prompts
from auditor.records import ProjectKey, load_or_create_project_key
from auditor.records.identity import keyed_rank
from auditor.targets.diffusion import DiffusionTarget
from auditor.targets.loading import open_target
from auditor.targets.sampling import Sampling
from reports.probe_record import ProbeRecord

MOST_SETS = 8
"""Most sets of a side: enough for any p-value that matters, and each is a mask in the file."""


@dataclass(frozen=True, slots=True)
class ProbeOptions:
    """Everything that `auditor probe` can be told, under the same names."""

    model: str
    prompts: Path
    out: Path
    reference: Path | None = None
    """Prompts to compare with; None for the empty prompt, as in the paper."""
    ordinary: Path | None = None
    """Ordinary prompts for the control; None takes those that `prompts` labels `reference`."""
    sets: int = 4
    sparsity: float = 0.01
    first_steps: int = 10
    select_ratio: float = 0.0
    cfg_half: str = "both"
    seeds: int = 1
    steps: int = 50
    guidance: float = 7.5
    lora: Path | None = None
    device: str = "auto"
    precision: str = "auto"
    batch_size: int | None = None
    resolution: int | None = None
    seed: int = 0
    limit: int | None = None
    allow_pickle: bool = False


@dataclass
class Probe:
    """A probe whose prompts and model have been read and found sound."""

    options: ProbeOptions
    config: WandaConfig
    sampling: Sampling
    memorized: tuple[tuple[Prompt, ...], ...]
    """Disjoint sets, equal in size but for one prompt."""
    ordinary: tuple[tuple[Prompt, ...], ...]
    ordinary_kind: str
    reference: tuple[Prompt, ...]
    """Empty where the reference is the empty prompt."""
    executor: GenerationExecutor
    key: ProjectKey
    started: datetime
    seconds: dict[str, float]

    @property
    def target(self) -> DiffusionTarget:
        """The model."""
        return self.executor.target

    @property
    def n_draws(self) -> int:
        """Images whose denoising is followed."""
        n = sum(map(len, (*self.memorized, *self.ordinary))) + max(1, len(self.reference))
        return n * self.options.seeds


@dataclass(frozen=True)
class ProbeResult:
    """What a probe leaves behind."""

    record: ProbeRecord
    paths: dict[str, Path]
    """Format -> file."""


def probe_model(options: ProbeOptions, progress: Progress | None = None) -> ProbeResult:
    """Find the weights that react to memorized prompts; twin of `auditor probe`.

    Raises UsageError (and its kinds) for anything that the caller can fix.
    """
    progress = progress or Progress()
    return run_probe(plan_probe(options, progress), progress)


def plan_probe(options: ProbeOptions, progress: Progress) -> Probe:
    """Read prompts and model."""
    started, seconds = datetime.now(UTC), dict[str, float]()
    check_out(options.out)
    config = WandaConfig(
        options.sparsity, options.first_steps, options.select_ratio, options.cfg_half  # type: ignore[arg-type]
    )  # fmt: skip
    sampling = Sampling(options.steps, options.guidance)
    if not 1 <= options.sets <= MOST_SETS:
        raise UsageError(f"--sets must lie between 1 and {MOST_SETS}, got {options.sets}")
    if options.seeds < 1:
        raise UsageError(f"--seeds counts from 1, got {options.seeds}")
    memorized, ordinary, kind, reference = _prompts(options)
    with timed(seconds, "load model"):
        target = open_target(
            options.model,
            device=options.device,
            precision=options.precision,
            resolution=options.resolution,
            lora=options.lora,
            allow_pickle=options.allow_pickle,
        )
    check_target(target, sampling)
    batch_size = options.batch_size or automatic_batch_size(target)
    executor = GenerationExecutor(target, batch_size, None, progress, Usage())
    key = load_or_create_project_key(options.out.absolute().parent / ".auditor" / "project.key")
    return Probe(
        options, config, sampling, memorized, ordinary, kind, reference, executor, key, started,
        seconds,
    )  # fmt: skip


def check_target(target: DiffusionTarget, sampling: Sampling) -> None:
    """Refuse a model in which there is nothing to probe, by name."""
    if reason := wanda.applicable(target.capabilities):
        architecture = target.capabilities.architecture
        raise TargetError(f"'{target.name}' ({architecture}) cannot be probed: wanda {reason}")
    feed_forward_layers(target.unet)
    if sampling.steps > target.capabilities.n_timesteps:
        raise TargetError(
            f"--steps {sampling.steps} is more than the {target.capabilities.n_timesteps} "
            "timesteps of the model"
        )


def run_probe(probe: Probe, progress: Progress) -> ProbeResult:
    """Draw, score, compare and write."""
    from auditor.probing.outputs import write_outputs

    record, paths = write_outputs(probe, measured(probe, progress))
    return ProbeResult(record, paths)


def measured(probe: Probe, progress: Progress) -> dict[str, LayerResult]:
    """Layer -> masks and overlaps."""
    seeds = range(probe.options.seed, probe.options.seed + probe.options.seeds)
    progress.stage("drawing", probe.n_draws, "draws")
    with timed(probe.seconds, "observe"):
        found = [
            activity_of(probe.executor, texts, seeds, probe.sampling, probe.config)
            for texts in (
                *([p.text for p in one] for one in (*probe.memorized, *probe.ordinary)),
                [p.text for p in probe.reference] or [""],
            )
        ]
    n, layers = len(probe.memorized), len(found[-1].layers)
    progress.stage("masks", layers, "layers")
    with timed(probe.seconds, "masks"):
        rng = np.random.default_rng(probe.options.seed)
        return layer_results(probe.executor, found[:n], found[n:-1], found[-1], probe.config, rng)


def dealt(prompts: tuple[Prompt, ...], n_sets: int, seed: int) -> tuple[tuple[Prompt, ...], ...]:
    """Disjoint sets of nearly equal size, dealt by keyed hash: file order plays no part."""
    order = sorted(prompts, key=lambda prompt: keyed_rank("probe sets", seed, prompt.id))
    return tuple(tuple(order[i::n_sets]) for i in range(n_sets))


def _prompts(
    options: ProbeOptions,
) -> tuple[tuple[tuple[Prompt, ...], ...], tuple[tuple[Prompt, ...], ...], str, tuple[Prompt, ...]]:
    """Sets of memorized prompts, of ordinary ones, where these come from, and references."""
    listed = read_prompts(options.prompts)
    memorized = drawn(listed.suspects, options.limit, options.seed)
    if len(memorized) < options.sets:
        raise DataError(
            f"{len(memorized)} memorized prompts cannot be split into {options.sets} sets; give "
            "more prompts or a smaller --sets"
        )
    ordinary, kind = listed.references, "labelled"
    if options.ordinary is not None:
        if ordinary:
            raise DataError("the prompts label ordinary ones; leave --ordinary out")
        ordinary, kind = _everything(options.ordinary), "given"
    known = {prompt.id for prompt in listed.suspects}
    kept = tuple(prompt for prompt in ordinary if prompt.id not in known)
    kept = drawn(kept, len(memorized), options.seed)
    if ordinary and len(kept) < options.sets:
        raise DataError(
            f"{len(kept)} ordinary prompts that are not memorized ones cannot be split into "
            f"{options.sets} sets; give more of them or a smaller --sets"
        )
    sets = dealt(kept, options.sets, options.seed) if kept else ()
    reference = _everything(options.reference) if options.reference else ()
    return dealt(memorized, options.sets, options.seed), sets, kind if kept else "none", reference


def _everything(path: Path) -> tuple[Prompt, ...]:
    listed = read_prompts(path)
    return (*listed.suspects, *listed.references)
