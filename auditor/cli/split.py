"""`auditor split`: set a matched hold-out aside before training."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from auditor.cli.console import Debug, plain, stdout


def split(
    data: Annotated[Path, typer.Argument(help="A data set that no model was trained on yet.")],
    out: Annotated[Path, typer.Option(help="Directory for the two halves' manifests.")],
    nonmember_share: Annotated[
        float, typer.Option(min=0.01, max=0.99, help="Share to hold out.")
    ] = 0.5,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the random split.")] = 0,
    config: Annotated[Path | None, typer.Option(help="Configuration with column names.")] = None,
    debug: Debug = False,
) -> None:
    """Split a data set at random into members to train on and nonmembers to hold out.

    Copies, near-duplicates and records of one subject stay on one side.

    Example: auditor split ./images --out ./splits
    """
    from auditor.config import load_config
    from auditor.records.split import split_dataset

    done = split_dataset(
        data, out, options=load_config(config).records, nonmember_share=nonmember_share, seed=seed
    )
    stdout.print(f"members:    {done.n_members:,} records, {plain(done.members)}")
    stdout.print(f"nonmembers: {done.n_nonmembers:,} records, {plain(done.nonmembers)}")
    stdout.print("train on the members alone, then pass both to `auditor scan model`")
