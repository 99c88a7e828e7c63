"""A search in figures and sentences, for the record of the mitigation."""

from __future__ import annotations

from collections.abc import Sequence

from attacks.results import Estimate
from mitigations.memcontrol.result import MemControlResult, RefitRow, TrialRow

REPORT = "memcontrol.md"
"""File with the search as a page."""


def facts_of(result: MemControlResult) -> dict[str, float | int | str]:
    """The figures that a reader asks for first."""
    rows = {row.name: row for row in result.refits}
    chosen = rows["chosen"]
    facts: dict[str, float | int | str] = {
        "mask": result.chosen,
        "learning_rate": result.learning_rate,
        "trainable": chosen.trainable,
        "trainable_percent": round(100 * chosen.share, 4),
        "trials": len(result.trials),
        "trials_on_front": sum(row.is_on_front for row in result.trials),
        "random_trials": len(result.control),
    }
    for name, area in (("area", result.area), ("random_area", result.control_area)):
        if area is not None:
            facts[name] = round(area, 4)
    for name, row in rows.items():
        for metric, figure in row.memorization.items():
            if figure.value is not None:
                facts[f"{metric}_{name}"] = round(figure.value, 5)
        if row.quality.value is not None:
            facts[f"quality_{name}"] = round(row.quality.value, 5)
    return facts


def notes_of(result: MemControlResult) -> tuple[str, ...]:
    """What a reader must know."""
    rows = {row.name: row for row in result.refits}
    notes = [
        "Neither the search nor the training is private: every trial reads the members again.",
        f"The figures were measured on {result.n_report[0]} members at risk and "
        f"{result.n_report[1]} nonmembers that chose nothing, over {len(result.seeds)} trainings "
        "with new seeds.",
    ]
    if not result.is_memorizing:
        notes.append(
            "Full fine-tuning is not shown to memorize more than no training on these records, so "
            "that nothing can be said of what the mask prevents: train for more steps, or repeat "
            "records."
        )
    if not result.is_repeated:
        notes.append("No record is repeated; memorization was measured on members drawn from all.")
    if result.area is not None and result.control_area is not None:
        ahead = "no more" if result.area <= result.control_area else "more"
        notes.append(f"The search dominates {ahead} than random search with as many trials.")
    notes += [_compared(rows[name], name, rows["chosen"]) for name in ("random",) if name in rows]
    if "1" not in result.chosen and not result.rest:
        notes.append("The pick trains nothing: the model is the base model as it was.")
    return tuple(notes)


def _compared(other: RefitRow, name: str, chosen: RefitRow) -> str:
    """Whether the pick is ahead of a random mask of its size, by the metric of both intervals."""
    parts = []
    for metric, own in chosen.memorization.items():
        theirs = other.memorization[metric]
        if own.value is not None and theirs.value is not None:
            parts.append(f"{metric} {own.value:.3g} against {theirs.value:.3g}")
    return f"The pick against a {name} mask of the same number of blocks: {'; '.join(parts)}."


def report_of(result: MemControlResult) -> bytes:
    """The search as a Markdown page: the pick and its controls, and both fronts."""
    metrics = list(result.refits[0].memorization)
    head = ["variant", "mask", "trained", *metrics, f"quality ({result.quality})"]
    rows = [
        [
            row.name,
            row.bits or "everything",
            f"{row.trainable:,} ({100 * row.share:.3g} %)",
            *(_figure(row.memorization[metric]) for metric in metrics),
            _figure(row.quality),
        ]
        for row in result.refits
    ]
    lines = [
        "# MemControl",
        "",
        f"Mask `{result.chosen}` of {len(result.blocks)} attention blocks ({result.family}), "
        f"learning rate {result.learning_rate:.3g}. Rule: the lowest {result.memorization} among "
        f"trials with a {result.quality} within {100 * result.tolerance:.3g} % of the best.",
        "",
        "## The pick and its controls, on records and seeds that chose nothing",
        "",
        *_table(head, rows),
        "",
        *(f"- {note}" for note in notes_of(result)),
        "",
    ]
    for title, trials in (("search", result.trials), ("random control", result.control)):
        if trials:
            lines += [f"## Front of the {title} ({len(trials)} trials)", "", *_front(trials), ""]
    lines += ["## Bits", "", *(f"{i}. `{name}`" for i, name in enumerate(result.blocks)), ""]
    return "\n".join(lines).encode()


def _front(trials: Sequence[TrialRow]) -> list[str]:
    chosen = [t for t in trials if t.is_on_front]
    rows = [
        [t.bits, f"{t.learning_rate:.3g}", f"{t.memorization:.4g}", f"{t.quality:.4g}"]
        for t in sorted(chosen, key=lambda t: (t.memorization or 0, t.quality or 0))
    ]
    return _table(["mask", "learning rate", "memorization", "quality"], rows)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    lines = [head, ["---"] * len(head), *rows]
    return [f"| {' | '.join(line)} |" for line in lines]


def _figure(one: Estimate) -> str:
    if one.value is None:
        return one.reason or "none"
    if one.low is None or one.high is None:
        return f"{one.value:.4g}"
    return f"{one.value:.4g} ({one.low:.4g} to {one.high:.4g})"
