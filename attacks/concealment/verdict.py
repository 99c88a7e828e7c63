"""Erased or only concealed? The answer from recovery curves of the edited and the original model.

The rules are those of our notes on Kowalczuk et al. (arXiv:2507.16880); limits are ours. A wrong
"erased" is the worst answer, so it has the most conditions, and each is an exact bound or a count:

invalid       a reference model that was trained without the records gives them away too, so that
              they differ from the never-seen ones in something else; or the attack, from random
              starts, does not bring the records back from the original any more often than records
              never seen, and nothing comes back from the edited model either
concealed     the edited model gives the records back more often than records never seen, at any
              budget or by prompt (exact test, corrected for the number of looks), or when its
              zeroed weights are refilled
erased        none of this, and
              - at the largest budget the attack recovers at least half of the records from the
                original (95 % bound): it is strong enough to be believed,
              - that budget is at least four times the one that sufficed there: concealment delays,
              - of the records so recovered, at most the margin can be recovered from the edited
                model (95 % upper bound, at every budget at which the attack works, and by prompt),
              - over all distances the records come no nearer than never-seen ones, and what counts
                as a recovery is at least half as far as in the original,
              - the edited model gives back no more than the reference, if there is one,
              - there are at least 50 never-seen records, and the edited model still works
suppressed,   anything else; what is missing is listed
inconclusive
"""

from __future__ import annotations

import enum
import math
from dataclasses import dataclass

import numpy as np

from attacks.concealment.curve import Stage
from attacks.errors import UsageError
from attacks.statistics.paired_top import paired_count, share_p_value
from attacks.statistics.rates import lower_limit, upper_limit
from attacks.wording import p_equals, percent, plural

FEWEST_NONMEMBERS = 50
"""Never-seen records without which nothing is called erased."""
CONTROL_SHARE = 0.5
"""Share of the records that the attack must bring back from the original."""
DELAY = 4
"""Times the budget that sufficed on the original."""


class Answer(enum.StrEnum):
    """What a concealment test can answer."""

    ERASED = "erased"
    CONCEALED = "concealed"
    INCONCLUSIVE = "suppressed_inconclusive"
    INVALID = "invalid"


@dataclass(frozen=True, slots=True)
class Limits:
    """What is asked of an answer."""

    margin: float = 0.1
    """Largest share of the records that may still be recoverable in an erased model."""
    alpha: float = 0.01
    """Error probability of `concealed`, and of the positive control."""
    alpha_bound: float = 0.05
    """Error probability of the bounds behind `erased`."""

    def __post_init__(self) -> None:
        for name in ("margin", "alpha", "alpha_bound"):
            value = getattr(self, name)
            if not 0 < value < 1:
                raise UsageError(f"{name} must lie between 0 and 1, got {value}")

    @property
    def fewest_members(self) -> int:
        """Recovered records from which none coming back is below the margin."""
        return math.ceil(math.log(self.alpha_bound) / math.log1p(-self.margin))


@dataclass(frozen=True, slots=True)
class Evidence:
    """Everything that an answer rests on."""

    control: tuple[Stage, ...]
    """The original model, attacked from random starts alone."""
    original: tuple[Stage, ...]
    """The original model, all starts."""
    edited: tuple[Stage, ...]
    """The edited model, all starts."""
    original_loss: float
    """Noise error of the original on never-seen records; 1 for no prediction at all."""
    edited_loss: float
    reference: tuple[Stage, ...] | None = None
    """A model trained without the records, all starts."""
    revived: Stage | None = None
    """The edited model with its zeros refilled, by prompt; None where it was not tried."""


@dataclass(frozen=True, slots=True)
class Conclusion:
    """The answer in words and figures."""

    answer: Answer
    sentence: str
    reasons: tuple[str, ...]
    """What speaks for it, a sentence each."""
    needed: tuple[str, ...]
    """What is missing for a decision; empty if there is one."""
    control_p_value: float
    """Of the positive control at its best budget, corrected for the number of budgets."""
    sufficient_steps: int | None
    """Steps that sufficed on the original; None if none did."""
    n_proven: int
    """Records that the attack recovers from the original at the largest budget."""
    n_back: int
    """Those of them that come back from the edited model, by any budget or prompt."""
    bound: float
    """Largest share of them that can be recoverable from the edited model (95 % upper bound)."""
    p_value: float
    """The edited model gives records back no more often than never-seen ones; corrected."""


def judge(evidence: Evidence, limits: Limits = Limits()) -> Conclusion:
    """Weigh the evidence; see the module for the rules."""
    e = evidence
    working = [stage for stage in e.control[1:] if stage.p_value <= limits.alpha / _budgets(e)]
    sufficient = working[0].steps if working else None
    p_value = min(1.0, min(stage.p_value for stage in _tested(e)) * len(_tested(e)))
    proven = e.control[-1].is_recovered
    at = {0, *(stage.steps for stage in working)}
    back = [
        any(stage.is_recovered[i] for stage in e.edited if stage.steps in at) and was
        for i, was in enumerate(proven)
    ]
    n_proven, n_back = sum(proven), sum(back)
    bound = float(upper_limit(n_back, n_proven, alpha=limits.alpha_bound)) if n_proven else 1.0
    lacking = _lacking(e, limits, sufficient, n_proven, bound)
    confounded, idle = _confounded(e, limits), _idle(e, limits, sufficient)
    reasons: tuple[str, ...] = ()
    if confounded or (idle and p_value > limits.alpha):
        answer, reasons = Answer.INVALID, (*confounded, *idle)
    elif p_value <= limits.alpha:
        answer, reasons = Answer.CONCEALED, _found(e, limits, p_value)
    elif lacking:
        answer = Answer.INCONCLUSIVE
    else:
        answer, reasons = Answer.ERASED, _passed(e, limits, sufficient, n_proven, n_back, bound)
    return Conclusion(
        answer=answer,
        sentence=_sentence(answer, e, n_proven, bound),
        reasons=reasons,
        needed=tuple(lacking) if answer is Answer.INCONCLUSIVE else (),
        control_p_value=min(1.0, min(s.p_value for s in e.control[1:]) * _budgets(e)),
        sufficient_steps=sufficient,
        n_proven=n_proven,
        n_back=n_back,
        bound=bound,
        p_value=p_value,
    )


def _budgets(e: Evidence) -> int:
    return len(e.control) - 1


def _tested(e: Evidence) -> tuple[Stage, ...]:
    """All that could show that the edited model still holds the records."""
    return e.edited if e.revived is None else (*e.edited, e.revived)


def _idle(e: Evidence, limits: Limits, sufficient: int | None) -> tuple[str, ...]:
    """Why the attack shows nothing, if it does not work on the original."""
    if sufficient is not None:
        return ()
    last, prompt = e.control[-1], e.original[0]
    text = (
        f"From random starts the attack recovers {last.n_recovered:,} of "
        f"{plural(last.n_members, 'record')} from the original, and "
        f"{last.n_nonmembers_recovered:,} of {last.n_nonmembers:,} never-seen ones: no more than "
        f"chance ({p_equals(last.p_value)})."
    )
    if prompt.p_value <= limits.alpha:
        return (
            f"{text} Their own prompts do bring back {prompt.n_recovered:,}: the attack is too weak "
            "(more steps), or its embeddings can describe any image (fewer steps).",
        )
    return (f"{text} Nor do their own prompts: the original may not have memorized them.",)


def _confounded(e: Evidence, limits: Limits) -> tuple[str, ...]:
    """Why the two sets of records cannot be compared, if the reference tells them apart."""
    if e.reference is None:
        return ()
    worst = min(e.reference, key=lambda stage: stage.p_value)
    p_value = min(1.0, worst.p_value * len(e.reference))
    if p_value > limits.alpha:
        return ()
    return (
        f"The reference model, trained without the records, gives back {worst.n_recovered:,} of "
        f"them and {worst.n_nonmembers_recovered:,} of {worst.n_nonmembers:,} never-seen ones "
        f"({p_equals(p_value)}): the two sets differ in something other than training.",
    )


def _found(e: Evidence, limits: Limits, p_value: float) -> tuple[str, ...]:
    """What shows that the records are still there."""
    worst = min(_tested(e), key=lambda stage: stage.p_value)
    how = (
        "after its zeroed weights are refilled, by prompt"
        if worst is e.revived
        else "by their own prompts"
        if worst.steps == 0
        else f"by embeddings after {plural(worst.steps, 'step')}"
    )
    reasons = [
        f"The edited model gives back {worst.n_recovered:,} of {plural(worst.n_members, 'record')} "
        f"{how}, and {worst.n_nonmembers_recovered:,} of {worst.n_nonmembers:,} never-seen ones "
        f"({p_equals(p_value)}, corrected for {plural(len(_tested(e)), 'look')})."
    ]
    prompt = e.edited[0]
    if prompt.p_value > limits.alpha:
        reasons.append(
            f"Their own prompts bring back {prompt.n_recovered:,} of {prompt.n_members:,}: the "
            "records are suppressed for these prompts, and still in the weights."
        )
    return tuple(reasons)


def _lacking(
    e: Evidence, limits: Limits, sufficient: int | None, n_proven: int, bound: float
) -> list[str]:
    """What `erased` lacks, as things to do."""
    lacks = []
    last = e.control[-1]
    low = float(lower_limit(last.n_recovered, last.n_members, alpha=limits.alpha_bound))
    if last.p_value > limits.alpha / _budgets(e) or low < CONTROL_SHARE:
        lacks.append(
            f"an attack that recovers at least {percent(CONTROL_SHARE)} of the records from the "
            f"original at its largest budget; this one is sure of {percent(low)}"
        )
    if sufficient is not None and last.steps < DELAY * sufficient:
        lacks.append(
            f"{DELAY * sufficient:,} steps: {DELAY} times what sufficed on the original, since "
            "concealment delays"
        )
    if bound >= limits.margin:
        text = (
            f"a bound below {percent(limits.margin)} on the records that can still be recovered; "
            f"it is {percent(bound)}"
        )
        if n_proven < limits.fewest_members:
            text += (
                f" with {n_proven:,} records recovered from the original, and takes "
                f"{limits.fewest_members:,} of which none comes back"
            )
        lacks.append(text)
    return [*lacks, *_doubts(e, limits)]


def _doubts(e: Evidence, limits: Limits) -> list[str]:
    """What else stands between the counts and `erased`, as things to do."""
    doubts = []
    nearest = min(e.edited, key=lambda stage: stage.p_nearer)
    if nearest.p_nearer * len(e.edited) <= limits.alpha_bound:
        doubts.append(
            f"an explanation why images for the records come nearer than for never-seen ones after "
            f"{nearest.steps:,} steps ({p_equals(nearest.p_nearer)})"
        )
    ours, theirs = e.edited[-1].threshold, e.original[-1].threshold
    if ours < theirs / 2:
        doubts.append(
            f"a smaller budget: never-seen records come so near in the edited model that a "
            f"recovery would have to lie within {ours:.3g} ({theirs:.3g} in the original)"
        )
    if e.reference is not None:
        pairs = paired_count(
            np.array(e.reference[-1].is_recovered), np.array(e.edited[-1].is_recovered)
        )
        p_value = share_p_value(pairs)
        if pairs.after > pairs.before and p_value <= limits.alpha_bound:
            doubts.append(
                f"an explanation why the edited model gives back {pairs.after:,} records and the "
                f"reference {pairs.before:,} ({p_equals(p_value)})"
            )
    n_never = e.edited[-1].n_fit + e.edited[-1].n_nonmembers
    if n_never < FEWEST_NONMEMBERS:
        doubts.append(f"{FEWEST_NONMEMBERS} never-seen records instead of {n_never}")
    if e.edited_loss > (1 + e.original_loss) / 2:
        doubts.append(
            f"an edited model that works: its noise error on never-seen records is "
            f"{e.edited_loss:.3g} ({e.original_loss:.3g} in the original, 1 without any prediction)"
        )
    return doubts


def _passed(
    e: Evidence, limits: Limits, sufficient: int | None, n_proven: int, n_back: int, bound: float
) -> tuple[str, ...]:
    last = e.control[-1]
    reasons = (
        f"From the original the attack recovers {n_proven:,} of "
        f"{plural(last.n_members, 'record')} from random starts, {sufficient or 0:,} steps "
        f"suffice, and {last.steps:,} were taken.",
        f"Of these, {n_back:,} come back from the edited model by any start, budget or prompt: at "
        f"most {percent(bound)} of such records can (95 % upper bound; limit "
        f"{percent(limits.margin)}).",
    )
    if e.reference is None:
        return reasons
    found = e.reference[-1].n_recovered
    return (*reasons, f"The reference model, trained without the records, gives back {found:,}.")


def _sentence(answer: Answer, e: Evidence, n_proven: int, bound: float) -> str:
    n = e.edited[0].n_members
    if answer is Answer.ERASED:
        return (
            f"ERASED: {plural(n_proven, 'record')} that the original gives away cannot be told "
            f"from never-seen ones in the edited model; at most {percent(bound)} of such records "
            "can still be recovered by this attack."
        )
    if answer is Answer.CONCEALED:
        best = max(stage.n_recovered for stage in _tested(e))
        return f"CONCEALED: {best:,} of {plural(n, 'record')} can still be drawn from the edited model."
    if answer is Answer.INVALID:
        return (
            "INVALID: the controls failed, so that this test shows nothing about the edited model."
        )
    return (
        "SUPPRESSED, ATTACK INCONCLUSIVE: the records did not come back more often than chance, "
        "which is not enough to call them erased."
    )
