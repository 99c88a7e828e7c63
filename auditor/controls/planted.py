"""The positive control of diffusion models: nonmembers injected into a fine-tuned copy.

The copy is trained on the injected records alone. If it has not memorized them at any accepted
dose, it is trained again, with averaged weights and then at higher rates, until it has. A recipe
that has worked is never replaced by a stronger one: what an attack missed there stays missed.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

import torch

from attacks.observations import Calibration, Observations
from attacks.protocols import Dose, Tuning
from attacks.results import ControlResult, ControlStatus
from auditor.controls.positive import (
    N_INJECTED,
    TRAINING_COST,
    DoseScores,
    PositiveControl,
    Training,
    chosen_records,
    is_established,
    positive_control,
)
from auditor.observe.cache import shard_key
from auditor.policy import Policy
from auditor.records import Record, open_pictures
from auditor.scoring import Scores, calibrated, names_of, score_all, with_reference
from auditor.targets.finetuning import RECIPE, TUNINGS

if TYPE_CHECKING:
    from auditor.families.diffusion import DiffusionScan

DOSE_STEP = 4
"""Each dose has so many times the exposures of the one before."""


def planted_records(
    scan: DiffusionScan,
    nonmembers: list[Record],
    base: Scores | None,
    calibration: Calibration | None,
) -> PositiveControl:
    """Nonmembers injected into a fine-tuned copy, dose by dose."""
    chosen = chosen_records(nonmembers, scan.options.seed)
    reference: Scores | None = None
    if base is not None:
        place = {record.id: i for i, record in enumerate(nonmembers)}
        index = [place[record.id] for record in chosen]
        reference = {name: values[index] for name, values in base.items()}
    names = [*names_of(scan.plan)]
    if not names:
        summary = "not run: no attack on single records was chosen"
        return PositiveControl(ControlResult("positive", ControlStatus.NOT_RUN, summary), {})
    if reference is not None:
        names += [calibrated(name) for name in names_of(scan.plan)]
    fpr = scan.policy.rules.identified.fpr
    doses = _doses(scan, chosen, reference, calibration)
    return positive_control(doses, names, len(chosen), fpr)


def _doses(
    scan: DiffusionScan,
    chosen: Sequence[Record],
    reference: Scores | None,
    calibration: Calibration | None,
) -> Iterator[DoseScores]:
    """The doses of one training after another, up to the first that memorized at any dose."""
    for attempt, tuning in enumerate(TUNINGS, start=1):
        is_established_at_all = False
        for dose in _attempt(scan, chosen, attempt, tuning):
            scores = None
            if dose.found is not None:
                found = score_all(scan.plan, dose.found, calibration)[0]
                scores = with_reference(found, reference)
                is_established_at_all = True
            yield DoseScores(*dose[:3], scores, dose.training)
        if is_established_at_all:
            return


def _attempt(
    scan: DiffusionScan, chosen: Sequence[Record], attempt: int, tuning: Tuning
) -> Iterator[_ObservedDose]:
    """Each dose of one training; the copy is trained only if something is not stored yet."""
    doses = accepted_doses(scan.policy)
    names = shard_key([record.id for record in chosen])
    copies: Iterator[Dose] | None = None
    for dose in doses:
        recipe = f"planted {names} {N_INJECTED} {dose} {RECIPE} {[*tuning]} {scan.options.seed}"
        cache = scan.cache.derived(recipe)
        facts = cache.facts()
        found = None
        if facts and is_established(facts["before"], facts["after"]):
            found = scan.executor.recall(chosen, scan.plan.requests, cache)
        if facts is None or (found is None and is_established(facts["before"], facts["after"])):
            copies = copies or _train(scan, chosen[:N_INJECTED], doses, tuning)
            copy = next(one for one in copies if one.exposures == dose)
            facts = {
                "before": copy.loss_before,
                "after": copy.loss_after,
                "rate": copy.learning_rate,
            }
            if not math.isfinite(copy.loss_after):
                return  # training diverged: not established by this attempt
            if is_established(copy.loss_before, copy.loss_after):
                found = scan.executor.observe(copy.predictor, chosen, scan.plan.requests, cache)
            cache.store_facts(facts)
        training = Training(attempt, tuning, facts["rate"])
        yield _ObservedDose(dose, facts["before"], facts["after"], training, found)


class _ObservedDose(NamedTuple):
    """A copy and what it answered, if it memorized."""

    exposures: int
    loss_before: float
    loss_after: float
    training: Training
    found: Observations | None


def accepted_doses(policy: Policy) -> list[int]:
    """1, 4, 16 ... exposures, as many as the policy accepts.

    A policy that accepts more than the usual 64 is climbed to: small models in pixel space may
    memorize nothing in 64.
    """
    doses = [1]
    while doses[-1] * DOSE_STEP <= policy.accepted_dose:
        doses.append(doses[-1] * DOSE_STEP)
    return doses


def training_calls(policy: Policy) -> tuple[int, int]:
    """What the first training of the copy costs, and all further ones, in forward calls."""
    once = TRAINING_COST * N_INJECTED * accepted_doses(policy)[-1]
    return once, once * (len(TUNINGS) - 1)


def _train(
    scan: DiffusionScan, injected: Sequence[Record], doses: Sequence[int], tuning: Tuning
) -> Iterator[Dose]:
    target = scan.target
    inputs = target.prepare(open_pictures(injected))
    embedded = target.embed([record.caption or "" for record in injected])
    rows = torch.arange(len(injected), device=target.device)
    return target.finetune(
        inputs,
        None if embedded is None else embedded.rows(rows),
        doses=doses,
        seed=scan.options.seed,
        batch_size=scan.executor.batch_size,
        tuning=tuning,
    )
