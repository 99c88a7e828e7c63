"""`auditor scan images`: are generated pictures copies of training pictures? No model is needed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from auditor.cli.console import Debug, duration, plain, progress, stdout
from auditor.cli.summary import STYLES

if TYPE_CHECKING:
    from auditor.images.outlook import ImageOutlook
    from auditor.images.scan import ImageScanResult

MOST_NAMED = 20


def scan_images(
    generated: Annotated[
        Path, typer.Argument(help="Generated pictures: a folder, Parquet, JSONL or CSV.")
    ],
    against: Annotated[Path, typer.Option(help="The pictures that the model was trained on.")],
    out: Annotated[Path, typer.Option(help="Directory for images.json and the reports.")],
    background: Annotated[
        Path | None,
        typer.Option(help="Pictures like them that it never saw; without them nothing passes."),
    ] = None,
    encoder: Annotated[
        str | None,
        typer.Option(help="pixels (built in), an SSCD TorchScript file, or open_clip:MODEL."),
    ] = None,
    policy: Annotated[Path | None, typer.Option(help="Policy file (YAML), `auditor init`.")] = None,
    config: Annotated[Path | None, typer.Option(help="Configuration file (YAML).")] = None,
    limit: Annotated[
        int | None,
        typer.Option(min=1, help="At most N generated and N held-out pictures, at random."),
    ] = None,
    cache: Annotated[Path | None, typer.Option(help="Directory for embeddings.")] = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="Ignore stored embeddings.")] = False,
    reveal: Annotated[
        bool, typer.Option("--reveal", help="Also write the pairs to a private file.")
    ] = False,
    exit_zero: Annotated[
        bool, typer.Option("--exit-zero", help="Exit 0 for every verdict.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print images.json on stdout.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="Print the verdict alone.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show cost and what these sizes can decide.")
    ] = False,
    seed: Annotated[int, typer.Option(min=0, help="Seed of every random choice.")] = 0,
    device: Annotated[str, typer.Option(help="Of the encoder: auto, cpu, cuda, mps.")] = "auto",
    debug: Debug = False,
) -> None:
    """Find training pictures that generated pictures reproduce; every copy is verified by pixels.

    Interrupted, the same command continues.

    Example: auditor scan images ./generated --against ./train --background ./holdout --out copies
    """
    from auditor.images.scan import ImageScanOptions
    from auditor.images.scan import scan_images as run

    options = ImageScanOptions(
        generated=generated,
        against=against,
        out=out,
        background=background,
        encoder=encoder,
        policy=policy,
        config=config,
        limit=limit,
        cache=cache,
        fresh=fresh,
        reveal=reveal,
        seed=seed,
        device=device,
    )
    if dry_run:
        from auditor.images.outlook import look_ahead

        _print_outlook(look_ahead(options), as_json=as_json)
        raise typer.Exit(0)
    shown = progress(quiet=quiet or as_json)
    try:
        result = run(options, shown)
    finally:
        shown.finish()
    if as_json:
        typer.echo(result.paths["json"].read_text(encoding="utf-8"))
    else:
        _print_summary(result, quiet=quiet)
    raise typer.Exit(0 if exit_zero else result.record.verdict.exit_code)


def _print_summary(result: ImageScanResult, *, quiet: bool) -> None:
    """The answer; names of files appear here and nowhere else."""
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
    stdout.print("\n[bold]Controls[/]")
    for control in record.controls:
        stdout.print(f"  {control.status.value:8} {plain(control.name)}: {plain(control.summary)}")
    _print_copies(result)
    stdout.print(f"\n[bold]Encoder[/] {plain(record.matching.encoder)}")
    stdout.print(f"  {plain(record.matching.limits)}")
    for note in record.sets.notes:
        stdout.print(f"  note: {plain(note)}")
    stdout.print("\n[bold]Files[/]")
    for path in result.paths.values():
        stdout.print(f"  {plain(path)}")
    stdout.print(f"\n[bold]Not tested:[/] {plain(verdict.untested)}")


def _print_copies(result: ImageScanResult) -> None:
    figures, sets = result.figures, result.sets
    copies = [int(i) for i in figures.is_copy.nonzero()[0]]
    copies.sort(key=lambda i: figures.matches.distance[i])
    if copies:
        stdout.print("\n[bold]Copies[/] (file names appear here only)")
    for i in copies[:MOST_NAMED]:
        training = sets.training[figures.matches.record[i]]
        stdout.print(
            f"  {figures.matches.distance[i]:.3f}  {plain(sets.generated[i].source.place)}  of  "
            f"{plain(training.source.place)}"
        )
    if len(copies) > MOST_NAMED:
        stdout.print(f"  and {len(copies) - MOST_NAMED:,} more in matches.parquet")


def _print_outlook(outlook: ImageOutlook, *, as_json: bool) -> None:
    import dataclasses
    import json

    if as_json:
        typer.echo(json.dumps(dataclasses.asdict(outlook), indent=2))
        return
    o = outlook
    stdout.print(
        f"[bold]Pictures[/]  {o.n_generated:,} generated, {o.n_training:,} training, "
        f"{o.n_background:,} held out (rows, copies included)"
    )
    stdout.print(f"[bold]Encoder[/]   {plain(o.encoder)}")
    stdout.print(f"[bold]Time[/]      about {duration(o.seconds)}, without what is in the cache")
    stdout.print(f"[bold]Memory[/]    about {o.memory_mb:,.0f} MB for embeddings and search")
    stdout.print(f"[bold]Disk[/]      about {o.disk_mb:,.0f} MB for embeddings")
    stdout.print("[bold]What these sizes can decide[/]")
    for line in o.reachable:
        stdout.print(f"  {plain(line)}")
