"""`auditor scan model`: audit a diffusion model from its records to a verdict and a report."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from attacks.errors import UsageError
from attacks.wording import plural
from auditor.cli.console import Debug, duration, plain, progress, stderr, stdout

if TYPE_CHECKING:
    from auditor.outlook import Outlook
    from auditor.prepare import PreparedScan
    from auditor.progress import Progress

LONG_SCAN_SECONDS = 3600


def scan_model(
    model: Annotated[str, typer.Argument(help="A diffusers directory, a hub id, or a classifier.")],
    members: Annotated[Path, typer.Option(help="Records that the model was trained on.")],
    nonmembers: Annotated[Path, typer.Option(help="Records like them that it never saw.")],
    out: Annotated[Path, typer.Option(help="Directory for audit.json and the reports.")],
    policy: Annotated[Path | None, typer.Option(help="Policy file (YAML), `auditor init`.")] = None,
    attacks: Annotated[
        str | None, typer.Option(help="Names by commas, or `all`; default: the shared bundle.")
    ] = None,
    preset: Annotated[
        str | None,
        typer.Option(help="quick, standard or thorough: a choice of attacks, not with --attacks."),
    ] = None,
    budget: Annotated[
        str | None,
        typer.Option(help="Time such as 90s, 10m, 2h: the most attacks and images that fit."),
    ] = None,
    option: Annotated[
        list[str] | None,
        typer.Option(help="A setting of an attack, extraction.prompts=64; repeatable."),
    ] = None,
    config: Annotated[Path | None, typer.Option(help="Configuration file (YAML).")] = None,
    reference: Annotated[
        str | None,
        typer.Option(help="A model that saw neither split, such as the base before fine-tuning."),
    ] = None,
    lora: Annotated[Path | None, typer.Option(help="An adapter on top of MODEL.")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, mps.")] = "auto",
    precision: Annotated[str, typer.Option(help="auto, fp32, fp16, bf16.")] = "auto",
    batch_size: Annotated[str, typer.Option(help="Images per forward call, or auto.")] = "auto",
    resolution: Annotated[
        int | None, typer.Option(help="Side in pixels; default: the model's own.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of every random choice.")] = 0,
    limit: Annotated[
        int | None, typer.Option(min=1, help="At most N records of each split, at random.")
    ] = None,
    cache: Annotated[Path | None, typer.Option(help="Directory for observations.")] = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="Ignore stored observations.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show cost and what these sizes can decide.")
    ] = False,
    reveal: Annotated[
        bool, typer.Option("--reveal", help="Also write the named records to a private file.")
    ] = False,
    exit_zero: Annotated[
        bool, typer.Option("--exit-zero", help="Exit 0 for every verdict.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print audit.json on stdout.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="Print the verdict alone.")] = False,
    family: Annotated[
        str, typer.Option(help="auto, diffusion, classifier: the kind of target.")
    ] = "auto",
    train: Annotated[
        str | None,
        typer.Option(help="Classifiers: module:function, how models like the target are trained."),
    ] = None,
    shadows: Annotated[
        int | None,
        typer.Option(min=0, help="Classifiers: shadow models to train (an even number)."),
    ] = None,
    factory: Annotated[
        str | None, typer.Option(help="Classifiers: module:function, builds the torch module.")
    ] = None,
    sensitive: Annotated[
        list[str] | None,
        typer.Option(help="Classifiers: a column that attribute inference guesses; repeatable."),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask before a long scan.")] = False,
    allow_pickle: Annotated[
        bool, typer.Option("--allow-pickle", help="Read pickled weights (weights only).")
    ] = False,
    debug: Debug = False,
) -> None:
    """Audit a model: which of its training records does it give away?

    MODEL is a diffusers directory or hub id, a file of a classifier (.skops, .onnx, .pt2,
    .safetensors), or the word `predictions` if the records come with a model's saved answers.

    Example: auditor scan model ./model --members ./train --nonmembers ./holdout --out audit
    """
    from auditor.presets import seconds_of
    from auditor.scan import ScanOptions, plan_scan, run_scan

    options = ScanOptions(
        model=model,
        members=members,
        nonmembers=nonmembers,
        out=out,
        policy=policy,
        attacks=_names(attacks),
        preset=preset,
        budget=None if budget is None else seconds_of(budget),
        option=tuple(option or ()),
        config=config,
        reference=reference,
        lora=lora,
        device=device,
        precision=precision,
        batch_size=_batch_size(batch_size),
        resolution=resolution,
        seed=seed,
        limit=limit,
        cache=cache,
        fresh=fresh,
        reveal=reveal,
        allow_pickle=allow_pickle,
        family=family,
        train=train,
        shadows=shadows,
        factory=factory,
        sensitive=tuple(sensitive or ()),
    )
    shown = progress(quiet=quiet or as_json)
    try:
        prepared = plan_scan(options, shown)
        is_chosen = (preset or budget) is not None and not (quiet or as_json)
        asks = stderr.is_terminal and sys.stdin.isatty() and not yes
        if dry_run or is_chosen or asks:
            _look(prepared, shown, dry_run=dry_run, as_json=as_json, tells=is_chosen, asks=asks)
        result = run_scan(prepared, shown)
    finally:
        shown.finish()
    if as_json:
        typer.echo(result.paths["json"].read_text(encoding="utf-8"))
    else:
        from auditor.cli.summary import print_summary

        print_summary(result, quiet=quiet)
    raise typer.Exit(0 if exit_zero else result.record.verdict.exit_code)


def _look(
    prepared: PreparedScan,
    shown: Progress,
    *,
    dry_run: bool,
    as_json: bool,
    tells: bool,
    asks: bool,
) -> None:
    """Say what is about to be done; end a dry run, and ask before a long scan."""
    from auditor.outlook import look_ahead

    outlook = look_ahead(prepared)
    if dry_run:
        shown.finish()
        _print_outlook(outlook, as_json=as_json)
        raise typer.Exit(0)
    if tells:
        _tell_choice(prepared, outlook)
    if asks and outlook.seconds > LONG_SCAN_SECONDS:
        shown.finish()
        typer.confirm(f"This scan will take about {duration(outlook.seconds)}. Go on?", abort=True)


def _tell_choice(prepared: PreparedScan, outlook: Outlook) -> None:
    """What a preset or a budget came to, and what it can decide."""
    chosen = [*prepared.options.option, *prepared.own_flags()]
    limit = prepared.options.limit
    limited = "" if limit is None else f" (--limit {limit})"
    stderr.print(f"[bold]Chosen[/]   {', '.join(prepared.attack_names)}")
    stderr.print(f"         {plain(' '.join(chosen))}")
    stderr.print(
        f"         {plural(outlook.n_members, 'member')} and "
        f"{plural(outlook.n_nonmembers, 'nonmember')}{limited}, "
        f"about {duration(outlook.seconds)} on {outlook.device}"
    )
    stderr.print("[bold]It can decide[/]")
    for line in outlook.reachable:
        stderr.print(f"  {plain(line)}")


def _names(attacks: str | None) -> tuple[str, ...] | None:
    if attacks is None:
        return None
    return tuple(name.strip() for name in attacks.split(",") if name.strip())


def _batch_size(text: str) -> int | None:
    if text == "auto":
        return None
    if not text.isdigit() or int(text) < 1:
        raise UsageError(f"--batch-size '{text}' is neither `auto` nor a positive number")
    return int(text)


def _print_outlook(outlook: Outlook, *, as_json: bool) -> None:
    import dataclasses
    import json

    if as_json:
        typer.echo(json.dumps(dataclasses.asdict(outlook), indent=2))
        return
    o = outlook
    stdout.print(f"[bold]Attacks[/]   {', '.join(o.attacks)}")
    if o.options:
        stdout.print(f"          {plain(' '.join(o.options))}")
    for skipped, reason in o.inapplicable.items():
        stdout.print(f"          not {plain(skipped)}: {plain(reason)}")
    kind = "subjects, " if o.unit == "subject" else ""
    stdout.print(
        f"[bold]Records[/]   {kind}{plural(o.n_members, 'member')} and {plural(o.n_nonmembers, 'nonmember')} "
        f"evaluated, {o.n_calibration:,} records set aside for calibration"
    )
    stdout.print(
        f"[bold]Calls[/]     {o.calls_per_record} a record, {o.n_calls:,} in all "
        f"({o.n_control_calls:,} of them for controls)"
    )
    if o.drawing_calls_per_record:
        stdout.print(
            f"          {o.drawing_calls_per_record} a record draw images, in the copies of the "
            "controls too; fewer `steps` or images `r` cost less"
        )
    again = (
        f"; {duration(o.seconds_again)} more at most if planted records are not memorized at once"
        if o.seconds_again
        else ""
    )
    stdout.print(f"[bold]Time[/]      about {duration(o.seconds)} on {o.device}{again}")
    stdout.print(f"[bold]Memory[/]    about {o.memory_mb:,.0f} MB with batches of {o.batch_size}")
    stdout.print("[bold]What these sizes can decide[/]")
    for line in o.reachable:
        stdout.print(f"  {plain(line)}")
