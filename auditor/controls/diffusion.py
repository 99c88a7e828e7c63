"""All controls of a diffusion scan.

Controls use at most 128 records each on the target, on a re-initialised copy and on the
fine-tuned copy; the blind baseline never sees the target.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from attacks.observations import Calibration, NoiseError, Observations, default_condition
from attacks.results import ControlResult
from auditor.controls.blind import blind_baseline
from auditor.controls.captions import caption_match, missing_captions
from auditor.controls.competence import competence
from auditor.controls.image_features import image_features
from auditor.controls.negative import separates
from auditor.controls.planted import planted_records
from auditor.controls.positive import DOSES
from auditor.controls.sampling import draw
from auditor.controls.suite import Controls, blind_scores, halves_of_nonmembers, subjects
from auditor.observe.noise import noise
from auditor.progress import Progress
from auditor.records import Record
from auditor.scoring import Scores, score_all

if TYPE_CHECKING:
    from auditor.families.diffusion import DiffusionScan
    from auditor.prepare import Observed

MOST_RECORDS = 128
"""Records that one control may use."""


def run_controls(scan: DiffusionScan, observed: Observed, progress: Progress) -> Controls:
    """Run every control on the evaluated records."""
    if not scan.plan.configs:
        return Controls((), {}, None)  # nothing scores records: there is nothing to control
    seed = scan.options.seed
    members, nonmembers = observed.members, observed.nonmembers
    progress.stage("control: random weights", MOST_RECORDS)
    fresh_records, fresh_members = _both(members, nonmembers, seed)
    fresh, fresh_scores = _fresh_copy(scan, fresh_records, observed.calibration)
    results = [
        _competence(scan, observed, fresh, fresh_members),
        halves_of_nonmembers(scan, observed),
        separates(
            "random weights",
            "Members against nonmembers in the same network with random weights",
            fresh_scores,
            fresh_members,
            seed,
            subjects(scan, fresh_records),
        ),
        *missing_captions(scan),
        *caption_match(scan, observed, progress),
    ]
    if scan.options.lora is not None:
        results.append(_base_model(scan, members, nonmembers, observed.calibration))
    base: Scores | None = None
    if observed.reference is not None:
        base, _ = score_all(scan.plan, observed.reference, observed.calibration)
        what = "Members against nonmembers in the reference model"
        units = subjects(scan, observed.records)
        results.append(separates("reference", what, base, observed.is_member, seed, units))
        base = {name: values[~observed.is_member] for name, values in base.items()}
    progress.stage("control: blind baseline", 1, "steps")
    blind = blind_baseline(members, nonmembers, image_features, seed=seed)
    results.append(blind.control)
    progress.stage("control: planted records", MOST_RECORDS * len(DOSES))
    planted = planted_records(scan, nonmembers, base, observed.calibration)
    results.append(planted.result)
    return Controls(tuple(results), planted.caught_at, blind_scores(blind, observed.records))


def _fresh_copy(
    scan: DiffusionScan, records: list[Record], calibration: Calibration | None
) -> tuple[Observations, Scores]:
    """Observations and scores of a re-initialised copy."""
    copy = scan.target.reinitialised(scan.options.seed)
    requests = (*scan.plan.requests, *_curve(scan))
    cache = scan.cache.derived(f"random weights {scan.options.seed}")
    observations = scan.executor.observe(copy, records, requests, cache)
    scores, _ = score_all(scan.plan, observations, calibration)
    return observations, scores


def _base_model(
    scan: DiffusionScan,
    members: list[Record],
    nonmembers: list[Record],
    calibration: Calibration | None,
) -> ControlResult:
    """An adapter's base without it: what it separates, the adapter did not learn."""
    chosen, is_member = _both(members, nonmembers, scan.options.seed)
    base = scan.open_base()
    cache = dataclasses.replace(scan.cache, target_key=base.key)
    observations = scan.executor.observe(base, chosen, scan.plan.requests, cache)
    scores, _ = score_all(scan.plan, observations, calibration)
    what = "Members against nonmembers in the base model without the adapter"
    units = subjects(scan, chosen)
    return separates("base model", what, scores, is_member, scan.options.seed, units)


def _both(
    members: list[Record], nonmembers: list[Record], seed: int
) -> tuple[list[Record], NDArray[np.bool_]]:
    """At most 64 records of each side, and which of them are members."""
    sides = [draw(side, MOST_RECORDS // 2, seed, "fresh") for side in (members, nonmembers)]
    return [*sides[0], *sides[1]], np.arange(len(sides[0]) + len(sides[1])) < len(sides[0])


def _curve(scan: DiffusionScan) -> tuple[NoiseError, ...]:
    """The timesteps at which competence is judged: 100, 200, ... of a schedule of 1,000."""
    capabilities = scan.target.capabilities
    condition = default_condition(capabilities)
    timesteps = dict.fromkeys(capabilities.scaled(*range(100, 1000, 100)))
    return tuple(NoiseError(t=t, condition=condition) for t in timesteps)


def _competence(
    scan: DiffusionScan,
    observed: Observed,
    fresh: Observations,
    fresh_members: NDArray[np.bool_],
) -> ControlResult:
    curve = _curve(scan)
    chosen = draw(observed.nonmembers, MOST_RECORDS, scan.options.seed, "competence")
    if all(request in observed.observations for request in curve):
        place = {record.id: i for i, record in enumerate(observed.records)}
        index = [place[record.id] for record in chosen]
        own = np.stack([observed.observations[r][index] for r in curve], axis=1)
    else:
        found = scan.executor.observe(scan.target, chosen, curve, scan.cache)
        own = np.stack([found[r] for r in curve], axis=1)
    shape = scan.target.input_shape
    power = [
        [np.square(noise(scan.options.seed, r.id, q.t, 0, shape)).mean() for q in curve]
        for r in chosen
    ]
    other = np.stack([fresh[r][~fresh_members] for r in curve], axis=1)
    return competence(own, other, np.asarray(power))
