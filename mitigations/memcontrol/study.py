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
    study, known = _opened(plan)
    tried = _ended(study, plan.space)
    while len(tried) < plan.trials:
        n = min(plan.workers - len(tried) % plan.workers, plan.trials - len(tried))
        trials = []
        for i in range(n):
            study.sampler = _sampler(plan, len(tried) + i)
            trials.append(study.ask(fixed_distributions=plan.space.distributions))
        candidates = [plan.space.candidate(trial.params) for trial in trials]
        new = list(dict.fromkeys(c for c in candidates if c not in known))
        outcomes = zip(new, evaluate(new), strict=True)
        for trial, candidate in zip(trials, candidates, strict=True):
            while candidate not in known:
                ended, outcome = next(outcomes)
                known[ended] = outcome
            _tell(study, trial, known[candidate])
            tried.append(Tried(candidate, known[candidate]))
            on_trial(tried)
    _forget_others(plan, study)
    return tried[: plan.trials]


def _bit(i: int) -> str:
    return f"bit_{i:02d}"


def _opened(plan: Plan) -> tuple[optuna.Study, dict[Candidate, Outcome]]:
    """The study to go on with, and every outcome that is known.

    A study in which a trial was interrupted is asked again from its beginning, under another name:
    the same candidates come up, and the figures of those that ended are taken over.
    """
    import optuna
    from optuna.trial import TrialState

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    storage = _storage(plan)
    known: dict[Candidate, Outcome] = {}
    names = _names(plan)
    is_whole = len(names) <= 1
    for name in names:
        study = optuna.load_study(study_name=name, storage=storage)
        known |= {one.candidate: one.outcome for one in _ended(study, plan.space)}
        states = (TrialState.RUNNING, TrialState.WAITING)
        is_whole = is_whole and not study.get_trials(deepcopy=False, states=states)
    last = max((int(name.rpartition(".")[2]) for name in names), default=0)
    study = optuna.create_study(
        study_name=f"{plan.name}-{plan.kind}.{last if is_whole else last + 1}",
        storage=storage,
        directions=["minimize", "minimize"],
        load_if_exists=True,
        sampler=_sampler(plan, 0),
    )
    return study, known


def _names(plan: Plan) -> list[str]:
    """Studies of the same plan; more than one after an interruption."""
    import optuna

    if plan.folder is None:
        return []
    plan.folder.mkdir(parents=True, exist_ok=True)
    every = optuna.study.get_all_study_names(storage=_storage(plan))
    return sorted(name for name in every if name.startswith(f"{plan.name}-{plan.kind}."))


def _storage(plan: Plan) -> Any:
    return None if plan.folder is None else f"sqlite:///{plan.folder.absolute() / DATABASE}"


def _forget_others(plan: Plan, study: optuna.Study) -> None:
    """Delete what was interrupted, once all of it has been taken over."""
    import optuna

    for name in _names(plan):
        if name != study.study_name:
            optuna.delete_study(study_name=name, storage=_storage(plan))


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
