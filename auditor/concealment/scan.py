"""Erased or only concealed? The flow of `auditor scan concealment`.

records --attack, draw--> distances --compare with never-seen--> curves --judge--> answer --> files
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from attacks.concealment.curve import Stage, curve
from attacks.concealment.embedding import EmbeddingConfig
from attacks.concealment.verdict import Conclusion, Evidence, Limits, judge
from attacks.concealment.zeros import DisclosedLayer
from attacks.errors import DataError, UsageError
from attacks.extraction.replication import FEWEST_BACKGROUND
from auditor.concealment.measure import Measured, Prober, Setting, check_captions, check_target
from auditor.concealment.weights import check_zeros, revived
from auditor.controls.sampling import draw
from auditor.observe.cache import Cache, default_cache
from auditor.observe.executor import automatic_batch_size
from auditor.observe.usage import Usage
from auditor.prepare import check_out, reading, timed
from auditor.progress import Progress
from auditor.records import ProjectKey, Record, Splits, load_or_create_project_key, load_splits
from auditor.targets.diffusion import DiffusionTarget
from auditor.targets.loading import open_target
from auditor.targets.sampling import Sampling
from reports.concealment_record import ConcealmentRecord

ROLES = ("original", "edited", "reference")
"""Models of a test, in the order in which they are attacked."""


@dataclass(frozen=True, slots=True)
class ConcealmentOptions:
    """Everything that `auditor scan concealment` can be told, under the same names."""

    model: str
    """The edited model."""
    original: str
    members: Path
    """The records that the edit was to remove, with their captions."""
    nonmembers: Path
    """Records that neither model ever saw, of the same style."""
    out: Path
    reference: str | None = None
    """A model trained without the members."""
    steps: int = 50
    rate: float = 0.1
    draws: int = 8
    restarts: int = 5
    images: int = 4
    sampling_steps: int = 50
    guidance: float = 7.5
    margin: float = 0.1
    device: str = "auto"
    precision: str = "auto"
    batch_size: int | None = None
    resolution: int | None = None
    seed: int = 0
    limit: int | None = None
    cache: Path | None = None
    fresh: bool = False
    allow_pickle: bool = False

    @property
    def setting(self) -> Setting:
        """How every model is attacked."""
        return Setting(
            EmbeddingConfig(self.steps, self.rate, self.draws),
            self.restarts,
            self.images,
            Sampling(self.sampling_steps, self.guidance),
        )


@dataclass
class ConcealmentScan:
    """A test whose records and models have been read and found sound."""

    options: ConcealmentOptions
    setting: Setting
    limits: Limits
    splits: Splits
    targets: dict[str, DiffusionTarget]
    """Role -> model; `reference` where there is one."""
    batch_size: int
    key: ProjectKey
    usage: Usage
    started: datetime
    seconds: dict[str, float]

    @property
    def records(self) -> tuple[Record, ...]:
        """Members, then never-seen records."""
        return (*self.splits.members, *self.splits.nonmembers)

    @property
    def n_members(self) -> int:
        """How many of `records` are members."""
        return len(self.splits.members)

    @property
    def is_fit(self) -> NDArray[np.bool_]:
        """(n,) never-seen records that set thresholds: half of them, by keyed hash."""
        others = self.splits.nonmembers
        half = draw(others, len(others) // 2, self.options.seed, "concealment threshold")
        chosen = {record.id for record in half}
        return np.array([record.id in chosen for record in others])

    def publish(self, record: Record) -> str:
        """The id under which a record is published."""
        return self.key.publish(record.id)

    def prober(self, role: str, progress: Progress) -> Prober:
        """What attacks one of the models."""
        o, target = self.options, self.targets[role]
        cache = Cache(o.cache or default_cache(), target.key, o.seed, o.fresh)
        return Prober(
            target, self.targets["original"], self.setting, o.seed, self.batch_size, cache,
            progress, self.usage,
        )  # fmt: skip


@dataclass(frozen=True)
class Concealed:
    """What was measured and concluded."""

    measured: dict[str, Measured]
    """Role -> figures of all records."""
    evidence: Evidence
    conclusion: Conclusion
    zeros: tuple[DisclosedLayer, ...]
    """Layers whose zeros differ from the original's, the most telling first."""


@dataclass(frozen=True)
class ConcealmentResult:
    """What a test leaves behind."""

    record: ConcealmentRecord
    paths: dict[str, Path]
    """Format -> file."""
    found: Concealed


def scan_concealment(
    options: ConcealmentOptions, progress: Progress | None = None
) -> ConcealmentResult:
    """Test whether records are erased from an edited model; twin of `auditor scan concealment`.

    Raises UsageError (and its kinds) for anything that the caller can fix. An interrupted test
    continues when it is called again with the same options.
    """
    progress = progress or Progress()
    return run_concealment(plan_concealment(options, progress), progress)


def plan_concealment(options: ConcealmentOptions, progress: Progress) -> ConcealmentScan:
    """Read records and models."""
    started, seconds = datetime.now(UTC), dict[str, float]()
    check_out(options.out)
    setting, limits = options.setting, Limits(margin=options.margin)
    with timed(seconds, "read records"):
        splits = load_splits(
            options.members,
            options.nonmembers,
            limit=options.limit,
            seed=options.seed,
            on_progress=reading(progress),
        )
    check_captions((*splits.members, *splits.nonmembers))
    if len(splits.nonmembers) < 2 * FEWEST_BACKGROUND:
        raise DataError(
            f"{len(splits.nonmembers)} never-seen records are too few to say what a recovery is; "
            f"give {2 * FEWEST_BACKGROUND} or more as --nonmembers"
        )
    with timed(seconds, "load models"):
        targets = {
            role: _open(options, model)
            for role, model in zip(
                ROLES, (options.original, options.model, options.reference), strict=True
            )
            if model is not None
        }
    for target in targets.values():
        check_target(target, setting)
    _check_pairs(targets)
    batch_size = options.batch_size or automatic_batch_size(targets["edited"])
    key = load_or_create_project_key(options.out.absolute().parent / ".auditor" / "project.key")
    return ConcealmentScan(
        options, setting, limits, splits, targets, batch_size, key, Usage(), started, seconds
    )


def _open(options: ConcealmentOptions, model: str) -> DiffusionTarget:
    return open_target(
        model,
        device=options.device,
        precision=options.precision,
        resolution=options.resolution,
        allow_pickle=options.allow_pickle,
    )


def _check_pairs(targets: dict[str, DiffusionTarget]) -> None:
    """Refuse models that draw at different sizes, or an edited model that is the original."""
    original = targets["original"]
    for role, target in targets.items():
        if target.capabilities.resolution != original.capabilities.resolution:
            raise UsageError(
                f"the {role} model draws at {target.capabilities.resolution} pixels and the "
                f"original at {original.capabilities.resolution}; pass --resolution"
            )
        if role == "edited" and target.key == original.key:
            raise UsageError("the edited model and --original are the same; pass the unedited one")


def run_concealment(scan: ConcealmentScan, progress: Progress) -> ConcealmentResult:
    """Attack every model, compare, judge and write."""
    from auditor.concealment.outputs import write_outputs

    found = _measure(scan, progress)
    record, paths = write_outputs(scan, found)
    return ConcealmentResult(record, paths, found)


def _measure(scan: ConcealmentScan, progress: Progress) -> Concealed:
    measured = {}
    for role in scan.targets:
        progress.stage(f"attacking the {role} model", len(scan.records))
        with timed(scan.seconds, f"attack {role}"):
            measured[role] = scan.prober(role, progress).measure(scan.records)
    with timed(scan.seconds, "zeros"):
        zeros = check_zeros(scan.targets["edited"], scan.targets["original"])
        probe = _revived(scan, measured["edited"], zeros, progress)
    curves = {role: _curve(scan, one) for role, one in measured.items()}
    evidence = Evidence(
        control=_curve(scan, measured["original"], random_alone=True),
        original=curves["original"],
        edited=curves["edited"],
        original_loss=_loss(scan, measured["original"]),
        edited_loss=_loss(scan, measured["edited"]),
        reference=curves.get("reference"),
        revived=probe,
    )
    return Concealed(measured, evidence, judge(evidence, scan.limits), zeros)


def _curve(
    scan: ConcealmentScan, measured: Measured, *, random_alone: bool = False
) -> tuple[Stage, ...]:
    reach = measured.reach(scan.setting, scan.n_members)
    return curve(reach, scan.n_members, scan.is_fit, random_alone=random_alone)


def _loss(scan: ConcealmentScan, measured: Measured) -> float:
    return measured.reach(scan.setting, scan.n_members).loss


def _revived(
    scan: ConcealmentScan,
    edited: Measured,
    zeros: Sequence[DisclosedLayer],
    progress: Progress,
) -> Stage | None:
    """What the prompts bring back once disclosed zeros are refilled; None where nothing is."""
    target = revived(scan.targets["edited"], tuple(zeros))
    if target is None:
        return None
    progress.stage("refilling zeroed weights", len(scan.records))
    distances = scan.prober("edited", progress).prompt_distances(target, scan.records)
    reach = edited.reach(scan.setting, scan.n_members)
    again = type(reach)(distances, reach.attacked, reach.is_random, reach.checkpoints, reach.loss)
    return curve(again, scan.n_members, scan.is_fit)[0]
