"""Diffusion models: images with captions, a shared pass of forward calls, a fine-tuned copy."""

from __future__ import annotations

import dataclasses
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch

from attacks.configuration import configured
from attacks.errors import TargetError, UsageError
from attacks.extraction.generate_and_filter import ExtractionConfig
from attacks.extraction.generation import GenerationFinding
from attacks.manifest import DiffusionCapabilities
from attacks.observations import NoiseError, Observations, default_condition
from attacks.registry import other_attack
from attacks.results import CurvePoint, PlannedAttack
from attacks.statistics.means import mean_interval
from auditor.config import ScanConfig, load_config
from auditor.controls.diffusion import run_controls
from auditor.controls.suite import Controls
from auditor.observe.cache import Cache, default_cache
from auditor.observe.executor import LocalExecutor, automatic_batch_size
from auditor.observe.plan import Plan, make_plan
from auditor.observe.usage import Usage
from auditor.policy import load_policy, preset_policy
from auditor.power import drawing_power
from auditor.prepare import (
    EXTRACTION,
    Expense,
    Observed,
    PreparedScan,
    ScanOptions,
    attacks_of,
    calibration_share,
    check_out,
    check_plan,
    reading,
    refuse_options,
    timed,
    without_calibration,
)
from auditor.progress import Progress
from auditor.records import Record, load_splits
from auditor.targets.description import describe
from auditor.targets.diffusion import DiffusionTarget
from auditor.targets.loading import open_target
from auditor.targets.timing import seconds_per_call
from auditor.targets.towers import open_towers
from reports import record as schema

PRECISIONS = {torch.float32: "fp32", torch.float16: "fp16", torch.bfloat16: "bf16"}


@dataclass
class DiffusionScan(PreparedScan):
    """A scan of a diffusers pipeline."""

    reference: DiffusionTarget | None = None
    extraction: ExtractionConfig | None = None
    """How much is drawn; None if extraction was not asked for."""
    executor: LocalExecutor = dataclasses.field(kw_only=True)

    def open_base(self) -> DiffusionTarget:
        """The model without its adapter."""
        return _open(self.options, self.options.model, None)

    @property
    def device(self) -> torch.device:
        """Where the target runs."""
        return self.target.device

    @property
    def precision(self) -> str:
        """Precision of the U-Net."""
        return PRECISIONS[self.target.dtype]

    @property
    def batch_size(self) -> int:
        """Images per forward call."""
        return self.executor.batch_size

    @property
    def reference_name(self) -> str | None:
        """Name of the reference model, if there is one."""
        return None if self.reference is None else self.reference.name

    def observe(self, records: Sequence[Record]) -> Observations:
        """The shared pass over records."""
        if self.options.batch_size is None:
            self.cache.store_batch_size(self.executor.batch_size)
        return self.executor.observe(self.target, records, self.plan.requests, self.cache)

    def observe_reference(self, records: Sequence[Record]) -> Observations | None:
        """The same pass through the reference model."""
        if self.reference is None:
            return None
        cache = dataclasses.replace(self.cache, target_key=self.reference.key)
        return self.executor.observe(self.reference, records, self.plan.requests, cache)

    def run_controls(self, observed: Observed, progress: Progress) -> Controls:
        """Competence, negative, random weights, blind and positive controls."""
        return run_controls(self, observed, progress)

    @property
    def caption_source(self) -> str | None:
        """Where captions come from, if the records have any."""
        return self.splits.caption_source if self.splits.has_captions else None

    def own_flags(self) -> list[str]:
        """Precision, batch, resolution, and the models beside the target."""
        words = [f"--precision {self.precision} --batch-size {self.batch_size}"]
        if self.reference_name is not None:
            words.append(f"--reference {shlex.quote(self.reference_name)}")
        if self.options.lora is not None:
            words.append(f"--lora {shlex.quote(self.options.lora.resolve().name)}")
        if self.options.resolution is not None:
            words.append(f"--resolution {self.options.resolution}")
        return words

    def describe_target(self, observed: Observed) -> schema.Target:
        """Pipeline, schedule and conditioning."""
        return describe(self.target, self.reference_name)

    def knowledge(self, attack: str, access: str) -> str:
        """The record, its caption, and the answers of that access class."""
        record = "the record"
        capabilities: DiffusionCapabilities = self.target.capabilities
        if capabilities.is_text_conditional and capabilities.has_captions:
            record += " and its caption"
        is_black_box = access == "black-box"
        means = "images from the model" if is_black_box else "the model's noise predictions"
        if access == "white-box":
            means = "the model's weights, to take gradients"
        return f"{record}; {means}"

    @property
    def attack_names(self) -> tuple[str, ...]:
        """Names of all attacks that run, extraction last."""
        return (*self.plan.configs, *([EXTRACTION] if self.extraction else []))

    def extract(self, progress: Progress) -> GenerationFinding | None:
        """Draw images and compare them with the evaluated records."""
        if self.extraction is None:
            return None
        from auditor.extraction import Extraction, write_pairs

        attack = Extraction(
            target=self.target,
            members=self.splits.members,
            nonmembers=self.splits.nonmembers,
            config=self.extraction,
            seed=self.options.seed,
            publish=self.key.publish,
            most_distance=self.policy.rules.extracted.max_distance,
            batch_size=self.batch_size,
            cache=self.cache,
            progress=progress,
            usage=self.usage,
        )
        finding = attack.run()
        write_pairs(self.options.out / "private", attack.pairs if self.options.reveal else ())
        return dataclasses.replace(
            finding, knowledge="the captions; images from the model; the records, to recognise them"
        )

    def sections(self, observed: Observed) -> dict[str, Any]:
        """The loss curve: mean noise error of both sides by timestep."""
        return {"loss_curve": self._loss_curve(observed)}

    def _loss_curve(self, observed: Observed) -> tuple[CurvePoint, ...]:
        """Mean noise error of members and nonmembers at each observed timestep."""
        condition = default_condition(self.target.capabilities)
        curve = sorted(
            (
                r
                for r in observed.observations
                if isinstance(r, NoiseError) and r == NoiseError(t=r.t, condition=condition)
            ),
            key=lambda r: r.t,
        )
        sides = observed.is_member, ~observed.is_member
        return tuple(
            CurvePoint(r.t, *(mean_interval(observed.observations[r][side]) for side in sides))
            for r in curve
        )

    def expense(self) -> Expense:
        """Calls of target, reference, controls and fine-tuning, at the rate of a timed batch."""
        models = 2 if self.reference is not None else 1
        n_asked = models * len(self.evaluated) + len(self.calibration)
        return self._expense(self.plan, self.extraction, n_asked)

    def seconds_with(self, options: ScanOptions) -> float:
        """The same for other attacks, sizes or fewer records, without loading anything."""
        names, config = attacks_of(options, self.config, "diffusion")
        plan, extraction = planned(names, self.target.capabilities, config)
        models = 2 if self.reference is not None else 1
        n_asked = sum(
            min(len(side), options.limit or len(side))
            for side in (
                self.splits.members + self.splits.calibration_members,
                self.splits.nonmembers + self.splits.calibration_nonmembers,
            )
        )
        return self._expense(plan, extraction, models * n_asked).seconds

    @cached_property
    def _seconds_per_call(self) -> float:
        return seconds_per_call(self.target, self.executor.batch_size)

    def _expense(self, plan: Plan, extraction: ExtractionConfig | None, n_asked: int) -> Expense:
        """n_asked: records that target and reference answer about."""
        from auditor.controls.captions import caption_calls
        from auditor.controls.diffusion import MOST_RECORDS
        from auditor.controls.planted import accepted_doses, training_calls
        from auditor.controls.positive import TRAINING_COST

        per_record = plan.calls_per_record
        n_target = n_asked * per_record
        n_control = MOST_RECORDS * per_record * (1 + len(accepted_doses(self.policy)))
        n_control += caption_calls(plan.requests, self.target.capabilities)
        n_training, n_again = training_calls(self.policy)
        backward = (TRAINING_COST - 1) * plan.gradient_calls_per_record / max(per_record, 1)
        n_drawn = self._drawn(extraction)
        rate = self._seconds_per_call
        seconds = ((n_target + n_control) * (1 + backward) + n_training + n_drawn) * rate
        return Expense(
            n_target + n_control + n_drawn,
            n_control,
            seconds=float(np.ceil(seconds)),
            seconds_again=float(np.ceil(n_again * rate)),
        )

    def _drawn(self, extraction: ExtractionConfig | None) -> int:
        """Forward calls of the extraction at most."""
        if extraction is None:
            return 0
        captions = {r.caption for r in self.evaluated} if self.splits.has_captions else set()
        return len(captions) + extraction.images * extraction.calls_per_image

    def extraction_power(self) -> str | None:
        """How many members are tried, and the bound if none of them comes back."""
        if self.extraction is None:
            return None
        members, prompts = self.splits.members, self.extraction.prompts
        captions = {r.caption for r in members}
        is_prompted = self.target.capabilities.is_text_conditional
        n_tried = min(prompts, len(captions)) if is_prompted else len(members)
        return drawing_power(
            n_tried, self.extraction.images, self.policy.rules.identified.limit, is_prompted
        )


def prepare(options: ScanOptions, progress: Progress) -> DiffusionScan:
    """Read policy, configuration, records and model, and plan the pass over them."""
    started = datetime.now(UTC)
    seconds: dict[str, float] = {}
    refuse_options(options, "diffusion model", ("train", "shadows", "factory", "sensitive"))
    policy = load_policy(options.policy) if options.policy else preset_policy("default")
    config = load_config(options.config)
    if config.sensitive:
        raise UsageError("`sensitive` does not apply to a diffusion model; leave it out")
    names, config = attacks_of(options, config, "diffusion")
    scored = tuple(name for name in names if name != EXTRACTION)
    check_out(options.out)
    with timed(seconds, "read records"):
        splits = load_splits(
            options.members,
            options.nonmembers,
            options=config.records,
            calibration_share=calibration_share(scored),
            limit=options.limit,
            seed=options.seed,
            on_progress=reading(progress),
        )
    with timed(seconds, "load model"):
        target = _open(options, options.model, options.lora)
        if target.mitigation is not None:
            policy = policy.model_copy(update={"target_declares_mitigation": True})
        reference = _open(options, options.reference, None) if options.reference else None
    encoder = None
    if config.encoder is not None and target.capabilities.is_text_conditional:
        with timed(seconds, "load encoder"):
            encoder = open_towers(config.encoder.name, config.encoder.checkpoint, target.device)
    target.capabilities = dataclasses.replace(
        target.capabilities,
        has_captions=splits.has_captions,
        has_guesses=splits.has_guesses,
        encoder="" if encoder is None else encoder.key,
    )
    source = None if options.option else options.config
    plan, extraction = planned(names, target.capabilities, config, source)
    if extraction is None:
        check_plan(plan)
    if not plan.is_fitted:
        splits = without_calibration(splits)
    if reference is not None:
        _check_reference(target, reference)
    cache = Cache(options.cache or default_cache(), target.key, options.seed, options.fresh)
    batch_size = options.batch_size or cache.batch_size() or automatic_batch_size(target)
    usage = Usage()
    return DiffusionScan(
        options=options,
        policy=policy,
        config=config,
        splits=splits,
        target=target,
        plan=plan,
        cache=cache,
        started=started,
        usage=usage,
        seconds=seconds,
        reference=reference,
        extraction=extraction,
        executor=LocalExecutor(options.seed, batch_size, progress, usage, encoder),
    )


def planned(
    names: Sequence[str],
    capabilities: DiffusionCapabilities,
    config: ScanConfig,
    source: Path | None = None,
) -> tuple[Plan, ExtractionConfig | None]:
    """The shared pass of these attacks, and what extraction is to draw if it is among them.

    source: the file that errors about settings name.
    """
    extraction, skipped = _extraction(names, capabilities, config)
    scored = tuple(name for name in names if name != EXTRACTION)
    settings = {name: own for name, own in config.attack_options.items() if name != EXTRACTION}
    plan = make_plan(scored, capabilities, settings, source=source)
    return dataclasses.replace(plan, inapplicable=plan.inapplicable + skipped), extraction


def _extraction(
    names: Sequence[str], capabilities: DiffusionCapabilities, config: ScanConfig
) -> tuple[ExtractionConfig | None, tuple[PlannedAttack, ...]]:
    """What extraction is to draw, if it was asked for, or why it cannot be run."""
    attack = other_attack(EXTRACTION)
    try:
        settings: ExtractionConfig = configured(
            attack.default_config(capabilities), config.attack_options.get(EXTRACTION, {})
        )
    except UsageError as error:
        raise UsageError(f"attack '{EXTRACTION}': {error}") from None
    if EXTRACTION not in names:
        return None, ()
    reason = attack.applicable(capabilities)
    if reason is not None:
        return None, (PlannedAttack(EXTRACTION, reason),)
    return settings, ()


def _check_reference(target: DiffusionTarget, reference: DiffusionTarget) -> None:
    """Scores can only be paired with those of another model that answers the same questions."""
    if target.key == reference.key:
        raise TargetError(
            f"the reference '{reference.name}' is the audited model itself, so that it would hide "
            "every leak; pass a model that saw neither split, such as the base before fine-tuning"
        )
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


def _open(options: ScanOptions, model: str, lora: Path | None) -> DiffusionTarget:
    return open_target(
        model,
        device=options.device,
        precision=options.precision,
        resolution=options.resolution,
        lora=lora,
        allow_pickle=options.allow_pickle,
    )
