"""The answer of a method's audit in words."""

from __future__ import annotations

from collections.abc import Sequence

from attacks.results import ControlResult, ControlStatus, Estimate
from auditor.methods.claims import ClaimResult
from reports import method_record as schema

UNTESTED = (
    "Extraction, attacks with hundreds of reference models, other data, and the method at the "
    "size of its paper were not tested; nothing here is a guarantee."
)

NOT_ESTABLISHED = (
    "Planted canaries were not found in the baseline, so the control is not established: these "
    "attacks are not shown to see what it remembers."
)

LEARNED_LESS = (
    "On halves of the data it learned less than its baseline, so that the comparison is not fair."
)


def as_claim(result: ClaimResult) -> schema.Claim:
    """A measured claim as it stands in the record."""
    return schema.Claim(
        metric=result.metric,
        seeds=result.seeds,
        method=result.method,
        baseline=result.baseline,
        mean=result.mean,
        sd=result.sd,
        low=result.low,
        floor=result.floor,
        holds=result.holds,
        rule=result.rule,
        description=result.description,
        checks=tuple(schema.ClaimCheck(name=c.name, passed=c.passed) for c in result.checks),
        figures=dict(result.figures),
    )


def answer_of(
    label: schema.MethodLabel,
    claim: schema.Claim,
    leak: schema.Leak | None,
    outcomes: Sequence[ControlResult],
) -> schema.MethodAnswer:
    """Claim and leak in one sentence, and the exit code.

    The code is 0 only if the claim was reproduced and no control failed.
    """
    invalid = any(one.status is ControlStatus.FAILED for one in outcomes)
    reproduced = "was reproduced" if claim.holds else "was not reproduced"
    sentence = f"The claim of {label.name} {reproduced}"
    if leak is None:
        sentence += "; its leak could not be compared with its baseline."
    elif invalid:
        sentence += "; the comparison of its leak is invalid, because a control failed."
    else:
        sentence += f"; {_leak_words(primary(leak))}."
        if any(
            one.name == "positive" and one.status is not ControlStatus.PASSED for one in outcomes
        ):
            sentence += f" {NOT_ESTABLISHED}"
    headline = f"{claim.description[:1].upper()}{claim.description[1:]}."
    if leak is not None:
        headline += f" {primary(leak).sentence} {_utility_words(leak.utility)}"
    return schema.MethodAnswer(
        reproduced=claim.holds,
        sentence=sentence,
        headline=headline,
        untested=UNTESTED,
        exit_code=0 if claim.holds and not invalid else 3,
    )


def primary(leak: schema.Leak) -> schema.Comparison:
    """The comparison that the answer rests on."""
    return next(one for one in leak.comparisons if one.is_primary)


def _leak_words(one: schema.Comparison) -> str:
    return {
        "leaks more": "it leaks more than the same model without its mechanism",
        "leaks less": "it leaks less than the same model without its mechanism",
        "undecided": "whether it leaks more or less than the same model without its mechanism "
        "is undecided",
    }[one.answer]


def _utility_words(utility: schema.Utility) -> str:
    def percent(one: Estimate) -> str:
        return f"{100 * (one.value or 0):.1f} %"

    return (
        f"Test accuracy of the compared models: {percent(utility.method)} against "
        f"{percent(utility.baseline)}; the leak is compared at these, not at equal accuracy."
    )
