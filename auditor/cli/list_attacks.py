"""`auditor list`: what can be run."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.table import Table

from auditor.cli.console import Debug, plain, stdout


def list_attacks(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    debug: Debug = False,
) -> None:
    """List the attacks: name, access, what they cost and whether they run by default.

    Example: auditor list
    """
    import dataclasses
    import json

    from attacks.registry import all_attacks, broken_attacks

    manifests = [found.MANIFEST for found in all_attacks()]
    if as_json:
        typer.echo(json.dumps([dataclasses.asdict(m) for m in manifests], indent=2))
        return
    table = Table("id", "name", "attack", "target", "access", "runs", box=None, pad_edge=False)
    for m in manifests:
        when = "by default" if m.tier.value == "default" else "when named"
        table.add_row(
            m.id,
            m.name,
            m.title,
            m.family,
            m.access.value,
            when + (", fitted" if m.fitted else ""),
        )
    stdout.print(table)
    for name, reason in broken_attacks().items():
        stdout.print(f"[yellow]{plain(name)} cannot be used:[/] {plain(reason)}")
    stdout.print("\n`auditor explain NAME` tells how an attack works and when it lies.")
