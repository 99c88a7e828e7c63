"""Are generated pictures copies of training pictures? The flow of a scan of images.

pictures --embed--> vectors --search--> candidates --pixels--> matches --judge--> record --> files
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from attacks.results import ControlResult
from auditor.config import ScanConfig, load_config
from auditor.images.controls import negative_control, positive_control
from auditor.images.judge import ImageJudgement, judge
from auditor.images.measure import (
    CopyLimit,
    ImageFigures,
    copy_limit,
    fit_part,
    measure,
    own_neighbours,
)
from auditor.images.sets import ImageSets, list_sides, read_sets
from auditor.matching import EmbeddingStore, Matcher, Matches, open_encoder
from auditor.observe.cache import default_cache
from auditor.policy import Policy, load_policy
from auditor.prepare import check_out, reading, timed
from auditor.progress import Progress
from auditor.records import ProjectKey, Record, load_or_create_project_key

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from reports.images_record import ImagesRecord


@dataclass(frozen=True, slots=True)
class ImageScanOptions:
    """Everything that `auditor scan images` can be told, under the same names."""

    generated: Path
    """Generated pictures."""
    against: Path
    """The training set."""
    out: Path
    background: Path | None = None
    """Held-out pictures of the same kind; without them there is no PASS."""
    encoder: str | None = None
    """`pixels`, a TorchScript file, or open_clip:MODEL."""
    policy: Path | None = None
    config: Path | None = None
    limit: int | None = None
    """Most generated and most held-out pictures, at random."""
    cache: Path | None = None
    fresh: bool = False
    reveal: bool = False
    seed: int = 0
    device: str = "auto"


@dataclass(frozen=True)
class ImageScanResult:
    """What a scan of images leaves behind."""

    record: ImagesRecord
    paths: dict[str, Path]
    """Format -> file."""
    sets: ImageSets
    """Private."""
    figures: ImageFigures


@dataclass
class ImageScan:
    """A scan whose pictures have been read and found sound."""

    options: ImageScanOptions
    policy: Policy
    config: ScanConfig
    sets: ImageSets
    matcher: Matcher
    key: ProjectKey
    started: datetime
    seconds: dict[str, float] = field(default_factory=dict)

    @property
    def store(self) -> EmbeddingStore:
        """Where embeddings and matches are kept."""
        return self.matcher.store

    def publish(self, record: Record) -> str:
        """The id under which a record is published."""
        return self.key.publish(record.id)


@dataclass(frozen=True)
class Concluded:
    """Figures, controls and verdict of a scan."""

    figures: ImageFigures
    controls: tuple[ControlResult, ...]
    judgement: ImageJudgement
    n_fit: int
    """Held-out pictures that thresholds were taken from."""


def scan_images(options: ImageScanOptions, progress: Progress | None = None) -> ImageScanResult:
    """Find copies of training pictures; the Python twin of `auditor scan images`.

    Raises UsageError (and its kinds) for anything that the caller can fix. An interrupted scan
    continues when it is called again with the same options.
    """
    from auditor.images.outputs import write_outputs

    progress = progress or Progress()
    scan = prepare(options, progress)
    concluded = conclude(scan, progress)
    record, paths = write_outputs(scan, concluded)
    return ImageScanResult(record, paths, scan.sets, concluded.figures)


def prepare(options: ImageScanOptions, progress: Progress) -> ImageScan:
    """Read and check everything that a scan needs."""
    started, seconds = datetime.now(UTC), dict[str, float]()
    check_out(options.out)
    config = load_config(options.config)
    policy = Policy() if options.policy is None else load_policy(options.policy)
    sides = list_sides(options.generated, options.against, options.background, config.records)
    encoder = open_encoder(options.encoder, device=options.device)
    with timed(seconds, "read pictures"):
        sets = read_sets(
            sides,
            config.records,
            limit=options.limit,
            seed=options.seed,
            on_progress=reading(progress),
        )
    folder = options.out.absolute().parent / ".auditor"
    key = load_or_create_project_key(folder / "project.key")
    store = EmbeddingStore(options.cache or default_cache(), encoder, is_fresh=options.fresh)
    return ImageScan(
        options, policy, config, sets, Matcher(sets.training, store), key, started, seconds
    )


def conclude(scan: ImageScan, progress: Progress) -> Concluded:
    """Embed, match, measure, control and judge."""
    sets, rules, seed = scan.sets, scan.policy.rules, scan.options.seed
    with timed(scan.seconds, "embed"):
        scan.store.embed_all(sets.training, progress, "embedding the training set")
        scan.store.embed_all(sets.generated, progress, "embedding generated pictures")
        scan.store.embed_all(sets.background, progress, "embedding held-out pictures")
    background: Matches | None = None
    is_fit: NDArray | None = None
    with timed(scan.seconds, "match"):
        generated = scan.matcher.match(sets.generated, progress, "matching generated pictures")
        if sets.background:
            background = scan.matcher.match(sets.background, progress, "matching held-out pictures")
            is_fit = fit_part(sets, seed)
        limit = _limit(scan, background, is_fit, progress)
    figures = measure(sets, rules, limit, generated, background, is_fit)
    with timed(scan.seconds, "controls"):
        controls = (
            positive_control(
                scan.matcher, sets, limit.value, rules.extracted.control_share, seed, progress
            ),
            negative_control(figures.background_claimed),
        )
    n_fit = 0 if is_fit is None else int(is_fit.sum())
    return Concluded(figures, controls, judge(figures, controls, scan.policy), n_fit)


def _limit(
    scan: ImageScan, background: Matches | None, is_fit: NDArray | None, progress: Progress
) -> CopyLimit:
    """From half of the held-out pictures, else from the training set's own neighbours."""
    if background is not None and is_fit is not None:
        whose = "held-out pictures that are in no other figure"
        return copy_limit(scan.policy.rules, background.distance[is_fit], whose)
    distances = own_neighbours(scan.matcher, scan.sets, scan.options.seed, progress)
    return copy_limit(scan.policy.rules, distances, "training records among themselves")
