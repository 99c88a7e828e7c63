"""Does a model emit memorized images for these prompts? The flow of a scan of prompts.

prompts --watch a trajectory--> scores --compare with references--> flags --draw--> verdict --> files
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from attacks.detection import Setting
from attacks.detection.flags import conformal_p, flagged
from attacks.detection.registry import PRIMARY, chosen, detector
from attacks.errors import DataError, TargetError
from attacks.results import ControlResult
from attacks.statistics.blind_captions import CaptionCheck
from auditor.observe.cache import Cache, default_cache
from auditor.observe.executor import automatic_batch_size
from auditor.observe.token_gradients import shares, token_gradients
from auditor.observe.trajectories import TrajectoryExecutor
from auditor.observe.usage import Usage
from auditor.policy import Policy, load_policy, preset_policy
from auditor.prepare import check_out, timed
from auditor.progress import Progress
from auditor.prompts.confirm import N_REFERENCES, N_SEEDS, Confirmations, confirm
from auditor.prompts.controls import check_captions, planted_prompts, random_weights
from auditor.prompts.judge import Judgement, judge
from auditor.prompts.measure import Scores, Watching, score_prompts
from auditor.prompts.reading import Prompt, drawn, read_prompts, shuffled
from auditor.records import ProjectKey, load_or_create_project_key
from auditor.targets.diffusion import DiffusionTarget
from auditor.targets.loading import open_target
from auditor.targets.sampling import Sampling
from auditor.targets.tokens import PromptTokens, tokenize
from reports.prompts_record import PromptsRecord

BUILT_REFERENCES = 200
"""Fewest references that are built where none are given."""
TOP = 5
"""Prompts at the top of the ranking that are drawn even if none is flagged."""
MOST_DRAWN = 50
"""Most prompts that are drawn and attributed to tokens."""


@dataclass(frozen=True, slots=True)
class PromptScanOptions:
    """Everything that `auditor scan prompts` can be told, under the same names."""

    model: str
    prompts: Path
    out: Path
    reference: Path | None = None
    """Prompts believed not to be memorized; None builds them from the prompts."""
    policy: Path | None = None
    detectors: tuple[str, ...] | None = None
    seeds: int = 4
    steps: int = 50
    guidance: float = 7.5
    lora: Path | None = None
    device: str = "auto"
    precision: str = "auto"
    batch_size: int | None = None
    resolution: int | None = None
    seed: int = 0
    limit: int | None = None
    cache: Path | None = None
    fresh: bool = False
    reveal: bool = False
    allow_pickle: bool = False


@dataclass
class PromptScan:
    """A scan whose prompts and model have been read and found sound."""

    options: PromptScanOptions
    policy: Policy
    suspects: tuple[Prompt, ...]
    references: tuple[Prompt, ...]
    reference_kind: str
    """`given`, `labelled` or `built`."""
    target: DiffusionTarget
    watching: Watching
    executor: TrajectoryExecutor
    cache: Cache
    key: ProjectKey
    started: datetime
    seconds: dict[str, float]

    @property
    def seed(self) -> int:
        """Seed of every random choice."""
        return self.options.seed

    @property
    def sampling(self) -> Sampling:
        """How whole images are drawn."""
        return Sampling(self.watching.setting.steps, self.watching.setting.guidance)

    @property
    def is_built(self) -> bool:
        """Whether the references were built from the prompts."""
        return self.reference_kind == "built"

    def publish(self, prompt: Prompt) -> str:
        """The id under which a prompt is published."""
        return self.key.publish(prompt.id)


@dataclass(frozen=True)
class Detected:
    """What was found; arrays are in the order of the suspects."""

    scores: Scores
    """Detector -> scores of the suspects."""
    reference_scores: Scores
    p_values: Scores
    is_flagged: dict[str, NDArray[np.bool_]]
    """Detector -> which suspects it alone would flag; the primary one decides."""
    tokens: tuple[PromptTokens, ...]
    captions: CaptionCheck | None
    drawn: tuple[int, ...]
    """Suspects whose images were drawn, the highest score first."""
    confirmations: Confirmations
    triggers: dict[int, NDArray[np.float64]]
    """Suspect -> share of each of its tokens in the gradient of the primary score."""
    controls: tuple[ControlResult, ...]
    caught_at: int | None
    """Smallest dose at which planted prompts were flagged."""

    @property
    def order(self) -> NDArray[np.int64]:
        """Suspects by primary score, the highest first."""
        return np.argsort(-self.scores[PRIMARY], kind="stable")


@dataclass(frozen=True)
class PromptScanResult:
    """What a scan of prompts leaves behind."""

    record: PromptsRecord
    paths: dict[str, Path]
    """Format -> file."""
    detected: Detected
    suspects: tuple[Prompt, ...]
    """Private."""
    judgement: Judgement


def scan_prompts(options: PromptScanOptions, progress: Progress | None = None) -> PromptScanResult:
    """Find prompts that make a model emit memorized images; twin of `auditor scan prompts`.

    Raises UsageError (and its kinds) for anything that the caller can fix. An interrupted scan
    continues when it is called again with the same options.
    """
    progress = progress or Progress()
    return run_prompt_scan(plan_prompt_scan(options, progress), progress)


def plan_prompt_scan(options: PromptScanOptions, progress: Progress) -> PromptScan:
    """Read policy, prompts and model."""
    started, seconds = datetime.now(UTC), dict[str, float]()
    check_out(options.out)
    setting = Setting(options.steps, options.guidance, options.seeds)
    watching = Watching(chosen(options.detectors), setting, options.seed)
    _ = watching.requests  # a setting that a detector refuses is refused before the model loads
    policy = load_policy(options.policy) if options.policy else preset_policy("default")
    suspects, references, kind = _prompts(options)
    with timed(seconds, "load model"):
        target = open_target(
            options.model,
            device=options.device,
            precision=options.precision,
            resolution=options.resolution,
            lora=options.lora,
            allow_pickle=options.allow_pickle,
        )
    check_target(target, watching)
    cache = Cache(options.cache or default_cache(), target.key, options.seed, options.fresh)
    batch_size = options.batch_size or cache.batch_size() or automatic_batch_size(target)
    executor = TrajectoryExecutor(target, batch_size, cache, progress, Usage())
    key = load_or_create_project_key(options.out.absolute().parent / ".auditor" / "project.key")
    return PromptScan(
        options, policy, suspects, references, kind, target, watching, executor, cache, key,
        started, seconds,
    )  # fmt: skip


def check_target(target: DiffusionTarget, watching: Watching) -> None:
    """Refuse a model on which a detector cannot run, by name."""
    for name in watching.detectors:
        if reason := detector(name).applicable(target.capabilities):
            architecture = target.capabilities.architecture
            raise TargetError(
                f"'{target.name}' ({architecture}) cannot be scanned for prompts: {name} {reason}"
            )
    if watching.setting.steps > target.capabilities.n_timesteps:
        raise TargetError(
            f"--steps {watching.setting.steps} is more than the {target.capabilities.n_timesteps} "
            "timesteps of the model"
        )


def run_prompt_scan(scan: PromptScan, progress: Progress) -> PromptScanResult:
    """Score, flag, confirm, control, judge and write."""
    from auditor.prompts.outputs import write_outputs

    detected = _detect(scan, progress)
    judgement = judge(scan, detected)
    record, paths = write_outputs(scan, detected, judgement)
    return PromptScanResult(record, paths, detected, scan.suspects, judgement)


def _prompts(options: PromptScanOptions) -> tuple[tuple[Prompt, ...], tuple[Prompt, ...], str]:
    """Suspects, references, and where the references come from."""
    listed = read_prompts(options.prompts)
    suspects = drawn(listed.suspects, options.limit, options.seed)
    if options.reference is None and not listed.references:
        built = shuffled(suspects, BUILT_REFERENCES, options.seed)
        if not built:
            raise DataError(
                "no reference can be built from prompts of one word; pass --reference FILE"
            )
        return suspects, built, "built"
    references, kind = listed.references, "labelled"
    if options.reference is not None:
        if references:
            raise DataError("the prompts name their references; leave --reference out")
        given = read_prompts(options.reference)
        references, kind = (*given.suspects, *given.references), "given"
    known = {prompt.id for prompt in listed.suspects}
    kept = tuple(prompt for prompt in references if prompt.id not in known)
    if not kept:
        raise DataError("every reference prompt is also a suspect; pass other references")
    return suspects, kept, kind


def _detect(scan: PromptScan, progress: Progress) -> Detected:
    seconds, setting = scan.seconds, scan.watching.setting
    everyone = (*scan.suspects, *scan.references)
    n = len(scan.suspects)
    progress.stage("watching prompts", len(everyone) * setting.seeds, "draws")
    with timed(seconds, "observe"):
        scores = score_prompts(scan.executor, everyone, scan.watching)
    ours = {name: values[:n] for name, values in scores.items()}
    theirs = {name: values[n:] for name, values in scores.items()}
    p_values = {
        name: conformal_p(ours[name], theirs[name], is_directed=detector(name).IS_DIRECTED)
        for name in scores
    }
    flags = {name: flagged(p) for name, p in p_values.items()}
    tokens = tuple(tokenize(scan.target, [prompt.text for prompt in scan.suspects]))
    order = np.argsort(-ours[PRIMARY], kind="stable")
    top = int(min(max(flags[PRIMARY].sum(), TOP), MOST_DRAWN, n))
    looked_at = tuple(int(i) for i in order[:top])
    confirmations = _confirm(scan, looked_at, theirs[PRIMARY], progress)
    progress.stage("trigger tokens", len(looked_at), "prompts")
    with timed(seconds, "trigger tokens"):
        triggers = {i: _triggers(scan, i, tokens[i], progress) for i in looked_at}
    progress.stage("controls", 3, "controls")
    with timed(seconds, "controls"):
        captions, found = check_captions(scan)
        progress.advance(1)
        fresh = random_weights(scan)
        progress.advance(1)
        planted = planted_prompts(scan)
        progress.advance(1)
    return Detected(
        scores=ours,
        reference_scores=theirs,
        p_values=p_values,
        is_flagged=flags,
        tokens=tokens,
        captions=found,
        drawn=looked_at,
        confirmations=confirmations,
        triggers=triggers,
        controls=(captions, fresh, planted.result),
        caught_at=planted.caught_at.get(PRIMARY),
    )


def _confirm(
    scan: PromptScan, looked_at: tuple[int, ...], references: NDArray[np.float64],
    progress: Progress,
) -> Confirmations:  # fmt: skip
    """Draw the top of the ranking, and references from the middle of theirs by keyed hash."""
    from auditor.controls.sampling import draw

    others = draw(scan.references, N_REFERENCES, scan.seed, "confirm")
    progress.stage("drawing", (len(looked_at) + len(others)) * N_SEEDS, "images")
    with timed(scan.seconds, "confirm"):
        return confirm(
            scan.executor,
            [scan.suspects[i] for i in looked_at],
            others,
            scan.sampling,
            scan.watching.noises(N_SEEDS, first=scan.watching.setting.seeds),
        )


def _triggers(
    scan: PromptScan, i: int, tokens: PromptTokens, progress: Progress
) -> NDArray[np.float64]:
    setting = scan.watching.setting
    noises = scan.watching.noises(setting.seeds)
    gradients = token_gradients(scan.target, scan.suspects[i].text, noises, scan.sampling)
    progress.advance(1)
    return shares(gradients, tokens)
