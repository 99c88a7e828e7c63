"""What a comparison says as a whole, with its warnings and notes."""

from __future__ import annotations

from attacks.results import ControlStatus, Outcome
from attacks.wording import plural
from auditor.compare.measure import ALPHA, Changes, is_valid_side
from auditor.compare.read import Audit, Paired
from reports import compare_record as schema
from reports.record import AuditRecord

EXIT_CODES: dict[schema.Answer, int] = {"no worse": 0, "worse": 1, "undecided": 3}


def conclude(paired: Paired, changes: Changes, *, margin: float) -> schema.Conclusion:
    """Worse if a leak metric is shown worse; no worse if every attack stays within the margin.

    An AUC cannot see a few members that stand out, so signs of these also keep "no worse" away.
    An attack or an extraction that only the first audit ran, and an audit that is invalid, leave
    the answer undecided.
    """
    worse = shown(changes, "worse")
    missing = _missing(paired, changes, margin)
    answer: schema.Answer = "worse" if worse else "undecided" if missing else "no worse"
    highest = max(one.auc.difference.high or 0.0 for one in changes.attacks)
    top = 100 * max(one.top.difference.high or 0.0 for one in changes.attacks)
    better = shown(changes, "better")
    sentence = {
        "worse": f"WORSE: {worse[0] if worse else ''} leaks more than before.",
        "no worse": "NO WORSE: by the attacks in both audits "
        f"({len(changes.attacks)}), a rise of the AUC by {margin:g} or more is excluded.",
        "undecided": "UNDECIDED: it is shown neither that the second model leaks more nor that it "
        f"leaks no more: {missing[0] if missing else ''}.",
    }[answer]
    headline = f"Largest upper limit of an AUC difference {highest:+.3f}, margin {margin:g}; of "
    headline += f"the share of members above the top nonmembers {top:+.1f} points."
    if len(worse) > 1:
        headline += f" Shown worse: {', '.join(worse)}."
    headline += f" Shown better: {', '.join(better)}." if better else " Nothing is shown better."
    return schema.Conclusion(
        answer=answer,
        sentence=sentence,
        headline=headline,
        untested=paired.after.record.verdict.untested,
        exit_code=EXIT_CODES[answer],
    )


def shown(changes: Changes, change: schema.Change) -> list[str]:
    """Every leak metric that is shown to have changed one way, in words."""
    found = [f"{one.attack} (AUC)" for one in changes.attacks if one.auc.change == change]
    found += [
        f"{one.attack} (members at the top)" for one in changes.attacks if one.top.change == change
    ]
    if changes.extraction is not None and changes.extraction.change == change:
        found.append(f"{changes.extraction.attack} (records that came back)")
    return found


def _missing(paired: Paired, changes: Changes, margin: float) -> list[str]:
    """What "no worse" lacks."""
    found = [
        f"the controls of {audit.side} failed, so its scores cannot be trusted"
        for audit in (paired.before, paired.after)
        if not is_valid_side(audit.record)
    ]
    wide = [one.attack for one in changes.attacks if not one.auc.is_within_margin]
    if wide and not found:
        found.append(
            f"the upper limit of the AUC difference is not below {margin:g} for {', '.join(wide)}"
        )
    found += [
        f"by {one.attack} more members stand above the top nonmembers than before "
        f"({one.top.before:,}, then {one.top.after:,}), before any correction"
        for one in changes.attacks
        if (one.top.difference.low or 0.0) > 0 and max(one.top.p_interval, one.top.p_swap) <= ALPHA
    ]
    first, second = (
        {rule.rule for rule in audit.record.rules if rule.outcome is Outcome.FAIL}
        for audit in (paired.before, paired.after)
    )
    found += [f"the rule {name} fails after and did not before" for name in sorted(second - first)]
    lost = [name for name in paired.before.scores if name not in paired.after.scores]
    if lost:
        found.append(f"only BEFORE ran {', '.join(lost)}")
    extraction = changes.extraction
    if extraction is None and paired.before.record.extraction is not None:
        found.append("only BEFORE tried to draw training records again")
    if extraction is not None and extraction.after > extraction.before:
        found.append("more training records came back out than before")
    return found


def warnings(paired: Paired, changes: Changes) -> tuple[str, ...]:
    """What a reader must not overlook."""
    found = []
    for one in changes.attacks:
        if not one.is_reversed_after:
            continue
        text = f"{one.attack} is reversed after: AUC {one.auc.after:.3f}, shown to be far below "
        text += "chance. Scores below chance tell members apart as well as scores above it"
        direction = {c.name: c.status for c in paired.after.record.controls}.get("direction")
        if direction is ControlStatus.WARNING:
            text += "; the target declares a mitigation, so this counts as a leak"
        found.append(f"{text}. Its difference is that of 1 - AUC.")
    for audit in (paired.before, paired.after):
        if not is_valid_side(audit.record):
            found.append(
                f"A control of {audit.side} failed: its membership figures are shown, and nothing "
                "is decided by them."
            )
    extraction = changes.extraction
    if extraction is not None and extraction.after_alone:
        found.append(
            f"{plural(extraction.after_alone, 'training record')} came back out after the change "
            "and not before."
        )
    return tuple(found)


def notes(paired: Paired, changes: Changes) -> tuple[str, ...]:
    """What differs between the two audits beside the model, and what was left out."""
    before, after = paired.before.record, paired.after.record
    found = _settings(before, after)
    if paired.before.sha256 == paired.after.sha256:
        found.append("BEFORE and AFTER are the same audit.")
    for audit, rows in zip((paired.before, paired.after), paired.rows, strict=True):
        left = audit.ids.size - rows.size
        if left:
            found.append(f"{plural(left, 'record')} of {audit.side} alone were left out.")
    for ours, theirs in ((paired.before, paired.after), (paired.after, paired.before)):
        alone = _alone(ours, theirs)
        if alone:
            found.append(f"Only {ours.side} ran {', '.join(alone)}.")
    if (before.extraction is None) != (after.extraction is None):
        side = "AFTER" if before.extraction is None else "BEFORE"
        found.append(f"Only {side} tried to draw training records again.")
    if changes.extraction is not None and changes.extraction.before_alone is None:
        found.append("The records that came back could not be paired; their interval is unpaired.")
    if changes.accuracy:
        found.append("Accuracy is compared without pairing, so its interval is wide.")
    return tuple(found)


def _alone(ours: Audit, theirs: Audit) -> list[str]:
    return [name for name in ours.scores if name not in theirs.scores]


def _settings(before: AuditRecord, after: AuditRecord) -> list[str]:
    pairs = {
        "policy": (before.policy.sha256[:12], after.policy.sha256[:12]),
        "seed": (before.seed, after.seed),
        "precision": (before.environment.precision, after.environment.precision),
        "architecture": (before.target.architecture, after.target.architecture),
        "version of auditor": (before.tool.version, after.tool.version),
    }
    return [
        f"The {what} differs: {a} before, {b} after." for what, (a, b) in pairs.items() if a != b
    ]
