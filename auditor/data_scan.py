"""Which records does training memorize? The flow of a scan of data, without a target model.

rows --train on random subsets--> answers --compare--> figures --assemble--> record --> files
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from attacks.errors import DataError, UnderPowered, UsageError
from auditor.config import load_config
from auditor.data_measure import Measured, Names, measure, named_groups
from auditor.observe.cache import default_cache
from auditor.prepare import check_out, reading, timed
from auditor.progress import Progress
from auditor.records import ProjectKey, load_or_create_project_key
from auditor.records.rows import LabelledRows, RowRecord, load_rows
from auditor.shadows import Pool, ShadowSet, ShadowStore, load_recipe, train_shadows
from auditor.shadows.labels import of_weights
from reports.data_record import DataRecord

FEWEST_RECORDS = 20
"""Distinct records that a scan needs."""
FEWEST_MODELS = 8
"""Models that must have trained on a record, and that must not, for a figure about it."""
MOST_GROUPS = 50
"""Values of a column of groups."""


@dataclass(frozen=True, slots=True)
class DataScanOptions:
    """Everything that `auditor scan data` can be told, under the same names."""

    data: Path
    """Labelled rows or pictures."""
    train: str
    """`module:function` that returns how a model is trained."""
    out: Path
    models: int = 64
    """Models to train, an even number."""
    share: float = 0.7
    """Share of the records in a training set; 0.5 gives paired halves."""
    test: Path | None = None
    """Labelled records that no model trains on, to see which records decide about them."""
    group: str | None = None
    """Column of groups to break figures down by."""
    seed: int = 0
    cache: Path | None = None
    config: Path | None = None
    device: str = "auto"
    """Of torch models."""
    processes: int | None = None
    """In which scikit-learn classifiers are fitted; None for one a core."""

    def __post_init__(self) -> None:
        if not 0 < self.share < 1:
            raise UsageError(f"--share must lie between 0 and 1, got {self.share:g}; try 0.7")
        if self.models % 2:
            raise UsageError(f"--models must be even, got {self.models}; try {self.models + 1}")
        if self.models * min(self.share, 1 - self.share) < FEWEST_MODELS:
            raise UsageError(
                f"--models {self.models} is too few: with a share of {self.share:g} a record needs "
                f"{FEWEST_MODELS} models that train on it and {FEWEST_MODELS} that do not; train "
                f"{_enough_models(self.share)} or more"
            )


def _enough_models(share: float) -> int:
    """Models with which at least 99 % of the records get a figure."""
    from scipy.stats import binom

    rarer = min(share, 1 - share)
    n = 2 * math.ceil(FEWEST_MODELS / rarer / 2)
    while share != 0.5 and binom.cdf(FEWEST_MODELS - 1, n, rarer) > 0.01:
        n += 2
    return n


@dataclass(frozen=True)
class DataScanResult:
    """What a scan of data leaves behind."""

    record: DataRecord
    paths: dict[str, Path]
    """Format -> file."""
    measured: Measured
    """Every figure, as arrays in the order of the records."""
    records: tuple[RowRecord, ...]
    """Private."""
    published_ids: tuple[str, ...]
    """Their ids in the reports, in the same order."""
    names: Names
    """Private: which class and group each number in the reports stands for."""


@dataclass
class DataScan:
    """A scan whose inputs have been read and found sound."""

    options: DataScanOptions
    rows: LabelledRows
    pool: Pool
    names: Names
    groups: NDArray[np.str_] | None
    """(n,) numbered group of each record."""
    model: str
    """Class of the models."""
    shadows: ShadowSet
    key: ProjectKey
    started: datetime
    seconds: dict[str, float]

    def publish(self, record: RowRecord) -> str:
        """The id under which a record is published."""
        return self.key.publish(record.id)


def scan_data(options: DataScanOptions, progress: Progress | None = None) -> DataScanResult:
    """Find the records that training memorizes; the Python twin of `auditor scan data`.

    Raises UsageError (and its kinds) for anything that the caller can fix. An interrupted scan
    continues when it is called again with the same options.
    """
    from auditor.data_outputs import write_outputs

    progress = progress or Progress()
    scan = _trained(options, progress)
    progress.stage("comparing models", 1, "step")
    with timed(scan.seconds, "measure"):
        measured = _measured(scan)
    progress.advance(1)
    record, paths = write_outputs(scan, measured)
    published = tuple(scan.publish(one) for one in scan.rows.records)
    return DataScanResult(record, paths, measured, scan.rows.records, published, scan.names)


def _trained(options: DataScanOptions, progress: Progress) -> DataScan:
    started, seconds = datetime.now(UTC), dict[str, float]()
    check_out(options.out)
    config = load_config(options.config)
    recipe = load_recipe(options.train)
    with timed(seconds, "read records"):
        rows = load_rows(
            options.data,
            options.test,
            options=dataclasses.replace(config.records, group_column=options.group),
            on_progress=reading(progress),
        )
    if len(rows.records) < FEWEST_RECORDS:
        raise DataError(
            f"{len(rows.records)} distinct records are too few; give {FEWEST_RECORDS} or more"
        )
    labels = [str(label) for label in rows.table.labels]
    order = _class_order(labels, config.classes)
    recipe = of_weights(recipe, order)
    pool = _pool(rows, labels, order)
    groups, group_names = named_groups(rows.groups, MOST_GROUPS)
    folder = options.out.absolute().parent / ".auditor"
    key = load_or_create_project_key(folder / "project.key")
    with timed(seconds, "train models"):
        shadows = train_shadows(
            recipe,
            pool,
            options.models,
            options.seed,
            ShadowStore(options.cache or default_cache()),
            progress,
            share=None if options.share == 0.5 else options.share,
            device=options.device,
            processes=options.processes,
        )
    model = getattr(recipe, "estimator", None)
    return DataScan(
        options=options,
        rows=rows,
        pool=pool,
        names=Names.of(order, group_names),
        groups=groups,
        model="torch model" if model is None else type(model).__name__,
        shadows=shadows,
        key=key,
        started=started,
        seconds=seconds,
    )


def _measured(scan: DataScan) -> Measured:
    rows = scan.rows
    try:
        return measure(
            shadows=scan.shadows,
            classes=np.asarray(scan.pool.classes),
            n_records=len(rows.records),
            class_names=scan.names.classes,
            groups=scan.groups,
            multiplicity=np.array([record.multiplicity for record in rows.records]),
            points=rows.table.encoded(range(len(rows.records))),
        )
    except UnderPowered as error:
        raise UsageError(f"{error}; raise --models") from error


def _class_order(labels: list[str], classes: tuple[str | int, ...] | None) -> tuple[str, ...]:
    """Classes in the order of the model's outputs: as configured, or sorted, numbers by value."""
    known = set(labels)
    if classes is not None:
        order = tuple(str(one) for one in classes)
        missing = known - set(order)
        if missing:
            raise DataError(
                f"{len(missing)} of {len(known)} distinct labels are not among the configured "
                "`classes`; add them"
            )
        return order
    is_whole = all(label.lstrip("-").isdecimal() for label in known)
    return tuple(sorted(known, key=int) if is_whole else sorted(known))


def _pool(rows: LabelledRows, labels: list[str], order: tuple[str, ...]) -> Pool:
    records = (*rows.records, *rows.test)
    position = {label: i for i, label in enumerate(order)}
    has_subjects = any(record.subject is not None for record in rows.records)
    return Pool(
        record_ids=[record.id for record in records],
        features=rows.table.inputs(range(len(records))),
        classes=np.array([position[label] for label in labels], np.int64),
        n_classes=len(order),
        groups=[record.subject or record.id for record in records] if has_subjects else None,
        n_asked=len(rows.test),
    )
