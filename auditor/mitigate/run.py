"""A model in, a changed model out, with a record of what changed.

read --> apply --> write: the mitigation itself is a module of `mitigations` and sees a target, its
material and a configuration; this page reads the one, and writes what comes out of the other.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from attacks.configuration import configured
from attacks.errors import UsageError
from auditor import __version__
from auditor.config import load_config
from auditor.files import private_directory
from auditor.mitigate.given import check_needs, prepared, read_records, read_texts, watched
from auditor.mitigate.write import check_free, write_model
from auditor.prepare import reading
from auditor.progress import Progress
from mitigations import registry
from mitigations.manifest import Need
from mitigations.material import Change, Material, Mitigation
from mitigations.record import MitigationRecord, read_record

if TYPE_CHECKING:
    from auditor.targets.diffusion import DiffusionTarget


@dataclass(frozen=True, slots=True)
class MitigateOptions:
    """Everything that `auditor mitigate` can be told, under the same names."""

    name: str
    model: str
    out: Path
    prompts: Path | None = None
    reference: Path | None = None
    members: Path | None = None
    nonmembers: Path | None = None
    masks: Path | None = None
    cache: Path | None = None
    option: tuple[str, ...] = ()
    """Settings over the defaults, as SETTING=VALUE."""
    config: Path | None = None
    lora: Path | None = None
    device: str = "auto"
    precision: str = "auto"
    batch_size: int | None = None
    resolution: int | None = None
    seed: int = 0
    allow_pickle: bool = False

    @property
    def given(self) -> dict[Need, Path | None]:
        """What the mitigation may be given, and where it lies."""
        return {need: getattr(self, need.value) for need in Need}


@dataclass(frozen=True)
class Planned:
    """A mitigation whose inputs have been read and found sound."""

    options: MitigateOptions
    mitigation: Mitigation
    config: Any
    target: DiffusionTarget
    material: Material
    given: dict[str, int]
    """What it is given -> how many."""
    earlier: tuple[MitigationRecord, ...]
    """Mitigations that the model already has."""
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Mitigated:
    """What is left behind."""

    record: MitigationRecord
    out: Path


def mitigate(options: MitigateOptions, progress: Progress | None = None) -> Mitigated:
    """Apply a mitigation and write the changed model; twin of `auditor mitigate`.

    Raises UsageError (and its kinds) for anything that the caller can fix; then nothing is written.
    """
    progress = progress or Progress()
    return run_mitigation(plan_mitigation(options, progress), progress)


def plan_mitigation(options: MitigateOptions, progress: Progress) -> Planned:
    """Read settings, texts, records and model."""
    from auditor.observe.cache import default_cache
    from auditor.observe.executor import automatic_batch_size
    from auditor.targets.loading import find_model, open_target

    mitigation = registry.mitigation(options.name)
    check_free(options.out, options.model)
    check_needs(mitigation.MANIFEST, options.given)
    settings = parsed(options.option)
    told = reading(progress)
    prompts, reference = read_texts(options.prompts), read_texts(options.reference)
    read_options = load_config(options.config).records
    members, nonmembers, notes = read_records(
        options.members, options.nonmembers, read_options, told
    )
    target = open_target(
        options.model,
        device=options.device,
        precision=options.precision,
        resolution=options.resolution,
        lora=options.lora,
        allow_pickle=options.allow_pickle,
    )
    name = mitigation.MANIFEST.name
    if reason := mitigation.applicable(target.capabilities):
        raise UsageError(f"{name} cannot be applied to '{target.name}': {reason}")
    try:
        config = configured(mitigation.default_config(target.capabilities), settings)
    except UsageError as error:
        raise UsageError(f"mitigation '{name}': {error}") from None
    batch_size = options.batch_size or automatic_batch_size(target)
    material = Material(
        target=target,
        prompts=prompts,
        reference=reference,
        members=prepared(target, members, batch_size, "members", told),
        nonmembers=prepared(target, nonmembers, batch_size, "nonmembers", told),
        masks=options.masks,
        activity=watched(target, options.seed, batch_size),
        folder=private_directory((options.cache or default_cache()) / "mitigate"),
        seed=options.seed,
        batch_size=batch_size,
        on_progress=told,
    )
    counts = {
        "prompts": len(prompts),
        "reference": len(reference),
        "members": len(members),
        "nonmembers": len(nonmembers),
        "masks": int(options.masks is not None),
    }
    given = {what: n for what, n in counts.items() if n}
    previous = read_record(find_model(options.model))
    earlier = () if previous is None else alone(previous.chain)
    return Planned(options, mitigation, config, target, material, given, earlier, notes)


def run_mitigation(planned: Planned, progress: Progress) -> Mitigated:
    """Apply, and write the changed model whole or not at all."""
    began = time.perf_counter()
    change = planned.mitigation.apply(planned.material, planned.config)
    check_filters(planned, change)
    record = _record(planned, change, time.perf_counter() - began)
    progress.stage("writing", 1, "models")
    record = write_model(
        planned.target,
        change,
        record,
        planned.options.out,
        is_merged=planned.options.lora is not None,
    )
    progress.advance(1)
    return Mitigated(record, planned.options.out)


def parsed(options: Sequence[str]) -> dict[str, Any]:
    """Setting -> value, values read as YAML.

    Raises UsageError for a text that is not SETTING=VALUE.
    """
    found: dict[str, Any] = {}
    for text in options:
        name, equals, value = text.partition("=")
        if not (equals and name.strip() and value.strip()):
            raise UsageError(f"--option '{text}' is not SETTING=VALUE, such as share=0.02")
        try:
            found[name.strip()] = yaml.safe_load(value)
        except yaml.YAMLError:
            raise UsageError(f"--option '{text}': the value is not valid YAML") from None
    return found


def alone(chain: Sequence[MitigationRecord]) -> tuple[MitigationRecord, ...]:
    """Records of a chain without what came before each, so that none is stored twice."""
    return tuple(record.model_copy(update={"earlier": ()}) for record in chain)


def check_filters(planned: Planned, change: Change) -> None:
    """Refuse a second filter that decides the prediction of a step: only one of them can."""
    if change.filter is None:
        return
    from mitigations.deploy import decides_the_step

    deciding = [
        record.name
        for record in planned.earlier
        if record.filter is not None and decides_the_step(record.name)
    ]
    if deciding and decides_the_step(planned.options.name):
        raise UsageError(
            f"'{planned.target.name}' already has {deciding[0]}, which decides every step of the "
            f"drawing as {planned.options.name} does; start from a model without it"
        )


def _record(planned: Planned, change: Change, seconds: float) -> MitigationRecord:
    """The record, before it is known which numbers changed."""
    manifest = planned.mitigation.MANIFEST
    weights = json.dumps(planned.target.hashes, sort_keys=True)
    return MitigationRecord(
        tool=__version__,
        name=manifest.name,
        id=manifest.id,
        title=manifest.title,
        guarantee=manifest.guarantee,
        references=manifest.references,
        limits=manifest.limits,
        config=dataclasses.asdict(planned.config),
        seed=planned.options.seed,
        base=hashlib.sha256(weights.encode()).hexdigest(),
        given=planned.given,
        changed={},
        filter=None if change.filter is None else dict(change.filter),
        facts=dict(change.facts),
        notes=(*planned.notes, *change.notes),
        seconds=round(seconds, 3),
        earlier=planned.earlier,
    )
