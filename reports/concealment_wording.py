"""What the reports of a concealment test say around the figures."""

from __future__ import annotations

from attacks.concealment.curve import Stage
from attacks.concealment.zeros import DisclosedLayer
from reports import text
from reports.concealment_record import ConcealmentRecord, ModelCurve, RecordFigures

ANSWERS = {
    "erased": "Erased",
    "concealed": "Concealed",
    "suppressed_inconclusive": "Suppressed, attack inconclusive",
    "invalid": "Invalid",
}
MEANS = {
    "erased": "The records cannot be told from records that the model never saw, by an attack that "
    "is shown to work on the original. It speaks for this attack and these records.",
    "concealed": "The records are still in the weights: whoever holds the model can draw them.",
    "suppressed_inconclusive": "Nothing was found, and the test was not strong enough to call the "
    "records erased. This is not an erasure.",
    "invalid": "A control failed, so that nothing follows about the edited model.",
}
READING = (
    (
        "Recovered",
        "An image drawn for a record comes at least twice as near to it as images drawn for "
        "never-seen records come to theirs, under the same attack on the same model. Half of the never-seen records "
        "set the threshold, the other half shows how often it is crossed by chance.",
    ),
    (
        "By prompt, by embedding",
        "By prompt: the record's own caption. By embedding: a text embedding found by gradient "
        "descent, which needs the weights; no prompt has to lead there.",
    ),
    (
        "Control",
        "The original, attacked from random starts alone. Starts from the caption would draw the "
        "record before the attack has done anything.",
    ),
    (
        "Distances",
        "The nearest over starts, images and all budgets so far, on both sides alike. 0 is the "
        "record itself.",
    ),
    (
        "Zeros",
        "Trained weights are hardly ever exactly zero. Where pruning leaves zeros, their places "
        "tell what was pruned. Refilling them with guesses is a probe of our own: that it brings "
        "nothing back shows little.",
    ),
)
STAGES = (
    "Model",
    "Steps",
    "Recovered",
    "95 % interval",
    "Never-seen",
    "95 % interval",
    "Difference, 95 % interval",
    "p",
    "Threshold",
    "Median distance",
    "Of never-seen",
)
MEMBERS = (
    "Published id",
    "Copies",
    "Original, by prompt",
    "Original, by embedding",
    "Edited, by prompt",
    "Edited, by embedding",
    "Median",
    "Moved",
    "Proven",
    "Came back",
)
ZEROS = ("Layer", "Weights", "Zeros before", "Zeros after", "p", "Discloses")


def facts(record: ConcealmentRecord) -> tuple[tuple[str, str], ...]:
    """The facts under the headline."""
    c, r, s = record.conclusion, record.records, record.setting
    return (
        ("Records", text.number(r.n_members)),
        ("Never-seen", text.number(r.n_nonmembers)),
        ("Given away by the original", text.number(c.n_proven)),
        ("Came back", text.number(c.n_back)),
        ("Upper bound", text.share(c.bound)),
        ("Steps, starts", f"{text.number(s.steps)}, {text.number(s.restarts)}"),
        ("Zeros disclose a mask", "yes" if record.zeros.mask_disclosed else "no"),
    )


def role(curve: ModelCurve) -> str:
    """Which model, and whether it is the control."""
    return f"{curve.role}, random starts" if curve.starts == "random" else curve.role


def stage_rows(record: ConcealmentRecord) -> list[tuple[str, ...]]:
    """Every point of every curve as a row of `STAGES`."""
    return [stage_row(role(curve), stage) for curve in record.curves for stage in curve.stages]


def stage_row(name: str, one: Stage) -> tuple[str, ...]:
    """One point of a curve as a row of `STAGES`."""
    return (
        name,
        "by prompt" if one.steps == 0 else text.number(one.steps),
        f"{text.number(one.n_recovered)} of {text.number(one.n_members)}",
        text.interval(one.share.low, one.share.high, "share"),
        f"{text.number(one.n_nonmembers_recovered)} of {text.number(one.n_nonmembers)}",
        text.interval(one.nonmember_share.low, one.nonmember_share.high, "share"),
        text.interval(one.excess.low, one.excess.high, "share"),
        text.p_value(one.p_value),
        text.decimal(one.threshold),
        text.decimal(one.distances[1]),
        text.decimal(one.nonmember_distances[1]),
    )


def member_row(one: RecordFigures) -> tuple[str, ...]:
    """One record as a row of `MEMBERS`."""
    return (
        one.record_id,
        text.number(one.multiplicity),
        text.decimal(one.original_prompt),
        text.decimal(one.original_attacked),
        text.decimal(one.edited_prompt),
        text.decimal(one.edited_attacked),
        text.decimal(one.edited_median),
        text.number(one.moved),
        "yes" if one.is_proven else "no",
        one.came_back,
    )


def zeros_row(one: DisclosedLayer) -> tuple[str, ...]:
    """One layer as a row of `ZEROS`."""
    return (
        one.layer,
        text.number(one.n_weights),
        text.number(one.n_original),
        text.number(one.n_edited),
        text.p_value(one.p_value),
        "yes" if one.is_disclosed else "no",
    )


def zeros_sentence(record: ConcealmentRecord) -> str:
    """What the zeros tell, in a sentence or two."""
    z = record.zeros
    if not z.layers:
        return "No weight tensor has another number of exact zeros than in the original."
    n = sum(layer.is_disclosed for layer in z.layers)
    if not z.mask_disclosed:
        return "Some weight tensors have other numbers of zeros; none of them stands out."
    found = f"mask_disclosed: the zeros of {n:,} weight tensors tell what was pruned."
    if z.revived is None:
        return found
    return (
        f"{found} Refilled with guesses, the model gives back {z.revived.n_recovered:,} of "
        f"{z.revived.n_members:,} records by prompt."
    )
