"""The flow of a method's audit, on one page.

    claim --> halves and canaries --> method and baseline trained --> leak, own question --> record

Three answers about a published method: is the effect that its paper claims there; does it leak
more or less than the same model without its mechanism; and what does its own privacy question
say. The first decides the exit code.
"""

from __future__ import annotations

import dataclasses
import shlex
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from attacks.results import ControlResult, ControlStatus
from auditor import __version__
from auditor.comparison import controls
from auditor.comparison.design import HALVES, Design, make_design
from auditor.comparison.leak import KINDS, Measured, measure_leak, scored
from auditor.comparison.outputs import check_out, write_outputs
from auditor.comparison.own import own_figures
from auditor.comparison.scores import centred_phi
from auditor.comparison.store import MethodStore, Trial, method_store
from auditor.comparison.wording import answer_of, as_claim
from auditor.methods import Method, MethodData, MethodFinding, method
from auditor.methods.claims import ClaimResult, checked_trials
from auditor.observe.cache import default_cache
from auditor.progress import Progress
from reports import method_record as schema
from reports.record import Tool

__all__ = ["MethodScanOptions", "MethodScanResult", "scan_method"]

FAMILY = "classifier"
"""The family whose leak can be compared."""


@dataclass(frozen=True, slots=True)
class MethodScanOptions:
    """The options of `auditor scan method`, with the same names."""

    name: str
    """A name of `auditor list --methods`."""
    trials: int = 3
    """Seeds of the claim, and of the comparison; at least 3."""
    quick: bool = False
    """Whether the method's smaller data are used."""
    out: Path | None = None
    """Directory for method.json and the reports; None writes nothing."""
    seed: int = 0
    """Seed of the first trial."""
    cache: Path | None = None
    """Where finished trials are kept; None for the user's cache."""
    fresh: bool = False
    """Whether finished trials of an earlier run are ignored."""


@dataclass(frozen=True, slots=True)
class MethodScanResult:
    """What an audit of a method leaves behind."""

    record: schema.MethodRecord
    paths: dict[str, Path]
    """Format -> file; empty where nothing was written."""


@dataclass(slots=True)
class _Trained:
    """What is kept of the models of a comparison."""

    measured: dict[schema.Kind, Measured]
    """Empty where the family cannot be compared."""
    answers: dict[schema.Kind, list[tuple[MethodFinding, ...]]]
    """Kind -> the own question, one answer per trial, on the first half."""


@dataclass(slots=True)
class _Clock:
    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def timed(self, stage: str) -> Iterator[None]:
        began = time.perf_counter()
        yield
        self.seconds[stage] = round(time.perf_counter() - began, 3)


def scan_method(options: MethodScanOptions, progress: Progress | None = None) -> MethodScanResult:
    """Audit a method; the Python twin of `auditor scan method`.

    A run that was interrupted goes on after its last finished trial, a claim as a whole.

    Raises UsageError for an unknown name, fewer than 3 trials, or a folder that is in use.
    """
    progress = progress or Progress()
    audited = method(options.name)
    checked_trials(options.trials)
    if options.out is not None:
        check_out(options.out)
    started, clock = datetime.now(UTC), _Clock()
    data = audited.default_data(options.quick)
    store = method_store(audited, data, options.cache or default_cache(), options.fresh)
    with clock.timed("claim"):
        progress.stage("measuring the claim", options.trials, "trials")
        claim = _claim(audited, options, store)
        progress.advance(options.trials)
    with clock.timed("train"):
        design = make_design(data.pool, options.trials, options.seed)
        trained = _train(audited, design, data, store, progress)
    with clock.timed("evaluate"):
        progress.stage("evaluating", 1, "step")
        leak, outcomes = _evaluate(trained, design, options.seed)
        own = own_figures(trained.answers)
        progress.advance(1)
    record = schema.MethodRecord(
        tool=Tool(version=__version__),
        command=command_line(options),
        seed=options.seed,
        trials=options.trials,
        quick=options.quick,
        environment=_environment(started, clock),
        own_question=own,
        controls=outcomes,
        leak=leak,
        **_described(audited, as_claim(claim), leak, outcomes, design, data),
    )
    paths = write_outputs(record, options.out) if options.out is not None else {}
    return MethodScanResult(record, paths)


def _claim(audited: Method, options: MethodScanOptions, store: MethodStore) -> ClaimResult:
    asked = options.trials, options.seed, options.quick
    claim = store.load_claim(*asked)
    if claim is None:
        claim = audited.claim(trials=options.trials, seed=options.seed, quick=options.quick)
        store.store_claim(claim, *asked)
    return claim


def _train(
    audited: Method, design: Design, data: MethodData, store: MethodStore, progress: Progress
) -> _Trained:
    """Train both kinds of models on both halves of every trial, and keep what they answer."""
    n_trials, n_reused = len(design.seeds), 0
    progress.stage("training method and baseline", n_trials, "trials")
    trials: list[Trial] = []
    for i in range(n_trials):
        found = store.load_trial(design, i)
        n_reused += found is not None
        if found is None:
            found = _trial(audited, design, data, i)
            store.store_trial(design, i, found)
        trials.append(found)
        progress.advance(1)
    if n_reused:
        progress.note(
            f"{n_reused} of {n_trials} trials were finished before; --fresh trains them again"
        )
    measured: dict[schema.Kind, Measured] = {}
    if audited.MANIFEST.family == FAMILY:
        measured = {
            kind: Measured(
                np.array([one.phi[kind] for one in trials]),
                np.array([one.correct[kind] for one in trials]),
            )
            for kind in KINDS
        }
    return _Trained(measured, {kind: [one.answers[kind] for one in trials] for kind in KINDS})


def _trial(audited: Method, design: Design, data: MethodData, trial: int) -> Trial:
    """Train the models of one trial."""
    is_compared = audited.MANIFEST.family == FAMILY
    seed, keep = design.seeds[trial], design.keep[trial]
    answers: dict[schema.Kind, tuple[MethodFinding, ...]] = {}
    phi: dict[schema.Kind, NDArray[np.float64]] = {}
    correct: dict[schema.Kind, NDArray[np.bool_]] = {}
    for kind in KINDS:
        recipe = audited.train if kind == "method" else audited.baseline
        halves = range(HALVES if is_compared else 1)
        models: list[Any] = [recipe(design.records, keep[half], seed) for half in halves]
        answers[kind] = audited.own_question(models[0], design.records, keep[0])
        if is_compared:
            features = design.records.features
            phi[kind] = np.array([centred_phi(m.logits(features), design) for m in models])
            correct[kind] = np.array([_correct(model, data.test) for model in models])
    return Trial(answers, phi, correct)


def _correct(model: Any, test: Any) -> np.ndarray:
    return np.asarray(model.logits(test.features)).argmax(axis=1) == test.required_classes()


def _evaluate(
    trained: _Trained, design: Design, seed: int
) -> tuple[schema.Leak | None, tuple[ControlResult, ...]]:
    if not trained.measured:
        why = "no comparison of this family"
        return None, tuple(
            ControlResult(name, ControlStatus.NOT_RUN, f"not run: {why}")
            for name in ("competence", "negative", "positive")
        )
    one = scored(trained.measured, design)
    outcomes = (
        controls.competence(trained.measured),
        controls.permuted_labels(one, seed),
        controls.canaries_found(trained.measured, one),
    )
    return measure_leak(trained.measured, one), outcomes


def _described(
    audited: Method,
    claim: schema.Claim,
    leak: schema.Leak | None,
    outcomes: tuple[ControlResult, ...],
    design: Design,
    data: MethodData,
) -> dict[str, Any]:
    label = schema.MethodLabel(**dataclasses.asdict(audited.MANIFEST))
    missing = f"the leak of methods of the family '{label.family}' cannot be compared yet"
    return {
        "method": label,
        "claim": claim,
        "answer": answer_of(label, claim, leak, outcomes),
        "leak_missing": missing if leak is None else "",
        "data": schema.MethodPool(
            n_pool=len(data.pool),
            n_test=len(data.test),
            n_kept=int((design.keep[0, 0] & ~design.is_canary).sum()),
            n_canaries=int(design.is_canary.sum()),
        ),
    }


def command_line(options: MethodScanOptions) -> str:
    """The command that repeats this audit, the folder cut to its last component."""
    words = [f"auditor scan method {shlex.quote(options.name)} --trials {options.trials}"]
    words += ["--quick"] if options.quick else []
    if options.out is not None:
        words.append(f"--out {shlex.quote(options.out.resolve().name)}")
    return " ".join([*words, f"--seed {options.seed}"])


def _environment(started: datetime, clock: _Clock) -> schema.MethodEnvironment:
    import torch

    from auditor.assemble import device_name, versions
    from auditor.memory import peak_memory_mb

    device = torch.device("cpu")  # methods train their small versions on the CPU
    return schema.MethodEnvironment(
        started=started,
        finished=datetime.now(UTC),
        device=device_name(device),
        versions=versions(),
        seconds=clock.seconds,
        peak_memory_mb=round(peak_memory_mb(device), 1),
    )
