"""From flags, confirmations and controls to the verdict of a scan of prompts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from attacks.detection.flags import Q, fewest_flaggable, references_for_one
from attacks.detection.registry import PRIMARY
from attacks.results import ControlStatus, Outcome, RuleResult
from auditor.judge import EXIT_CODES

if TYPE_CHECKING:
    from auditor.prompts.scan import Detected, PromptScan

RULE = "flagged_prompts"
METRIC = "prompts that are flagged and whose images are near-identical across seeds"
INVALIDATING = ("captions alone", "random weights")
"""Controls after which flags say nothing; what a flagged prompt draws still counts."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """The verdict and the rule behind it."""

    outcome: Outcome
    exit_code: int
    rule: RuleResult
    sentence: str
    headline: str
    untested: str


def judge(scan: PromptScan, detected: Detected) -> Judgement:
    """FAIL on confirmed flags, INVALID on a failed control, PASS only where it was earned.

    Flags against references that were made of the prompts themselves never FAIL: a prompt may draw
    one picture each time because it is specific, and shuffling its words tells nothing about that.
    """
    confirmed = confirmed_prompts(scan, detected)
    n_flagged = int(detected.is_flagged[PRIMARY].sum())
    limit = scan.policy.rules.flagged_prompts.limit
    failed = [c for c in detected.controls if c.status is ControlStatus.FAILED]
    invalid = [c.summary for c in failed if c.name in INVALIDATING]
    missing = _missing(scan, detected, n_flagged)
    if len(confirmed) > limit and not scan.is_built:
        outcome, needed = Outcome.FAIL, None
    elif invalid:
        outcome, needed = Outcome.INVALID, None
    elif missing:
        outcome, needed = Outcome.INCONCLUSIVE, "; ".join(missing)
    else:
        outcome, needed = Outcome.PASS, None
    rule = RuleResult(
        rule=RULE,
        metric=METRIC,
        outcome=outcome,
        value=float(len(confirmed)),
        low=None,
        high=None,
        limit=float(limit),
        attack=PRIMARY,
        explanation=_explanation(scan, detected, n_flagged, len(confirmed), invalid),
        needed=needed,
        unit="count",
    )
    return Judgement(
        outcome=outcome,
        exit_code=EXIT_CODES[outcome],
        rule=rule,
        sentence=_sentence(outcome, len(confirmed), len(scan.suspects)),
        headline=_headline(scan, detected, n_flagged, len(confirmed)),
        untested=_untested(scan),
    )


def confirmed_prompts(scan: PromptScan, detected: Detected) -> list[int]:
    """Suspects that are flagged by the primary detector and confirmed by what they draw."""
    flags, found = detected.is_flagged[PRIMARY], detected.confirmations.by_id
    return [i for i in detected.drawn if flags[i] and found[scan.suspects[i].id].is_confirmed]


def _missing(scan: PromptScan, detected: Detected, n_flagged: int) -> list[str]:
    """What a PASS lacks, as things to do."""
    n, m = len(scan.suspects), len(scan.references)
    lacks = []
    if n_flagged:
        lacks.append(f"a look at the {n_flagged:,} flagged prompts that were not confirmed")
    if scan.is_built:
        lacks.append("reference prompts of the same style (--reference)")
    elif fewest_flaggable(n, m) > 1:
        lacks.append(f"{references_for_one(n):,} reference prompts, so that one can be flagged")
    if detected.caught_at is None or detected.caught_at > scan.policy.accepted_dose:
        lacks.append("a detector that flags planted prompts (see the positive control)")
    for control in detected.controls:
        is_needed = control.name in INVALIDATING and not (
            scan.is_built and control.name == "captions alone"
        )
        if is_needed and control.status is ControlStatus.NOT_RUN:
            lacks.append(f"the control '{control.name}', which was not run")
    if any(one.is_confirmed for one in detected.confirmations.by_id.values()):
        lacks.append("an explanation of prompts whose images are near-identical across seeds")
    return lacks


def _explanation(
    scan: PromptScan, detected: Detected, n_flagged: int, n_confirmed: int, invalid: list[str]
) -> str:
    c = detected.confirmations
    text = (
        f"{PRIMARY} flags {n_flagged:,} of {len(scan.suspects):,} prompts at a false-discovery "
        f"rate of {100 * Q:.0f} % against {len(scan.references):,} reference prompts; "
        f"{n_confirmed:,} of them draw near-identical images from different seeds "
        f"({c.convention} below {c.threshold:.3f}), as do {c.n_references_confirmed} of "
        f"{c.n_references} reference prompts that were drawn."
    )
    if invalid:
        text += f" The flags cannot be trusted: {' '.join(invalid)}"
    return text


def _sentence(outcome: Outcome, n_confirmed: int, n: int) -> str:
    if outcome is Outcome.FAIL:
        return (
            f"{n_confirmed:,} of {n:,} prompts make the model draw nearly the same image whatever "
            "the noise, as it does for what it memorized."
        )
    if outcome is Outcome.PASS:
        return (
            f"None of {n:,} prompts was flagged, and the detector would have flagged planted ones."
        )
    if outcome is Outcome.INVALID:
        return "A control failed, so that these flags say nothing about memorization."
    return f"Whether the model emits memorized images for these {n:,} prompts is not decided."


def _headline(scan: PromptScan, detected: Detected, n_flagged: int, n_confirmed: int) -> str:
    smallest = float(np.min(detected.p_values[PRIMARY]))
    captions = detected.captions
    blind = "" if captions is None else f"; captions alone reach an AUC of {captions.auc:.3f}"
    return (
        f"{n_flagged:,} prompts flagged, {n_confirmed:,} confirmed; smallest p = {smallest:.3g} "
        f"against {len(scan.references):,} references{blind}."
    )


def _untested(scan: PromptScan) -> str:
    return (
        "Prompts that are not in the list, images that only a part of the seeds reproduces, and "
        "which training image a prompt copies: that needs the training images."
    )
