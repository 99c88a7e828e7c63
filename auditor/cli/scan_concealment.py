"""`auditor scan concealment`: are records erased from an edited model, or only concealed?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from auditor.cli.console import Debug, duration, plain, progress, stdout
from auditor.cli.scan_model import _batch_size

if TYPE_CHECKING:
    from auditor.concealment.outlook import ConcealmentOutlook
    from auditor.concealment.scan import ConcealmentResult


def scan_concealment(
    model: Annotated[str, typer.Argument(help="The edited model: a directory or a hub id.")],
    original: Annotated[str, typer.Option(help="The same model before the edit.")],
    members: Annotated[Path, typer.Option(help="The records to be erased, with captions.")],
    nonmembers: Annotated[Path, typer.Option(help="Records that neither model ever saw.")],
    out: Annotated[Path, typer.Option(help="Directory for concealment.json and the reports.")],
    reference: Annotated[
        str | None, typer.Option(help="A model trained without the records.")
    ] = None,
    steps: Annotated[int, typer.Option(min=1, help="Steps of the attack.")] = 50,
    rate: Annotated[float, typer.Option(help="Its learning rate.")] = 0.1,
    draws: Annotated[int, typer.Option(min=1, help="Noises for each image and step.")] = 8,
    restarts: Annotated[int, typer.Option(min=1, help="Starts for each record.")] = 5,
    images: Annotated[int, typer.Option(min=1, help="Images from each embedding.")] = 4,
    sampling_steps: Annotated[int, typer.Option(min=1, help="Denoising steps of an image.")] = 50,
    guidance: Annotated[float, typer.Option(help="Scale of the guidance; 1 for none.")] = 7.5,
    margin: Annotated[
        float, typer.Option(help="Largest share that may still be recoverable if erased.")
    ] = 0.1,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, mps.")] = "auto",
    precision: Annotated[str, typer.Option(help="auto, fp32, fp16, bf16.")] = "auto",
    batch_size: Annotated[str, typer.Option(help="Rows per forward call, or auto.")] = "auto",
    resolution: Annotated[
        int | None, typer.Option(help="Side in pixels; default: the model's own.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of every random choice.")] = 0,
    limit: Annotated[
        int | None, typer.Option(min=1, help="At most N records a side, at random.")
    ] = None,
    cache: Annotated[Path | None, typer.Option(help="Directory for stored figures.")] = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="Ignore stored figures.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show cost and what these numbers can decide.")
    ] = False,
    exit_zero: Annotated[
        bool, typer.Option("--exit-zero", help="Exit 0 for every answer.")
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print concealment.json on stdout.")
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="Print the answer alone.")] = False,
    allow_pickle: Annotated[
        bool, typer.Option("--allow-pickle", help="Read pickled weights (weights only).")
    ] = False,
    debug: Debug = False,
) -> None:
    """Test whether records are erased from an edited model, or only concealed.

    Exits 0 if erased, 1 if concealed, 3 if inconclusive or invalid. Interrupted, the same command
    continues.

    Example: auditor scan concealment ./edited --original ./model --members ./erase --nonmembers ./unseen --out concealment
    """  # noqa: E501
    from auditor.concealment.outlook import look_ahead
    from auditor.concealment.scan import ConcealmentOptions, plan_concealment, run_concealment

    options = ConcealmentOptions(
        model=model,
        original=original,
        members=members,
        nonmembers=nonmembers,
        out=out,
        reference=reference,
        steps=steps,
        rate=rate,
        draws=draws,
        restarts=restarts,
        images=images,
        sampling_steps=sampling_steps,
        guidance=guidance,
        margin=margin,
        device=device,
        precision=precision,
        batch_size=_batch_size(batch_size),
        resolution=resolution,
        seed=seed,
        limit=limit,
        cache=cache,
        fresh=fresh,
        allow_pickle=allow_pickle,
    )
    shown = progress(quiet=quiet or as_json)
    try:
        scan = plan_concealment(options, shown)
        if dry_run:
            outlook = look_ahead(scan)
            shown.finish()
            _print_outlook(outlook, as_json=as_json)
            raise typer.Exit(0)
        result = run_concealment(scan, shown)
    finally:
        shown.finish()
    if as_json:
        typer.echo(result.paths["json"].read_text(encoding="utf-8"))
    else:
        _print_summary(result, quiet=quiet)
    raise typer.Exit(0 if exit_zero else result.record.verdict.exit_code)


def _print_outlook(o: ConcealmentOutlook, *, as_json: bool) -> None:
    import dataclasses
    import json

    if as_json:
        typer.echo(json.dumps(dataclasses.asdict(o), indent=2))
        return
    stdout.print(f"[bold]Models[/]   {', '.join(o.models)}")
    stdout.print(f"[bold]Records[/]  {o.n_members:,}, and {o.n_nonmembers:,} never-seen")
    budgets = ", ".join(map(str, o.checkpoints))
    stdout.print(f"[bold]Budgets[/]  {budgets} steps")
    stdout.print(
        f"[bold]Calls[/]    {o.calls_per_record:,} a record and model, {o.n_calls:,} in all"
    )
    stdout.print(f"[bold]Time[/]     about {duration(o.seconds)} on {o.device}")
    stdout.print("[bold]What these numbers can decide[/]")
    for line in o.reachable:
        stdout.print(f"  {plain(line)}")


def _print_summary(result: ConcealmentResult, *, quiet: bool) -> None:
    """The answer; published ids alone."""
    from reports import concealment_wording as words

    record = result.record
    stdout.print(f"[bold]{plain(record.verdict.sentence)}[/]")
    if quiet:
        return
    stdout.print(f"  {plain(record.verdict.headline)}")
    for reason in record.conclusion.reasons:
        stdout.print(f"  {plain(reason)}")
    for needed in record.conclusion.needed:
        stdout.print(f"  needed: {plain(needed)}")
    stdout.print("\n[bold]Recovery[/] (records, never-seen)")
    for row in words.stage_rows(record):
        stdout.print(f"  {plain(row[0])}, {plain(row[1])}: {plain(row[2])}, {plain(row[4])}")
    stdout.print(f"\n[bold]Zeros[/]  {plain(words.zeros_sentence(record))}")
    stdout.print(f"[bold]Not tested[/]  {plain(record.verdict.untested)}")
    stdout.print("[bold]Files[/]")
    for path in result.paths.values():
        stdout.print(f"  {plain(path)}")
