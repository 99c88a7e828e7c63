"""The end of a scan on the console: verdict, number, rules, controls, files, and what is missing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from auditor.cli.console import plain, stdout

if TYPE_CHECKING:
    from auditor.scan import ScanResult

STYLES = {"pass": "bold green", "fail": "bold red", "invalid": "bold yellow"}
MOST_NAMED = 20


def print_summary(result: ScanResult, *, quiet: bool = False) -> None:
    """Print what a person needs; file names of named records appear here and nowhere else."""
    record = result.record
    verdict = record.verdict
    style = STYLES.get(verdict.outcome.value, "bold yellow")
    stdout.print(f"[{style}]{plain(verdict.sentence)}[/]")
    if quiet:
        return
    stdout.print(f"  {plain(verdict.headline)}\n")
    for rule in record.rules:
        outcome = rule.outcome.value if rule.outcome else "reported"
        stdout.print(f"[bold]{plain(rule.rule)}[/] {outcome}: {plain(rule.explanation)}")
        if rule.needed:
            stdout.print(f"  [dim]would decide it:[/] {plain(rule.needed)}")
    for claim in record.collections:
        stdout.print(f"[bold]{plain(claim.attack)}[/] the collection: {plain(claim.explanation)}")
    stdout.print("\n[bold]Controls[/]")
    for control in record.controls:
        stdout.print(f"  {control.status.value:8} {plain(control.name)}: {plain(control.summary)}")
    if record.target.mitigations:
        from reports import wording

        names = ", ".join(one.title for one in record.target.mitigations)
        stdout.print(
            f"\n[bold]Mitigations declared[/] {plain(names)}. "
            f"{plain(wording.mitigated(record.target.mitigations))}"
        )
    _print_named(result)
    _print_attributes(result)
    for skipped in record.inapplicable:
        stdout.print(f"  not run  {plain(skipped.attack)}: {plain(skipped.reason)}")
    stdout.print("\n[bold]Files[/]")
    for path in result.paths.values():
        stdout.print(f"  {plain(path)}")
    stdout.print(f"\n[bold]Not tested:[/] {plain(verdict.untested)}")


def _print_attributes(result: ScanResult) -> None:
    from reports import text

    for found in result.record.attributes:
        gain, leak = found.advantage_members, found.leak
        stdout.print(
            f"\n[bold]Attribute inference[/] of {plain(found.column)}: attack minus imputation on "
            f"members {text.decimal(gain.value)} ({text.interval(gain.low, gain.high)}), beyond "
            f"nonmembers {text.decimal(leak.value)} ({text.interval(leak.low, leak.high)}); "
            + ("a leak is shown" if found.is_shown else "no leak is shown")
        )


def _print_named(result: ScanResult) -> None:
    by_id = dict(zip(result.published_ids, result.records, strict=True))
    named = {
        found.record_id: found
        for finding in result.record.findings
        for found in finding.top_members
        if found.is_named
    }
    if not named:
        return
    stdout.print("\n[bold]Records that the model gives away[/] (file names appear here only)")
    for found in list(named.values())[:MOST_NAMED]:
        record = by_id[found.record_id]
        copies = f", {found.multiplicity} copies" if found.multiplicity > 1 else ""
        stdout.print(f"  {found.record_id}  {plain(record.source.place)}{copies}")
    if len(named) > MOST_NAMED:
        stdout.print(f"  and {len(named) - MOST_NAMED} more in private/records.jsonl")
