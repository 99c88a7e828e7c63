"""`auditor list`: what can be run, attacks, methods and mitigations."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.table import Table

from auditor.cli.console import Debug, plain, stdout

OTHERWISE = {"attribute": "with --sensitive", "detection": "in scan prompts"}
"""How kinds of attack run that `--attacks` does not name."""


def list_attacks(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    methods: Annotated[
        bool, typer.Option("--methods", help="List the methods of `auditor scan method`.")
    ] = False,
    mitigations: Annotated[
        bool, typer.Option("--mitigations", help="List the mitigations of `auditor mitigate`.")
    ] = False,
    debug: Debug = False,
) -> None:
    """List the attacks: name, access, what they cost and whether they run by default.

    Example: auditor list
    """
    import dataclasses
    import json

    from attacks.registry import broken_attacks, manifests

    if methods:
        _list_methods(as_json=as_json)
        return
    if mitigations:
        _list_mitigations(as_json=as_json)
        return
    known = manifests()
    if as_json:
        typer.echo(json.dumps([dataclasses.asdict(m) for m in known], indent=2))
        return
    table = Table("id", "name", "attack", "target", "access", "runs", box=None, pad_edge=False)
    for m in known:
        when = "by default" if m.tier.value == "default" else "when named"
        when = OTHERWISE.get(m.kind, when)
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
    stdout.print("`auditor list --methods` lists the published methods that can be audited.")
    stdout.print("`auditor list --mitigations` lists what may make a model leak less.")


def _list_mitigations(*, as_json: bool) -> None:
    import dataclasses
    import json

    from mitigations.registry import all_mitigations

    manifests = [found.MANIFEST for found in all_mitigations()]
    if as_json:
        typer.echo(json.dumps([dataclasses.asdict(m) for m in manifests], indent=2))
        return
    table = Table("id", "name", "mitigation", "kind", "given", box=None, pad_edge=False)
    for m in manifests:
        needs = [" and ".join(m.needs), " or ".join(m.any_of)]
        given = " and ".join(one for one in needs if one) or "nothing"
        table.add_row(*(plain(cell) for cell in (m.id, m.name, m.title, m.guarantee.value, given)))
    stdout.print(table)
    stdout.print(
        "\n`auditor mitigate NAME MODEL --out DIR` applies one; `auditor explain NAME` tells"
    )
    stdout.print("how it works and what it does not protect against.")


def _list_methods(*, as_json: bool) -> None:
    import dataclasses
    import json

    from auditor.methods.registry import all_methods, broken_methods

    manifests = [found.MANIFEST for found in all_methods()]
    if as_json:
        typer.echo(json.dumps([dataclasses.asdict(m) for m in manifests], indent=2))
        return
    table = Table("name", "method", "family", "paper", box=None, pad_edge=False)
    for m in manifests:
        table.add_row(*(plain(cell) for cell in (m.name, m.title, m.family, m.reference)))
    stdout.print(table)
    for name, reason in broken_methods().items():
        stdout.print(f"[yellow]{plain(name)} cannot be used:[/] {plain(reason)}")
    stdout.print("\n`auditor scan method NAME` audits one beside the same model without it.")
