"""`auditor deduplicate`: take repeats out of a data set before training."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal, cast

import typer

from auditor.cli.console import Debug, plain, progress, stdout


def deduplicate(
    data: Annotated[Path, typer.Argument(help="A data set that no model was trained on yet.")],
    out: Annotated[Path, typer.Option(help="Directory for the data without repeats.")],
    encoder: Annotated[
        str | None, typer.Option(help="pixels, a TorchScript file (SSCD), or open_clip:MODEL.")
    ] = None,
    distance: Annotated[float, typer.Option(help="Largest pixel distance of a copy.")] = 0.08,
    captions: Annotated[
        str, typer.Option(help="keep or drop pictures with nearly the caption of another.")
    ] = "keep",
    captions_above: Annotated[
        float, typer.Option(help="Similarity from which captions nearly agree.")
    ] = 0.8,
    config: Annotated[Path | None, typer.Option(help="Configuration with column names.")] = None,
    cache: Annotated[Path | None, typer.Option(help="Directory for embeddings.")] = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="Ignore stored embeddings.")] = False,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, mps.")] = "auto",
    quiet: Annotated[bool, typer.Option("--quiet", help="Print the counts alone.")] = False,
    debug: Debug = False,
) -> None:
    """Keep one row of each group of equal or close pictures.

    Do this before the data are split for an audit. Repetition is the main known driver of verbatim
    copies; a record that occurs once can still be memorized.

    Example: auditor deduplicate ./images --out ./deduplicated
    """
    from auditor.deduplicate import DeduplicateOptions
    from auditor.deduplicate import deduplicate as run

    options = DeduplicateOptions(
        data=data,
        out=out,
        encoder=encoder,
        distance=distance,
        captions=cast(Literal["keep", "drop"], captions),
        captions_above=captions_above,
        config=config,
        cache=cache,
        fresh=fresh,
        device=device,
    )
    shown = progress(quiet=quiet)
    try:
        done = run(options, shown)
    finally:
        shown.finish()
    stdout.print(f"kept:    {done.n_kept:,} of {done.n_rows:,} rows, {plain(done.data)}")
    stdout.print(
        f"dropped: {done.n_exact:,} exact copies, {done.n_close:,} close pictures, "
        f"{done.n_same_caption:,} for their caption"
    )
    if quiet:
        return
    if captions == "keep" and done.n_repeated_captions:
        stdout.print(
            f"{done.n_repeated_captions:,} of those kept have nearly the caption of another picture "
            "(--captions drop)"
        )
    if done.n_unreadable:
        stdout.print(f"{done.n_unreadable:,} rows are unreadable and left out")
    stdout.print(plain(done.limits))
    stdout.print("what went for which row: dropped.jsonl (private, like the data)")
