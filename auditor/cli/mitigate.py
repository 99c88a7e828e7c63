"""`auditor mitigate`: change a model so that it should leak less, with a record of what changed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from auditor.cli.console import Debug, plain, progress, stdout
from auditor.cli.scan_model import _batch_size

if TYPE_CHECKING:
    from auditor.mitigate.run import Mitigated, Planned


def mitigate(
    name: Annotated[str, typer.Argument(help="A mitigation (`auditor list --mitigations`).")],
    model: Annotated[str, typer.Argument(help="A diffusers directory or a hub id.")],
    out: Annotated[Path, typer.Option(help="New directory for the changed pipeline.")],
    prompts: Annotated[
        Path | None, typer.Option(help="Prompts of memorized images: .txt, .csv, .jsonl, .parquet.")
    ] = None,
    reference: Annotated[
        Path | None, typer.Option(help="Ordinary prompts of the same style.")
    ] = None,
    members: Annotated[Path | None, typer.Option(help="Records of the training.")] = None,
    nonmembers: Annotated[
        Path | None, typer.Option(help="Records like them that were never trained on.")
    ] = None,
    masks: Annotated[Path | None, typer.Option(help="What `auditor probe` wrote.")] = None,
    cache: Annotated[
        Path | None, typer.Option(help="Directory that an interrupted search continues from.")
    ] = None,
    option: Annotated[
        list[str] | None,
        typer.Option(help="SETTING=VALUE, as `auditor explain` lists; repeatable."),
    ] = None,
    config: Annotated[Path | None, typer.Option(help="Configuration with column names.")] = None,
    lora: Annotated[
        Path | None, typer.Option(help="An adapter on top of MODEL; it is merged.")
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, mps.")] = "auto",
    precision: Annotated[str, typer.Option(help="auto, fp32, fp16, bf16.")] = "auto",
    batch_size: Annotated[str, typer.Option(help="Rows per forward call, or auto.")] = "auto",
    resolution: Annotated[
        int | None, typer.Option(help="Side in pixels; default: the model's own.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of every random choice.")] = 0,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Read everything, change and write nothing.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print mitigation.json.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="Print the directory alone.")] = False,
    allow_pickle: Annotated[
        bool, typer.Option("--allow-pickle", help="Read pickled weights (weights only).")
    ] = False,
    debug: Debug = False,
) -> None:
    """Apply a mitigation: a model in, a changed model and its record out.

    Nothing is proved by it. Audit the model before and after, and compare the audits; after a
    weight edit, ask whether what was suppressed is only concealed.

    Example: auditor mitigate prompt_adjust ./model --reference ordinary.txt --out adjusted
    """
    from auditor.mitigate.run import MitigateOptions, plan_mitigation, run_mitigation

    options = MitigateOptions(
        name=name,
        model=model,
        out=out,
        prompts=prompts,
        reference=reference,
        members=members,
        nonmembers=nonmembers,
        masks=masks,
        cache=cache,
        option=tuple(option or ()),
        config=config,
        lora=lora,
        device=device,
        precision=precision,
        batch_size=_batch_size(batch_size),
        resolution=resolution,
        seed=seed,
        allow_pickle=allow_pickle,
    )
    shown = progress(quiet=quiet or as_json)
    try:
        planned = plan_mitigation(options, shown)
        if dry_run:
            shown.finish()
            _print_plan(planned, as_json=as_json)
            raise typer.Exit(0)
        done = run_mitigation(planned, shown)
    finally:
        shown.finish()
    if as_json:
        typer.echo(done.record.model_dump_json(indent=2))
    elif quiet:
        typer.echo(str(done.out))
    else:
        _print_summary(done)


def _print_plan(planned: Planned, *, as_json: bool) -> None:
    import dataclasses
    import json

    manifest = planned.mitigation.MANIFEST
    settings = dataclasses.asdict(planned.config)
    if as_json:
        plan = {
            "mitigation": dataclasses.asdict(manifest),
            "given": planned.given,
            "config": settings,
            "earlier": [one.name for one in planned.earlier],
        }
        typer.echo(json.dumps(plan, indent=2))
        return
    stdout.print(f"[bold]{manifest.id} {manifest.name}[/]: {manifest.title}")
    stdout.print(f"[bold]Kind[/]      {manifest.guarantee.value}")
    for what, n in planned.given.items():
        stdout.print(f"[bold]Given[/]     {n:,} {what}")
    for setting, value in settings.items():
        stdout.print(f"[bold]Setting[/]   {setting} = {plain(value)}")
    stdout.print(f"[bold]Model[/]     {plain(planned.target.name)} on {planned.target.device}")
    for one in planned.earlier:
        stdout.print(f"[bold]Earlier[/]   {plain(one.title)}")
    stdout.print("Nothing was changed or written.")


def _print_summary(done: Mitigated) -> None:
    from auditor.mitigate.summary import NEXT, changed_in_words

    record = done.record
    stdout.print(f"[bold]{plain(record.title)}[/] ({record.guarantee.value})")
    stdout.print(plain(changed_in_words(record)))
    for name, value in record.facts.items():
        stdout.print(f"  {plain(name)}: {plain(value)}")
    for note in record.notes:
        stdout.print(f"[yellow]note:[/] {plain(note)}")
    stdout.print(plain(record.limits))
    stdout.print(plain(NEXT[record.guarantee]))
    stdout.print("[bold]Files[/]")
    for file in ("mitigation.md", "mitigation.json", "SHA256SUMS"):
        stdout.print(f"  {plain(done.out / file)}")
