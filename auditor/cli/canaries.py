"""`auditor canaries`: audit a claim of differential privacy from one training run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from auditor.cli.console import Debug, plain, stdout

STYLES = {"contradicted": "bold red", "not_evaluable": "bold yellow"}


def plant(
    data: Annotated[Path, typer.Argument(help="Labelled training rows: CSV, Parquet or NPZ.")],
    out: Annotated[Path, typer.Option(help="New directory for train.* and canaries/.")],
    n: Annotated[int, typer.Option("--n", min=1, help="Number of canaries.")] = 1000,
    kind: Annotated[
        str, typer.Option(help="mislabelled: rows with a wrong class; random: random rows.")
    ] = "mislabelled",
    seed: Annotated[
        int | None, typer.Option(min=0, help="A seed that must stay secret; default: a new one.")
    ] = None,
    config: Annotated[Path | None, typer.Option(help="Configuration with column names.")] = None,
    debug: Debug = False,
) -> None:
    """Plant canaries by secret coins, before training.

    Train on OUT/train.*, keep OUT/canaries secret until then, and score them afterwards.

    Example: auditor canaries plant rows.csv --out planted --n 1000
    """
    from auditor.canaries import plant_canaries
    from auditor.config import load_config

    done = plant_canaries(data, out, n=n, kind=kind, seed=seed, options=load_config(config).records)
    best = done.ceilings
    stdout.print(f"train on:  {plain(done.train)}  ({done.n_train:,} rows)")
    stdout.print(
        f"keep secret: {plain(done.canaries)}  ({done.n_canaries:,} canaries, {done.kind})"
    )
    if done.n_taken_out:
        stdout.print(
            f"taken out: {done.n_taken_out:,} rows of the data are not in the training file; "
            "their numbers are `rows_taken_out` in canaries/plant.json"
        )
    stdout.print(
        f"ceiling:   at best these canaries prove epsilon {best.one_run:.2f} "
        f"(one training, delta {best.delta:g}, {100 * (1 - best.alpha):g} % confidence); "
        f"as many separate trainings would prove {best.classical:.2f}"
    )
    stdout.print(f"commitment: {done.commitment}")
    stdout.print(
        "[bold yellow]warning:[/] the coins must stay secret until training is done: nothing that "
        "decides the training may depend on what is in canaries/. Publish the commitment to show "
        "later that the coins were fixed before."
    )
    if seed is not None:
        stdout.print(
            "[bold yellow]warning:[/] the seed was given: whoever knows it can tell the coins"
        )


def score(
    model: Annotated[str, typer.Argument(help="A file of a classifier.")],
    canaries: Annotated[Path, typer.Option(help="The canaries/ folder of the planting.")],
    out: Annotated[Path, typer.Option(help="Directory for canaries.json and canaries.md.")],
    delta: Annotated[
        float | None, typer.Option(help="Delta of the bound; default: the claimed one, or 1e-5.")
    ] = None,
    claimed_epsilon: Annotated[float | None, typer.Option(help="Epsilon that was claimed.")] = None,
    claimed_delta: Annotated[float | None, typer.Option(help="Delta that was claimed.")] = None,
    claim: Annotated[
        Path | None, typer.Option(help="The whole claim (YAML): variant, unit, accountant ...")
    ] = None,
    factory: Annotated[
        str | None, typer.Option(help="module:function, builds the torch module.")
    ] = None,
    allow_pickle: Annotated[
        bool, typer.Option("--allow-pickle", help="Read model files that can run code.")
    ] = False,
    config: Annotated[Path | None, typer.Option(help="Configuration with `classes`.")] = None,
    debug: Debug = False,
) -> None:
    """Ask the trained model about the canaries, and bound its epsilon from below.

    Exit codes: 0 not contradicted or no claim, 1 contradicted, 3 the claim cannot be evaluated.

    Example: auditor canaries score model.skops --canaries planted/canaries --out audit
    """
    from auditor.canaries import load_claim, score_canaries
    from auditor.config import load_config

    audit = score_canaries(
        model,
        canaries,
        out,
        delta=delta,
        claim=load_claim(claim, epsilon=claimed_epsilon, delta=claimed_delta),
        factory=factory,
        allow_pickle=allow_pickle,
        config=load_config(config),
    )
    _print(audit)
    raise typer.Exit(audit.record.verdict.exit_code)


def _print(audit) -> None:  # noqa: ANN001
    from reports.canaries import bound

    record = audit.record
    verdict, one, gauss = record.verdict, record.one_run, record.gaussian
    style = STYLES.get(verdict.outcome, "bold")
    stdout.print(f"[{style}]{verdict.outcome.replace('_', ' ')}:[/] {plain(verdict.sentence)}")
    for title, found in (("one run", one), ("Gaussian", gauss)):
        stdout.print(
            f"{title + ':':10} epsilon at least {bound(found.lower)}, "
            f"{found.n_correct:,} of {found.n_guesses:,} guesses correct, "
            f"ceiling {bound(found.ceiling)}"
        )
        stdout.print(f"           [dim]holds if {plain(found.assumption)}[/]")
    for note in verdict.notes:
        stdout.print(f"note:      {plain(note)}")
    for path in audit.paths.values():
        stdout.print(f"wrote      {plain(path)}")
