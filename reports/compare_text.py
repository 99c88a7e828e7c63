"""Words and rows that the renderers of a comparison share; no statistic is computed here."""

from __future__ import annotations

from reports.compare_record import (
    AccuracyChange,
    AttackChange,
    CompareRecord,
    ExtractionChange,
    Quality,
    QualityChange,
    RulePair,
)
from reports.text import DASH, clean, decimal, number, p_value, rate, share
from reports.wording import OUTCOMES

ANSWERS = {"no worse": "No worse", "worse": "Worse", "undecided": "Undecided"}
TONES = {"no worse": "pass", "worse": "fail", "undecided": "inconclusive"}
"""Answer -> the outcome whose tone and icon it wears."""
CHANGES = {"better": "Better", "worse": "Worse", "undecided": "Undecided"}

AUC = ("Attack", "Change", "AUC before", "After", "Difference", "95 % interval", "p, corrected",
       "Below the margin")  # fmt: skip
TOP = ("Attack", "Change", "Members before", "After", "Before alone", "After alone",
       "Difference of shares", "95 % interval", "p, corrected")  # fmt: skip
RULES = ("Rule", "Before", "After")
ACCURACY = ("Accuracy on", "Change", "Before", "After", "Difference", "95 % interval")
QUALITY = ("Metric", "Change", "Before", "After", "Difference", "95 % interval", "To be read with")
EXTRACTION = ("Attack", "Change", "Records before", "After", "Before alone", "After alone",
              "Difference of shares", "95 % interval", "p, corrected")  # fmt: skip

READING: tuple[tuple[str, str], ...] = (
    (
        "Differences are after minus before, on the same records.",
        "Pairing takes out what the records have in common, so a change is seen with fewer "
        "records than either AUC alone would need.",
    ),
    (
        "Better and worse are claims, undecided is none.",
        "A change is claimed only where its interval leaves zero out and its p-value, corrected "
        "over all attacks and leak metrics together, is at most the error that is allowed.",
    ),
    (
        "No worse is a claim too.",
        "It needs the upper limit of every AUC difference below the margin. A difference that is "
        "not shown is not a difference that is absent.",
    ),
    (
        "Members at the top are counted at the thresholds that this sample set.",
        "Their interval holds for these thresholds. A change is claimed only if exchanging the "
        "two models record by record, thresholds included, rarely gives as large a difference.",
    ),
    (
        "A better figure is no proof of absence.",
        "It speaks for the attacks that were run, at the access that they had. A change that "
        "hides records from one attack may leave them to another.",
    ),
)


def auc_row(one: AttackChange) -> tuple[str, ...]:
    """The cells of `AUC`."""
    auc = one.auc
    return (
        clean(one.attack, 60) + _turned(one),
        CHANGES[auc.change],
        decimal(auc.before),
        decimal(auc.after),
        signed(auc.difference.value),
        limits(auc.difference.low, auc.difference.high),
        p_value(auc.p_holm),
        "yes" if auc.is_within_margin else "no",
    )


def top_row(one: AttackChange) -> tuple[str, ...]:
    """The cells of `TOP`."""
    top = one.top
    return (
        clean(one.attack, 60) + _turned(one),
        CHANGES[top.change],
        number(top.before),
        number(top.after),
        number(top.before_alone),
        number(top.after_alone),
        signed_share(top.difference.value),
        share_limits(top.difference.low, top.difference.high),
        p_value(top.p_holm),
    )


def extraction_row(one: ExtractionChange) -> tuple[str, ...]:
    """The cells of `EXTRACTION`."""
    return (
        clean(one.attack, 60),
        CHANGES[one.change],
        f"{number(one.before)} of {number(one.n_before)}",
        f"{number(one.after)} of {number(one.n_after)}",
        number(one.before_alone),
        number(one.after_alone),
        signed_share(one.difference.value),
        share_limits(one.difference.low, one.difference.high),
        p_value(one.p_holm),
    )


def accuracy_row(one: AccuracyChange) -> tuple[str, ...]:
    """The cells of `ACCURACY`; on members nothing is better or worse."""
    return (
        one.group,
        CHANGES[one.change] if one.group == "nonmembers" else DASH,
        share(one.before.value),
        share(one.after.value),
        signed_share(one.difference.value),
        share_limits(one.difference.low, one.difference.high),
    )


def quality_row(one: QualityChange) -> tuple[str, ...]:
    """The cells of `QUALITY`."""
    d = one.difference
    return (
        clean(one.metric, 60),
        CHANGES[one.change],
        *(DASH if e.value is None else f"{e.value:.4g}" for e in (one.before, one.after)),
        DASH if d.value is None else f"{d.value:+.3g}",
        DASH if d.low is None or d.high is None else f"{d.low:+.3g} to {d.high:+.3g}",
        clean(one.note, 300),
    )


def quality_note(one: Quality) -> str:
    """How the images were drawn and compared."""
    return (
        f"{number(one.n_images)} images of each model from the same captions and seeds "
        f"({number(one.steps)} steps, guidance {number(one.guidance)}), beside "
        f"{number(one.n_real)} real pictures. KID and FID: lower is better. Compared by "
        f"{clean(one.features, 200)}. {clean(one.limits, 300)} It shows what a change costs and "
        "does not enter the answer."
    )


def rule_row(one: RulePair) -> tuple[str, ...]:
    """The cells of `RULES`."""
    return (clean(one.rule, 40), *(
        "Reported" if outcome is None else OUTCOMES[outcome] for outcome in (one.before, one.after)
    ))  # fmt: skip


def verdict_row(record: CompareRecord) -> tuple[str, ...]:
    """The overall verdicts, as a row of `RULES`."""
    return ("verdict", OUTCOMES[record.before.outcome], OUTCOMES[record.after.outcome])


def top_note(record: CompareRecord) -> str:
    """Which members are counted."""
    top = record.attacks[0].top
    above = "every nonmember" if top.rank == 1 else f"the nonmember of rank {number(top.rank)}"
    return f"Members above {above}: at most {rate(top.fpr)} of nonmembers lie higher."


def facts(record: CompareRecord) -> tuple[tuple[str, str], ...]:
    """Names and values of the strip under the answer."""
    p = record.pairing
    return (
        ("Members, paired", number(p.n_members)),
        ("Nonmembers, paired", number(p.n_nonmembers)),
        ("Attacks, paired", number(len(record.attacks))),
        ("Margin on AUC", number(record.margin)),
        ("Before", OUTCOMES[record.before.outcome]),
        ("After", OUTCOMES[record.after.outcome]),
    )


def signed(value: float | None) -> str:
    """A difference of AUCs."""
    return DASH if value is None else f"{value:+.3f}"


def limits(low: float | None, high: float | None) -> str:
    """Limits of a difference of AUCs."""
    return f"{signed(low)} to {signed(high)}"


def signed_share(value: float | None) -> str:
    """A difference of shares, in points."""
    return DASH if value is None else f"{100 * value:+.2f}"


def share_limits(low: float | None, high: float | None) -> str:
    """Limits of a difference of shares, in points."""
    return f"{signed_share(low)} to {signed_share(high)} points"


def _turned(one: AttackChange) -> str:
    sides = [
        word
        for word, is_reversed in (
            ("before", one.is_reversed_before),
            ("after", one.is_reversed_after),
        )
        if is_reversed
    ]
    return f" (1 - AUC {' and '.join(sides)})" if sides else ""
