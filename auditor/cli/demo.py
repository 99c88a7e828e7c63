"""`auditor demo`: audit the bundled model on real data, in minutes, without a network."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Annotated

import typer

from auditor.cli.console import Debug, plain, stdout


def demo(
    out: Annotated[Path, typer.Option(help="Directory for models, records and audits.")] = Path(
        "demo-audit"
    ),
    debug: Debug = False,
) -> None:
    """Audit a small model that memorized planted records, and a twin that never saw them.

    Example: auditor demo --out demo-audit
    """
    from auditor.demo.assets import materialise
    from auditor.demo.data import write_records

    _clear(out)
    for name in ("memorized", "clean"):
        materialise(name, out / "models" / name)
    records = write_records(out / "records")
    outcomes = {}
    commands: list[list[str]] = []
    for name in ("memorized", "clean"):
        words = ["scan", "model", str(out / "models" / name)]
        words += ["--members", str(records.members), "--nonmembers", str(records.nonmembers)]
        commands.append([*words, "--out", str(out / name)])
        outcomes[name] = _run(commands[-1])
    commands.append(["report", str(out / "memorized" / "audit.json"), "--format", "md"])
    _run(commands[-1])
    stdout.print("\n[bold]The three commands that ran[/]")
    for words in commands:
        stdout.print(f"  auditor {plain(' '.join(words))}")
    stdout.print(f"\n[bold]Report[/]  {plain((out / 'memorized' / 'report.html').absolute())}")
    _check(outcomes)


def _run(words: list[str]) -> int:
    """Run a verb in this process, as the command line would; returns its exit code."""
    from auditor.cli.app import app

    stdout.print(f"\n[bold]$ auditor {plain(' '.join(words))}[/]")
    return int(app(words, standalone_mode=False) or 0)


def _clear(out: Path) -> None:
    """Remove what an earlier demo left, and nothing else."""
    for part in ("models", "records", "memorized", "clean"):
        shutil.rmtree(out / part, ignore_errors=True)


def _check(outcomes: dict[str, int]) -> None:
    from attacks.errors import InternalError

    if outcomes["memorized"] != 1 or outcomes["clean"] not in (0, 3):
        raise InternalError(
            f"the demo did not end as it should: exit codes {outcomes}, expected 1 for the model "
            "that memorized and 0 or 3 for its twin"
        )
