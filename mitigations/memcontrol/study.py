"""The search itself, over an Optuna study that can be continued.

The seed of the sampler is a function of the search's seed and of how many trials have ended, not of
what this process has drawn before: a search that was interrupted goes on as if it had not been, and
the same seed and number of workers give the same trials.
"""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from mitigations.memcontrol.trial import Candidate, Outcome
from mitigations.memcontrol.workers import Evaluate

if TYPE_CHECKING:
    import optuna

DATABASE = "studies.db"
"""File of all studies in a folder."""
RATE = "learning_rate"
OUTCOME = "outcome"
"""Attribute of a trial that has ended."""

Kind = Literal["tpe", "nsga2", "random"]


@dataclass(frozen=True, slots=True)
class Space:
    """What a trial chooses."""

    n_bits: int
    rate_low: float
    rate_high: float

    @property
    def distributions(self) -> dict[str, Any]:
        """Optuna's name of each choice -> what it is drawn from."""
        from optuna.distributions import FloatDistribution, IntDistribution

        found: dict[str, Any] = {_bit(i): IntDistribution(0, 1) for i in range(self.n_bits)}
        if self.rate_low < self.rate_high:
            found[RATE] = FloatDistribution(self.rate_low, self.rate_high, log=True)
        return found

    def candidate(self, parameters: dict[str, Any]) -> Candidate:
        """The candidate of a trial's parameters."""
        bits = tuple(int(parameters[_bit(i)]) for i in range(self.n_bits))
        return Candidate(bits, float(parameters.get(RATE, self.rate_low)))


class Tried(NamedTuple):
    """A trial that has ended."""

    candidate: Candidate
    outcome: Outcome


@dataclass(frozen=True, slots=True)
class Plan:
    """One study."""

    space: Space
    kind: Kind
    trials: int
    seed: int
    workers: int
    name: str
    """Of the study: a hash of all that decides what a trial gives."""
    folder: Path | None
    """Where the study is kept; None keeps it in memory."""
    population: int
    """Of NSGA-II."""


def searched(
    plan: Plan, evaluate: Evaluate, on_trial: Callable[[list[Tried]], None] = lambda tried: None
) -> list[Tried]:
    """Run, or continue, a study until it has its trials; in the order in which they were asked.

    A candidate that was tried before is not trained again: its figures are taken over, and it
    counts as a trial. on_trial: told all trials so far after each one.
    """
    study = _opened(plan)
    _requeue(study)
    tried = _ended(study, plan.space)
    while len(tried) < plan.trials:
        n = min(plan.workers - len(tried) % plan.workers, plan.trials - len(tried))
        trials = []
        for i in range(n):
            study.sampler = _sampler(plan, len(tried) + i)
            trials.append(study.ask(fixed_distributions=plan.space.distributions))
        candidates = [plan.space.candidate(trial.params) for trial in trials]
        known = {one.candidate: one.outcome for one in tried}
        new = list(dict.fromkeys(c for c in candidates if c not in known))
        outcomes = zip(new, evaluate(new), strict=True)
        for trial, candidate in zip(trials, candidates, strict=True):
            while candidate not in known:
                ended, outcome = next(outcomes)
                known[ended] = outcome
            _tell(study, trial, known[candidate])
            tried.append(Tried(candidate, known[candidate]))
            on_trial(tried)
    return tried[: plan.trials]


def _bit(i: int) -> str:
    return f"bit_{i:02d}"


def _opened(plan: Plan) -> optuna.Study:
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    storage = None
    if plan.folder is not None:
        plan.folder.mkdir(parents=True, exist_ok=True)
        storage = f"sqlite:///{plan.folder.absolute() / DATABASE}"
    return optuna.create_study(
        study_name=f"{plan.name}-{plan.kind}",
        storage=storage,
        directions=["minimize", "minimize"],
        load_if_exists=True,
        sampler=_sampler(plan, 0),
    )


def _sampler(plan: Plan, number: int) -> Any:
    """A sampler for the trial of this number, whatever was drawn before it."""
    import optuna

    digest = hashlib.blake2b(f"{plan.seed}|{plan.kind}|{number}".encode(), digest_size=4).digest()
    seed = int.from_bytes(digest, "little")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        if plan.kind == "nsga2":
            return optuna.samplers.NSGAIISampler(population_size=plan.population, seed=seed)
        if plan.kind == "random":
            return optuna.samplers.RandomSampler(seed=seed)
        return optuna.samplers.TPESampler(
            multivariate=True,
            constant_liar=plan.workers > 1,
            n_startup_trials=max(4, plan.trials // 4),
            seed=seed,
        )


def _requeue(study: optuna.Study) -> None:
    """End trials that were interrupted, and queue their candidates again, in their order."""
    from optuna.trial import TrialState

    for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        if OUTCOME in trial.user_attrs:  # all but the last line of `_tell` was reached
            outcome = Outcome(*trial.user_attrs[OUTCOME])
            study.tell(trial.number, **_told(outcome))
            continue
        study.tell(trial.number, state=TrialState.FAIL)
        study.enqueue_trial(trial.params)


def _ended(study: optuna.Study, space: Space) -> list[Tried]:
    """Trials with an outcome; those that were interrupted have none."""
    from optuna.trial import TrialState

    states = (TrialState.COMPLETE, TrialState.FAIL)
    return [
        Tried(space.candidate(trial.params), Outcome(*trial.user_attrs[OUTCOME]))
        for trial in study.get_trials(deepcopy=False, states=states)
        if OUTCOME in trial.user_attrs
    ]


def _tell(study: optuna.Study, trial: optuna.Trial, outcome: Outcome) -> None:
    if not outcome.is_finite:  # what a database cannot hold
        outcome = outcome._replace(memorization=0.0, quality=0.0, slack=0.0)
    trial.set_user_attr(OUTCOME, list(outcome))
    study.tell(trial, **_told(outcome))


def _told(outcome: Outcome) -> dict[str, Any]:
    from optuna.trial import TrialState

    if outcome.is_finite:
        return {"values": [outcome.memorization, outcome.quality]}
    return {"state": TrialState.FAIL}
