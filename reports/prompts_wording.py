"""What the reports of a scan of prompts say around the figures."""

from __future__ import annotations

from reports import text
from reports.prompts_record import DetectorFigures, PromptFigures, PromptsRecord

REFERENCES = {
    "given": "a list that the user believes not to be memorized",
    "labelled": "the prompts that the list labels as references",
    "built": "the prompts' own words in random order: a screening aid, no calibrated error rate, "
    "since a model can react to the order of words without having memorized anything",
}
BLIND = (
    "Captions alone: a classifier of words that never sees the model. Published lists of memorized "
    "and ordinary prompts can be told apart in this way, so a detector's figure means little where "
    "this one is as high."
)
READING = (
    (
        "Flagged",
        "The primary detector, fixed before any score was seen, puts the prompt above the "
        "reference prompts; on average at most one in ten flags is false, if unmemorized prompts "
        "score like the references.",
    ),
    (
        "Confirmed",
        "Images drawn from different noises are near-identical. No training image was compared: a "
        "model that draws the same picture for another reason is confirmed too, which the share of "
        "confirmed reference prompts shows.",
    ),
    (
        "Trigger tokens",
        "Share of each token in the gradient of the primary score. The texts are in the private "
        "page that `--reveal` writes.",
    ),
    (
        "Other detectors",
        "Shown beside the primary one and never part of the verdict: choosing the best of several "
        "after seeing them would find flags in any list.",
    ),
)
DETECTORS = (
    "Detector",
    "Access",
    "Flagged",
    "Smallest p",
    "AUC against references",
    "Found at 1 % false alarms",
    "Captions alone, AUC",
    "Side",
)
PROMPTS = ("Rank", "Published id", "Tokens", "Score", "p", "Flagged", "Confirmed", "Trigger tokens")


def facts(record: PromptsRecord) -> tuple[tuple[str, str], ...]:
    """The facts under the headline."""
    p, w = record.prompts, record.watched
    rule = record.rules[0]
    primary = next(one for one in record.detectors if one.is_primary)
    return (
        ("Prompts", text.number(p.n_prompts)),
        ("References", f"{text.number(p.n_references)}, {p.reference_kind}"),
        ("Flagged", text.number(primary.n_flagged)),
        ("Confirmed", text.number(rule.value)),
        ("Seeds", text.number(w.seeds)),
        ("Steps, guidance", f"{text.number(w.steps)}, {text.number(w.guidance)}"),
    )


def blind_auc(record: PromptsRecord) -> str:
    """The figure of the caption check, to stand beside every detector's."""
    if record.captions is None:
        return "not run"
    return f"{text.decimal(record.captions.auc)} (p = {text.p_value(record.captions.p_value)})"


def detector_row(record: PromptsRecord, one: DetectorFigures) -> tuple[str, ...]:
    """One detector as a row of `DETECTORS`."""
    side = one.side if one.is_directed else f"{one.side} (either end counts)"
    return (
        f"{one.detector}{', primary' if one.is_primary else ''}",
        one.access,
        text.number(one.n_flagged),
        text.p_value(one.smallest_p),
        f"{text.decimal(one.auc.value)} ({text.interval(one.auc.low, one.auc.high)})",
        text.DASH if one.tpr.value is None else text.share(one.tpr.value),
        blind_auc(record),
        side,
    )


def prompt_row(record: PromptsRecord, one: PromptFigures) -> tuple[str, ...]:
    """One prompt as a row of `PROMPTS`."""
    primary = record.watched.primary
    confirmed = "not drawn" if one.is_confirmed is None else "yes" if one.is_confirmed else "no"
    return (
        text.number(one.rank),
        one.prompt_id,
        text.number(one.n_tokens),
        text.number(one.scores[primary]),
        text.p_value(one.p_values[primary]),
        "flagged" if one.is_flagged else text.DASH,
        f"{confirmed} ({one.clique} of {record.watched.confirm_seeds})"
        if one.clique
        else confirmed,
        triggers(one),
    )


def triggers(one: PromptFigures) -> str:
    """The three strongest tokens by position."""
    strongest = sorted(one.triggers, key=lambda token: -token.share)[:3]
    found = [f"no. {token.position}: {text.share(token.share)}" for token in strongest]
    return ", ".join(found) or text.DASH
