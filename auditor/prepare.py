"""What every scan has: its options, its inputs after they were found sound, and its clock.

A family of targets (auditor.families) subclasses `PreparedScan` and says how its targets are
opened, observed, controlled and described; the flow of `auditor.scan` is the same for all.
"""

from __future__ import annotations

import abc
import dataclasses
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

from attacks.errors import UsageError
from attacks.extraction.generation import GenerationFinding
from attacks.observations import Calibration, Observations
from attacks.registry import attack, default_attacks
from attacks.registry import names as attack_names
from attacks.results import AttributeFinding, PlannedAttack
from auditor.config import ScanConfig
from auditor.observe.cache import Cache
from auditor.observe.plan import Plan
from auditor.observe.usage import Usage
from auditor.options import with_options
from auditor.policy import Policy
from auditor.progress import Progress
from auditor.records import ProjectKey, load_or_create_project_key
from auditor.scoring import Scores
from reports import record as schema

if TYPE_CHECKING:
    import torch

    from auditor.controls.suite import Controls

Record: TypeAlias = Any
"""A record of the family: `auditor.records.Record` or `auditor.records.rows.RowRecord`."""
SplitsT = TypeVar("SplitsT")

EXTRACTION = "extraction"
"""Name of the attack that draws images instead of scoring records."""
TRAJECTORY = "trajectory"
"""Name of the attack that distils students on nonmembers set aside."""
CALIBRATION_SHARE = 0.2
"""Share of both splits that fitted attacks are fitted on, and students distilled on."""


@dataclass(frozen=True, slots=True)
class ScanOptions:
    """Everything that `auditor scan model` can be told, under the same names."""

    model: str
    members: Path
    nonmembers: Path
    out: Path
    policy: Path | None = None
    attacks: tuple[str, ...] | None = None
    preset: str | None = None
    """quick, standard or thorough, in place of `attacks`; see auditor.presets."""
    budget: float | None = None
    """Seconds that the scan may take: attacks and sizes are chosen so that it fits."""
    option: tuple[str, ...] = ()
    """Settings of attacks over those of the configuration, as ATTACK.SETTING=VALUE."""
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
    family: str = "auto"
    """Kind of target: auto recognises it."""
    train: str | None = None
    """Classifiers: `module:function` that returns how models like the target are trained."""
    shadows: int | None = None
    """Classifiers: shadow models to train; None for `usual_shadows` where there is a recipe."""
    usual_shadows: int | None = None
    """Classifiers: shadow models where there is a recipe and `shadows` is None; None for 32."""
    factory: str | None = None
    """Classifiers: `module:function` that builds the torch module of a .safetensors file."""
    sensitive: tuple[str, ...] = ()
    """Classifiers: columns of a table whose values attribute inference tries to guess."""


@dataclass(frozen=True)
class Observed:
    """What the left half of the flow hands to the right one; arrays in the order of the records."""

    records: tuple[Record, ...]
    is_member: NDArray[np.bool_]
    """(n,) which records were trained on."""
    observations: Observations
    """Of the target."""
    scores: Scores
    calibration: Calibration | None
    reference: Observations | None
    """Of the reference model, if there is one."""

    @property
    def members(self) -> list[Record]:
        """Evaluated members."""
        return [r for r, m in zip(self.records, self.is_member, strict=True) if m]

    @property
    def nonmembers(self) -> list[Record]:
        """Evaluated nonmembers."""
        return [r for r, m in zip(self.records, self.is_member, strict=True) if not m]


@dataclass(frozen=True, slots=True)
class Inferred:
    """What attribute inference gave."""

    findings: tuple[AttributeFinding, ...] = ()
    dropped: tuple[PlannedAttack, ...] = ()
    """Columns about which no finding could be made, with the reason."""


@dataclass(frozen=True, slots=True)
class Expense:
    """What a scan will cost."""

    n_calls: int
    """Forward calls at most, in records asked, controls included."""
    n_control_calls: int
    seconds: float
    """Expected wall seconds."""
    seconds_again: float = 0.0
    """Wall seconds more at most, if copies with planted records have to be trained again."""


@dataclass
class PreparedScan(abc.ABC):
    """A scan whose inputs have been read and found sound."""

    options: ScanOptions
    policy: Policy
    config: ScanConfig
    splits: Any
    """Members and nonmembers: `Splits` or `RowSplits`."""
    target: Any
    """The target of the family; it has `name`, `key`, `hashes`, `capabilities`."""
    plan: Plan
    cache: Cache
    started: datetime
    key: ProjectKey = field(init=False)
    usage: Usage = field(default_factory=Usage)
    seconds: dict[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        folder = self.options.out.absolute().parent / ".auditor"
        self.key = load_or_create_project_key(folder / "project.key")

    @property
    def evaluated(self) -> tuple[Record, ...]:
        """Members and nonmembers that are evaluated, ordered by content id."""
        return tuple(sorted(self.splits.members + self.splits.nonmembers, key=lambda r: r.id))

    @property
    def calibration(self) -> tuple[Record, ...]:
        """The calibration part of both sides, ordered by content id; empty if there is none."""
        sides = self.splits.calibration_members, self.splits.calibration_nonmembers
        return tuple(sorted(sides[0] + sides[1], key=lambda r: r.id)) if all(sides) else ()

    @property
    def attack_names(self) -> tuple[str, ...]:
        """Names of all attacks that run."""
        return tuple(self.plan.configs)

    @property
    def judged_by(self) -> Policy:
        """The policy with what the records themselves tell about the training."""
        return self.policy

    @property
    @abc.abstractmethod
    def device(self) -> torch.device:
        """Where the target runs."""

    @property
    @abc.abstractmethod
    def precision(self) -> str:
        """Precision of the target, such as fp32."""

    @property
    @abc.abstractmethod
    def batch_size(self) -> int:
        """Records per forward call."""

    @property
    def reference_name(self) -> str | None:
        """Name of the reference model, if there is one."""
        return None

    @property
    def caption_source(self) -> str | None:
        """Where captions come from, if the records have any."""
        return None

    @abc.abstractmethod
    def own_flags(self) -> list[str]:
        """What only this family adds to the command that repeats the scan; no paths."""

    @abc.abstractmethod
    def observe(self, records: Sequence[Record]) -> Observations:
        """What the target answers about records, axis 0 in their order."""

    def observe_reference(self, records: Sequence[Record]) -> Observations | None:
        """What the reference model answers about records; None without one."""
        return None

    @abc.abstractmethod
    def run_controls(self, observed: Observed, progress: Progress) -> Controls:
        """Every control of the family."""

    @abc.abstractmethod
    def describe_target(self, observed: Observed) -> schema.Target:
        """The target in the record of the audit."""

    @abc.abstractmethod
    def knowledge(self, attack: str, access: str) -> str:
        """What the attacker must hold for an attack of an access class, in words."""

    @abc.abstractmethod
    def expense(self) -> Expense:
        """Time a sample of the work and extrapolate."""

    @abc.abstractmethod
    def seconds_with(self, options: ScanOptions) -> float:
        """Expected wall seconds of this scan with other attacks, sizes or fewer records."""

    def extraction_power(self) -> str | None:
        """What no extracted record at all would show, where images are drawn."""
        return None

    def infer_attributes(self, observed: Observed, progress: Progress) -> Inferred:
        """Attribute inference, in a family that has columns to infer."""
        return Inferred()

    def extract(self, progress: Progress) -> GenerationFinding | None:
        """Extraction by generation, in a family that draws images and where it was asked for."""
        return None

    def sections(self, observed: Observed) -> dict[str, Any]:
        """What only this family adds to the record of the audit: its fields by name."""
        return {}

    @contextmanager
    def timed(self, stage: str) -> Iterator[None]:
        """Add the wall seconds of a block to a stage."""
        with timed(self.seconds, stage):
            yield


@contextmanager
def timed(seconds: dict[str, float], stage: str) -> Iterator[None]:
    """Add the wall seconds of a block to a stage."""
    began = time.perf_counter()
    try:
        yield
    finally:
        seconds[stage] = seconds.get(stage, 0.0) + time.perf_counter() - began


def chosen_attacks(asked: Sequence[str] | None, config: ScanConfig, family: str) -> tuple[str, ...]:
    """Names of the attacks to run; the default tier of the family unless the user says more."""
    names = config.attacks if asked is None else asked
    usual = tuple(found.MANIFEST.name for found in default_attacks(family))
    if names is None:
        return usual
    others = (EXTRACTION,) if family == "diffusion" else ()
    if "all" in names:
        return (*attack_names(family), *others)
    if not names:
        raise UsageError("no attack was named; `auditor list` shows them")
    chosen = [one for name in names for one in (usual if name == "default" else (name,))]
    for name in chosen:
        if name not in others:
            attack(name)
    return tuple(dict.fromkeys(chosen))


def attacks_of(
    options: ScanOptions, config: ScanConfig, family: str
) -> tuple[tuple[str, ...], ScanConfig]:
    """Names of all attacks to run, and the configuration with the settings of the options."""
    names = chosen_attacks(options.attacks, config, family)
    return names, with_options(config, options.option)


def calibration_share(names: Sequence[str]) -> float:
    """Share of both splits to set aside for these attacks: to be fitted on, or to distil on."""
    uses = any(name == TRAJECTORY or attack(name).MANIFEST.fitted for name in names)
    return CALIBRATION_SHARE if uses else 0.0


def check_plan(plan: Plan) -> None:
    """Refuse a plan in which nothing can run."""
    if not plan.configs and plan.inapplicable:
        reasons = "; ".join(f"{skipped.attack}: {skipped.reason}" for skipped in plan.inapplicable)
        raise UsageError(f"none of the chosen attacks can run on this target ({reasons})")


def without_calibration(splits: SplitsT, *, keeps_nonmembers: bool = False) -> SplitsT:
    """All records evaluated, since none of the attacks that run is fitted.

    keeps_nonmembers: the nonmembers set aside stay so, for students to be distilled on.
    """
    given: Any = splits
    members = tuple(sorted(given.members + given.calibration_members, key=lambda r: r.id))
    evaluated = dataclasses.replace(given, members=members, calibration_members=())
    if keeps_nonmembers:
        return evaluated
    nonmembers = sorted(given.nonmembers + given.calibration_nonmembers, key=lambda r: r.id)
    return dataclasses.replace(evaluated, nonmembers=tuple(nonmembers), calibration_nonmembers=())


def check_out(out: Path) -> None:
    """Refuse a place where no directory can be."""
    if out.exists() and not out.is_dir():
        raise UsageError(f"--out {out} is a file; pass a directory")


def refuse_options(options: ScanOptions, family: str, names: Sequence[str]) -> None:
    """Refuse options that belong to another family."""
    for field_ in dataclasses.fields(ScanOptions):
        if field_.name in names and getattr(options, field_.name) != field_.default:
            flag = field_.name.replace("_", "-")
            raise UsageError(f"--{flag} does not apply to a {family}; leave it out")


def reading(progress: Progress) -> Callable[[str, int, int], None]:
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
