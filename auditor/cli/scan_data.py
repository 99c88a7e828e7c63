"""`auditor scan data`: which records does training memorize? No target model is needed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from auditor.cli.console import Debug, plain, progress, stdout

if TYPE_CHECKING:
    from auditor.data_scan import DataScanResult

MOST_NAMED = 20


def scan_data(
    data: Annotated[
        Path, typer.Argument(help="Labelled rows (CSV, Parquet, NPZ) or labelled images.")
    ],
    train: Annotated[
        str, typer.Option(help="module:function that returns how a model is trained.")
    ],
    out: Annotated[Path, typer.Option(help="Directory for data.json and the reports.")],
    models: Annotated[int, typer.Option(min=2, help="Models to train (an even number).")] = 64,
    share: Annotated[
        float, typer.Option(help="Share of the records in a training set; 0.5: paired halves.")
    ] = 0.7,
    test: Annotated[
        Path | None, typer.Option(help="Labelled test records: which records decide about them?")
    ] = None,
    group: Annotated[
        str | None, typer.Option(help="Column of groups to break the figures down by.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of every random choice.")] = 0,
    cache: Annotated[
        Path | None, typer.Option(help="Directory for trained models' answers.")
    ] = None,
    config: Annotated[Path | None, typer.Option(help="Configuration file (YAML).")] = None,
    device: Annotated[str, typer.Option(help="Of torch models: auto, cpu, cuda, mps.")] = "auto",
    as_json: Annotated[bool, typer.Option("--json", help="Print data.json on stdout.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="Print the answer alone.")] = False,
    debug: Debug = False,
) -> None:
    """Find the records that training memorizes: those that a model knows only if it saw them.

    Trains models on random subsets of DATA and compares those that had a record with those that
    had not. Interrupted, the same command continues.

    Example: auditor scan data train.csv --train training:make_model --out memorization
    """
    from auditor.data_scan import DataScanOptions
    from auditor.data_scan import scan_data as run

    options = DataScanOptions(
        data=data,
        train=train,
        out=out,
        models=models,
        share=share,
        test=test,
        group=group,
        seed=seed,
        cache=cache,
        config=config,
        device=device,
    )
    shown = progress(quiet=quiet or as_json)
    try:
        result = run(options, shown)
    finally:
        shown.finish()
    if as_json:
        typer.echo(result.paths["json"].read_text(encoding="utf-8"))
    else:
        _print_summary(result, quiet=quiet)


def _print_summary(result: DataScanResult, *, quiet: bool) -> None:
    """The answer; names of files, classes and groups appear here and nowhere else."""
    record = result.record
    stdout.print(f"[bold]{plain(record.headline)}[/]")
    if quiet:
        return
    if record.memorization.n_refused:
        stdout.print(
            f"  {record.memorization.n_refused:,} records have too few models for a figure"
        )
    found = result.measured.memorized
    if found.record.size:
        stdout.print("\n[bold]Memorized records[/] (file names appear here only)")
    for i, value, is_sure in zip(
        found.record[:MOST_NAMED], found.value, found.is_sure, strict=False
    ):
        place = plain(result.records[i].source.place)
        sure = "sure" if is_sure else "    "
        stdout.print(f"  {value:5.2f} {sure}  {result.published_ids[i]}  {place}")
    if found.record.size > MOST_NAMED:
        stdout.print(f"  and {found.record.size - MOST_NAMED:,} more in memorization.parquet")
    names = result.names.classes | result.names.groups
    for breakdown in record.breakdowns:
        stdout.print(f"\n[bold]By {breakdown.by}[/]")
        for one in breakdown.groups:
            name = f"{one.group}: {names[one.group]}" if one.group in names else one.group
            stdout.print(
                f"  {one.share:6.1%} ({one.low:.1%} to {one.high:.1%}) of {one.n_records:,}  "
                f"{plain(name)}"
            )
    if record.influence is not None:
        i = record.influence
        stdout.print(
            f"\n[bold]Influence[/]  {i.n_found:,} pairs, {i.n_sure:,} sure; {i.n_test_affected:,} "
            f"of {record.data.n_test:,} test records affected"
        )
    for note in (*record.data.notes, *record.training.notes):
        stdout.print(f"  note: {plain(note)}")
    stdout.print("\n[bold]Files[/]")
    for path in result.paths.values():
        stdout.print(f"  {plain(path)}")
