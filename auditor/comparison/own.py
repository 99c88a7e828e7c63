"""A method's own privacy question over trials, for method and baseline."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from attacks.results import Estimate
from attacks.statistics.means import share_interval, t_interval
from auditor.methods.findings import MethodFinding
from reports import method_record as schema

Answers = Sequence[tuple[MethodFinding, ...]]
"""One tuple of findings per trial."""


def own_figures(answers: Mapping[schema.Kind, Answers]) -> tuple[schema.OwnFigure, ...]:
    """One figure per name, in the order in which the method gives them first."""
    by_name = {
        kind: [{found.name: found for found in trial} for trial in trials]
        for kind, trials in answers.items()
    }
    first: dict[str, MethodFinding] = {}
    for trials in by_name.values():
        for trial in trials:
            for name, found in trial.items():
                first.setdefault(name, found)
    return tuple(_figure(found, by_name) for found in first.values())


def _figure(
    found: MethodFinding, by_name: Mapping[schema.Kind, list[dict[str, MethodFinding]]]
) -> schema.OwnFigure:
    values = {kind: _values(trials, found.name) for kind, trials in by_name.items()}
    controls = {kind: _values(trials, found.name, control=True) for kind, trials in by_name.items()}
    return schema.OwnFigure(
        name=found.name,
        sentence=found.sentence,
        metric=found.metric,
        is_certain=found.is_certain,
        method=values["method"],
        baseline=values["baseline"],
        method_mean=_mean(values["method"], found.metric),
        baseline_mean=_mean(values["baseline"], found.metric),
        control_name=found.control_name,
        method_control=controls["method"] if found.control is not None else (),
        baseline_control=controls["baseline"] if found.control is not None else (),
    )


def _values(
    trials: list[dict[str, MethodFinding]], name: str, *, control: bool = False
) -> tuple[float | None, ...]:
    estimates = [
        None if name not in trial else trial[name].control if control else trial[name].estimate
        for trial in trials
    ]
    return tuple(None if estimate is None else estimate.value for estimate in estimates)


def _mean(values: tuple[float | None, ...], metric: str) -> Estimate:
    given = [value for value in values if value is not None]
    if not given:
        return Estimate(None, None, None, "no trial gives a value")
    return share_interval(given) if metric in ("auc", "share") else t_interval(given)
