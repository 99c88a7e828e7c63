"""`auditor scan method`: audit a published method beside the same model without its mechanism."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from auditor.cli.console import Debug, plain, progress, stdout

if TYPE_CHECKING:
    from auditor.method_scan import MethodScanResult
    from reports.method_record import MethodRecord


def scan_method(
    name: Annotated[str, typer.Argument(help="A method of `auditor list --methods`.")],
    trials: Annotated[int, typer.Option(help="Seeds, at least 3.")] = 3,
    quick: Annotated[bool, typer.Option("--quick", help="Smaller data, for a first look.")] = False,
    out: Annotated[
        Path | None, typer.Option(help="Directory for method.json and the reports.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the first trial.")] = 0,
    cache: Annotated[Path | None, typer.Option(help="Directory for finished trials.")] = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="Ignore finished trials.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print method.json on stdout.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="Print the answer alone.")] = False,
    debug: Debug = False,
) -> None:
    """Audit a method: is its claim there, and does it leak more or less than without it?

    Exits 0 when the claim was reproduced, 3 when it was not or a control failed.

    Example: auditor scan method memo --quick --out audit-memo
    """
    from auditor.method_scan import MethodScanOptions, scan_method

    options = MethodScanOptions(
        name, trials=trials, quick=quick, out=out, seed=seed, cache=cache, fresh=fresh
    )
    shown = progress(quiet=quiet or as_json)
    try:
        result = scan_method(options, shown)
    finally:
        shown.finish()
    if as_json:
        from reports.method_json import render

        typer.echo(render(result.record), nl=False)
    else:
        print_method(result, quiet=quiet)
    raise typer.Exit(result.record.answer.exit_code)


def print_method(result: MethodScanResult, *, quiet: bool = False) -> None:
    """Print what a person needs: the answer, the claim by seed, the leak, the question, controls."""
    record = result.record
    style = "bold green" if record.answer.exit_code == 0 else "bold yellow"
    stdout.print(f"[{style}]{plain(record.answer.sentence)}[/]")
    if quiet:
        return
    _print_tables(record)
    stdout.print("\n[bold]Controls[/]")
    for control in record.controls:
        stdout.print(f"  {control.status.value:8} {plain(control.name)}: {plain(control.summary)}")
    if result.paths:
        stdout.print("\n[bold]Files[/]")
        for path in result.paths.values():
            stdout.print(f"  {plain(path)}")
    stdout.print(f"\n[bold]Not tested:[/] {plain(record.answer.untested)}")


def _print_tables(record: MethodRecord) -> None:
    from reports import method_markdown, method_text

    stdout.print(f"\n[bold]Claim[/] {plain(record.method.claim)}")
    _table(method_markdown.CLAIM, method_text.claim_rows(record.claim))
    held = "holds" if record.claim.holds else "does not hold"
    stdout.print(f"  {held}: {plain(record.claim.rule)}")
    for check in record.claim.checks:
        stdout.print(f"  {'yes' if check.passed else 'no':3} {plain(check.name)}")
    stdout.print("\n[bold]Leak[/]")
    if record.leak is None:
        stdout.print(f"  {plain(record.leak_missing)}")
    else:
        _table(method_markdown.COMPARISONS, method_text.comparison_rows(record.leak))
        stdout.print(f"  test accuracy: {plain(method_text.utility_row(record.leak))}")
        stdout.print(f"  canaries found: {plain(method_text.canary_row(record.leak))}")
    stdout.print(f"\n[bold]Own question[/] {plain(record.method.privacy_question)}")
    _table(method_markdown.OWN, method_text.own_rows(record))


def _table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> None:
    from rich.table import Table

    table = Table(*head, box=None, pad_edge=False)
    for row in rows:
        table.add_row(*(plain(cell) for cell in row))
    stdout.print(table)
