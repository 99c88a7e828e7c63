"""`auditor report`: render an audit again, without the model."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from auditor.cli.console import Debug, plain, stdout


def report(
    audit_json: Annotated[Path, typer.Argument(help="An audit.json.")],
    formats: Annotated[
        str, typer.Option("--format", "-f", help="html, json, junit, sarif, md; by commas.")
    ] = "html",
    out: Annotated[
        Path | None, typer.Option("--out", help="Directory; default: beside audit.json.")
    ] = None,
    debug: Debug = False,
) -> None:
    """Render the reports of an audit again; the verdict is in the record and cannot change.

    Example: auditor report audit/audit.json --format html,junit,sarif,md
    """
    from reports.json_file import read
    from reports.render import render

    record = read(audit_json)
    wanted = tuple(name.strip() for name in formats.split(",") if name.strip())
    for path in render(record, wanted, out or audit_json.parent).values():
        stdout.print(f"wrote {plain(path)}")
