"""Words that every renderer shares: outcomes, contexts of release, what a figure means.

The page makes no legal claim. It says what was run, what came out, and what was not run.
"""

from __future__ import annotations

from collections.abc import Sequence

from attacks.results import ControlResult, MembershipFinding, Outcome
from reports.record import DeclaredMitigation

NOT_ADVICE = "Evidence for a risk assessment, not legal advice."

OUTCOMES: dict[Outcome, str] = {
    Outcome.PASS: "Pass",
    Outcome.FAIL: "Fail",
    Outcome.INCONCLUSIVE: "Inconclusive",
    Outcome.INVALID: "Invalid",
}

OUTCOME_MEANS: dict[Outcome, str] = {
    Outcome.PASS: "Every limit of the policy holds for the upper bound of the leak, and the "
    "controls show that the attacks would have seen more. It speaks for the attacks that were "
    "run, on these records.",
    Outcome.FAIL: "A leak above a limit of the policy is shown beyond the chance of a false alarm "
    "that the policy allows.",
    Outcome.INCONCLUSIVE: "Neither a leak nor its absence is shown. This is not a pass.",
    Outcome.INVALID: "A control failed, so the figures below cannot be read as a leak or as its "
    "absence. This is not a pass.",
}

RELEASE: dict[str, tuple[str, str]] = {
    "public_api": (
        "Public interface",
        "Unknown people send queries and see answers; weights stay with the provider.",
    ),
    "internal": ("Internal use", "Known people inside the organisation use the model."),
    "open_weights": (
        "Published weights",
        "Anybody can hold the weights, so every access below is within reach.",
    ),
    "unspecified": (
        "Not declared",
        "Nobody declared who will reach the model. Read every access below as possible.",
    ),
}

CONTROLS: dict[str, str] = {
    "competence": "Does the model work as loaded?",
    "positive": "Would the attacks catch planted members?",
    "negative": "Do the attacks stay silent where nothing was learned?",
    "random weights": "Do the attacks stay silent on a model that learned nothing?",
    "base model": "Do they stay silent on the model before its adapter?",
    "captions": "Do the records come with the captions of the training?",
    "reference": "Does a model that saw neither group stay silent?",
    "blind": "Do the groups differ without the model?",
    "caption match": "Do the captions belong to their records?",
    "direction": "Do scores point the right way?",
}

READING: tuple[tuple[str, str], ...] = (
    (
        "An AUC of 0.55 does not mean that 5 % of records leak.",
        "It means that a random member scores above a random nonmember in 55 of 100 pairs. All "
        "members may leak a little, or a few may leak wholly: the AUC cannot tell these apart.",
    ),
    (
        "An AUC near 0.5 does not mean that nobody is exposed.",
        "If 12 of 600 members are memorized completely, the AUC is about 0.51. This is why the "
        "first rule counts single members above the highest nonmembers.",
    ),
    (
        "A share found at few false alarms is what an accuser could use.",
        "Members found (TPR) at 0.1 % false alarms (FPR) asks how many members stand out so "
        "clearly that only one nonmember in a thousand would be accused wrongly.",
    ),
    (
        "The bound decides, not the point.",
        "A pass needs the upper bound below the limit, a fail needs evidence beyond chance. In "
        "between, more records decide, and the report says how many.",
    ),
    (
        "Named members are a list with a known error rate.",
        "On average at most one in ten of the records marked as named is there by chance.",
    ),
)

ATTRIBUTES = (
    "The attack guesses a hidden column of each record with the model's help, the imputation "
    "without the model. What the model adds on records that it never saw is statistics; the leak "
    "is what it adds on members beyond that. It is shown where both its interval and that of the "
    "gain on members lie above 0. No rule of the policy judges it."
)
"""What the section on attribute inference says first."""

EXTRACTION = (
    "Prompts from both sides are drawn with many seeds, and every image is compared with every "
    "record. An image is a copy if it lies much nearer to a training record than any record that "
    "the model never saw lies to any image; it was drawn a second time to confirm it. What came "
    "back is evidence by itself, whatever the controls of the membership attacks say."
)
"""What the section on extraction says first."""

LIMITS: tuple[str, ...] = (
    "A good result speaks only for the attacks that were run, at the access that they had.",
    "A sample cannot show that the risk is insignificant for every single person: even if no "
    "member stands out, the upper bound stays above zero.",
    "Whether the records are personal data, and how severe a disclosure would be, cannot be "
    "measured here.",
    "Wrongly labelled groups spoil the result: nonmembers that were trained on hide a leak.",
)


def access_reach(finding: MembershipFinding, release: str) -> str:
    """Whether a motivated intruder has this access, given the declared release."""
    if release == "open_weights":
        return "within: the weights are published"
    if release == "internal":
        return "beyond outsiders; within for people inside"
    if finding.access == "black-box":
        return "within" if release == "public_api" else "depends on the release"
    if release == "public_api":
        return "beyond, unless the interface returns such scores or the weights get out"
    return "depends on the release"


def control_question(control: ControlResult) -> str:
    """What a control asks, in one line."""
    return CONTROLS.get(control.name, "")


def mitigated(mitigations: Sequence[DeclaredMitigation]) -> str:
    """What a declared mitigation changes in the reading of an audit."""
    text = "Scores far below chance count as a leak, since a mitigation can hide records by making "
    text += "them look less familiar than strangers."
    if any(one.guarantee == "inference filter" for one in mitigations):
        text += " An inference filter acts on the images that were drawn here and on no other "
        text += "score, and protects nothing once the weights are released."
    return text
