"""All controls of a membership scan, in one place.

Controls use at most 128 records each on the target, on a re-initialised copy and on the
fine-tuned copy; the blind baseline never sees the target.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from attacks.observations import Calibration, NoiseError, Observations, default_condition
from attacks.results import ControlResult, ControlStatus
from auditor.controls.blind import blind_baseline
from auditor.controls.competence import competence
from auditor.controls.negative import random_half, separates
from auditor.controls.positive import DOSES, Setting, positive_control
from auditor.controls.sampling import draw
from auditor.observe.noise import noise
from auditor.progress import Progress
from auditor.records import Record
from auditor.scoring import Scores, score_all

if TYPE_CHECKING:
    from auditor.prepare import PreparedScan

MOST_RECORDS = 128
"""Records that one control may use."""


@dataclass(frozen=True)
class Controls:
    """Outcomes of all controls."""

    results: tuple[ControlResult, ...]
    caught_at: dict[str, int | None]
    """Attack -> smallest dose at which the positive control was caught."""
    blind_score: NDArray[np.float64] | None
    """(n,) score of a classifier that never saw the target, in the order of the records."""


def run_controls(
    scan: PreparedScan,
    records: tuple[Record, ...],
    is_member: NDArray[np.bool_],
    observations: Observations,
    scores: Scores,
    reference: Observations | None,
    calibration: Calibration | None,
    progress: Progress,
) -> Controls:
    """Run every control on the evaluated records (n,), in the order of the scores."""
    seed = scan.options.seed
    nonmembers = [r for r, m in zip(records, is_member, strict=True) if not m]
    members = [r for r, m in zip(records, is_member, strict=True) if m]
    progress.stage("control: random weights", MOST_RECORDS)
    fresh_records, fresh_members = _both(members, nonmembers, seed)
    fresh, fresh_scores = _fresh_copy(scan, fresh_records, calibration)
    results = [
        _competence(scan, records, is_member, observations, fresh, fresh_members, nonmembers),
        separates(
            "negative",
            "One half of the nonmembers against the other",
            {name: values[~is_member] for name, values in scores.items()},
            random_half([_unit(scan, r) for r in nonmembers], seed),
            seed,
            _subjects(scan, nonmembers),
        ),
        separates(
            "random weights",
            "Members against nonmembers in the same network with random weights",
            fresh_scores,
            fresh_members,
            seed,
            _subjects(scan, fresh_records),
        ),
        *_captions(scan),
    ]
    if scan.options.lora is not None:
        results.append(_base_model(scan, members, nonmembers, calibration))
    base: Scores | None = None
    if reference is not None:
        base, _ = score_all(scan.plan, reference, calibration)
        what = "Members against nonmembers in the reference model"
        units = _subjects(scan, records)
        results.append(separates("reference", what, base, is_member, seed, units))
        base = {name: values[~is_member] for name, values in base.items()}
    progress.stage("control: blind baseline", 1, "steps")
    blind = blind_baseline(members, nonmembers, seed=seed)
    results.append(blind.control)
    progress.stage("control: planted records", MOST_RECORDS * len(DOSES))
    planted = positive_control(_setting(scan, calibration), nonmembers, base)
    results.append(planted.result)
    is_scored = all(record.id in blind.scores for record in records)
    blind_score = np.array([blind.scores[r.id] for r in records]) if is_scored else None
    return Controls(tuple(results), planted.caught_at, blind_score)


def _setting(scan: PreparedScan, calibration: Calibration | None) -> Setting:
    return Setting(
        target=scan.target,
        executor=scan.executor,
        cache=scan.cache,
        plan=scan.plan,
        calibration=calibration,
        seed=scan.options.seed,
        max_dose=scan.policy.accepted_dose,
        fpr=scan.policy.rules.identified.fpr,
    )


def _unit(scan: PreparedScan, record: Record) -> str:
    """The name of the unit that a record belongs to: its subject, or itself."""
    return str(record.subject) if scan.splits.has_subjects else record.id


def _subjects(scan: PreparedScan, records: Sequence[Record]) -> NDArray | None:
    return np.array([r.subject for r in records]) if scan.splits.has_subjects else None


def _captions(scan: PreparedScan) -> list[ControlResult]:
    """A model that takes text, asked without its captions, is asked too gently for a PASS."""
    capabilities = scan.target.capabilities
    if not capabilities.is_text_conditional or capabilities.has_captions:
        return []
    summary = (
        "The model is conditioned on text, but the records have no captions: an attacker who holds "
        "them sees more than this scan did, so nothing may pass."
    )
    return [ControlResult("captions", ControlStatus.NOT_RUN, summary)]


def _fresh_copy(
    scan: PreparedScan, records: list[Record], calibration: Calibration | None
) -> tuple[Observations, Scores]:
    """Observations and scores of a re-initialised copy."""
    copy = scan.target.reinitialised(scan.options.seed)
    requests = (*scan.plan.requests, *_curve(scan))
    cache = scan.cache.derived(f"random weights {scan.options.seed}")
    observations = scan.executor.observe(copy, records, requests, cache)
    scores, _ = score_all(scan.plan, observations, calibration)
    return observations, scores


def _base_model(
    scan: PreparedScan,
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
    units = _subjects(scan, chosen)
    return separates("base model", what, scores, is_member, scan.options.seed, units)


def _both(
    members: list[Record], nonmembers: list[Record], seed: int
) -> tuple[list[Record], NDArray[np.bool_]]:
    """At most 64 records of each side, and which of them are members."""
    sides = [draw(side, MOST_RECORDS // 2, seed, "fresh") for side in (members, nonmembers)]
    return [*sides[0], *sides[1]], np.arange(len(sides[0]) + len(sides[1])) < len(sides[0])


def _curve(scan: PreparedScan) -> tuple[NoiseError, ...]:
    """The timesteps at which competence is judged: 100, 200, ... of a schedule of 1,000."""
    capabilities = scan.target.capabilities
    condition = default_condition(capabilities)
    timesteps = dict.fromkeys(capabilities.scaled(*range(100, 1000, 100)))
    return tuple(NoiseError(t=t, condition=condition) for t in timesteps)


def _competence(
    scan: PreparedScan,
    records: tuple[Record, ...],
    is_member: NDArray[np.bool_],
    observations: Observations,
    fresh: Observations,
    fresh_members: NDArray[np.bool_],
    nonmembers: list[Record],
) -> ControlResult:
    curve = _curve(scan)
    chosen = draw(nonmembers, MOST_RECORDS, scan.options.seed, "competence")
    if all(request in observations for request in curve):
        place = {record.id: i for i, record in enumerate(records)}
        index = [place[record.id] for record in chosen]
        own = np.stack([observations[r][index] for r in curve], axis=1)
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
