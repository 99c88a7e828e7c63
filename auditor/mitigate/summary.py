"""The summary of a mitigation in words, `mitigation.md` beside the changed model."""

from __future__ import annotations

from attacks.wording import plural
from mitigations.manifest import Guarantee
from mitigations.record import MitigationRecord

NEXT = {
    Guarantee.FORMAL: "The bound holds if its conditions do; audit the model all the same.",
    Guarantee.TRAINING: "Nothing is proved by it: audit the model before and after.",
    Guarantee.WEIGHT_EDIT: (
        "What it was aimed at is suppressed for the audited prompts; run `auditor scan "
        "concealment` to see whether it is still there."
    ),
    Guarantee.FILTER: (
        "The weights are unchanged: the filter protects nothing once they are released, and "
        "nothing where the pipeline is loaded without it (see `mitigations.deploy`)."
    ),
}
"""Kind of protection -> what the reader has to know or do next."""


def summary(record: MitigationRecord) -> str:
    """Markdown of one record."""
    facts = [f"- {name}: {value}" for name, value in record.facts.items()]
    facts += [f"- {note}" for note in record.notes]
    if facts:
        facts.append("")
    lines = [
        f"# {record.title}",
        "",
        f"{record.id} `{record.name}`, {record.guarantee.value}. {record.limits}".rstrip(),
        "",
        NEXT[record.guarantee],
        "",
        "To judge it, audit the model before and after with the same records and seed, and compare:",
        "",
        "```",
        "auditor scan model BEFORE --members M --nonmembers N --out audit-before",
        "auditor scan model AFTER --members M --nonmembers N --out audit-after",
        "auditor compare audit-before audit-after --out comparison",
        "```",
        "",
        "## What changed",
        "",
        changed_in_words(record),
        "",
        *facts,
        "## How",
        "",
        *(f"- given: {n:,} {what}" for what, n in record.given.items()),
        *(f"- {name} = {value}" for name, value in record.config.items()),
        f"- seed {record.seed}, {record.seconds:g} s, auditor {record.tool}",
        f"- sources: {', '.join(record.references) or 'none'}",
        f"- applied to weights with the hash {record.base}",
    ]
    if record.earlier:
        before = ", ".join(f"{one.title} ({one.id})" for one in record.earlier)
        lines.append(f"- earlier mitigations of this model: {before}")
    return "\n".join(lines) + "\n"


def changed_in_words(record: MitigationRecord) -> str:
    """One sentence: how many numbers of how many parameters, or that no weight changed."""
    if not record.changed:
        return "No weight was changed."
    n_changed = sum(n for n, _ in record.changed.values())
    n_all = sum(n for _, n in record.changed.values())
    return (
        f"{n_changed:,} of {n_all:,} numbers in {plural(len(record.changed), 'parameter')} of the "
        "U-Net; every other weight keeps its bits."
    )
