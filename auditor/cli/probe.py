"""`auditor probe`: which weights react to memorized prompts, and to them alone?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from auditor.cli.console import Debug, duration, plain, progress, stdout
from auditor.cli.scan_model import _batch_size

if TYPE_CHECKING:
    from auditor.probing.probe import Probe, ProbeResult


def probe(
    model: Annotated[str, typer.Argument(help="A diffusers directory or a hub id.")],
    prompts: Annotated[
        Path, typer.Option(help="Memorized prompts: .txt (one a line), .csv, .jsonl or .parquet.")
    ],
    out: Annotated[Path, typer.Option(help="Directory for masks, probe.json and the report.")],
    reference: Annotated[
        Path | None, typer.Option(help="Prompts to compare with; default: the empty prompt.")
    ] = None,
    ordinary: Annotated[
        Path | None, typer.Option(help="Ordinary prompts of the same style, for the control.")
    ] = None,
    sets: Annotated[int, typer.Option(min=1, help="Disjoint sets that masks are made of.")] = 4,
    sparsity: Annotated[
        float, typer.Option(help="Most that a step marks of a row, as a share.")
    ] = 0.01,
    first_steps: Annotated[
        int, typer.Option(min=1, help="Steps from the first one whose masks are joined.")
    ] = 10,
    select_ratio: Annotated[
        float, typer.Option(help="Keep weights marked at more than this share of them.")
    ] = 0.0,
    cfg_half: Annotated[str, typer.Option(help="Halves of the guidance: both or cond.")] = "both",
    seeds: Annotated[int, typer.Option(min=1, help="Initial noises for each prompt.")] = 1,
    steps: Annotated[int, typer.Option(min=1, help="Denoising steps of an image.")] = 50,
    guidance: Annotated[float, typer.Option(help="Scale of the guidance, at least 1.")] = 7.5,
    lora: Annotated[Path | None, typer.Option(help="An adapter on top of MODEL.")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, mps.")] = "auto",
    precision: Annotated[str, typer.Option(help="auto, fp32, fp16, bf16.")] = "auto",
    batch_size: Annotated[str, typer.Option(help="Rows per forward call, or auto.")] = "auto",
    resolution: Annotated[
        int | None, typer.Option(help="Side in pixels; default: the model's own.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="First seed of the noise.")] = 0,
    limit: Annotated[int | None, typer.Option(min=1, help="At most N prompts, at random.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what it will cost.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print probe.json on stdout.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="Print the finding alone.")] = False,
    allow_pickle: Annotated[
        bool, typer.Option("--allow-pickle", help="Read pickled weights (weights only).")
    ] = False,
    debug: Debug = False,
) -> None:
    """Locate the feed-forward weights that react to memorized prompts; it gives no verdict.

    A column `label` with `suspect` and `reference` may name the ordinary prompts instead of
    --ordinary.

    Example: auditor probe ./model --prompts memorized.txt --ordinary ordinary.txt --out probe
    """
    from auditor.probing.probe import ProbeOptions, plan_probe, run_probe

    options = ProbeOptions(
        model=model,
        prompts=prompts,
        out=out,
        reference=reference,
        ordinary=ordinary,
        sets=sets,
        sparsity=sparsity,
        first_steps=first_steps,
        select_ratio=select_ratio,
        cfg_half=cfg_half,
        seeds=seeds,
        steps=steps,
        guidance=guidance,
        lora=lora,
        device=device,
        precision=precision,
        batch_size=_batch_size(batch_size),
        resolution=resolution,
        seed=seed,
        limit=limit,
        allow_pickle=allow_pickle,
    )
    shown = progress(quiet=quiet or as_json)
    try:
        planned = plan_probe(options, shown)
        if dry_run:
            shown.finish()
            _print_plan(planned, as_json=as_json)
            raise typer.Exit(0)
        result = run_probe(planned, shown)
    finally:
        shown.finish()
    if as_json:
        typer.echo(result.paths["json"].read_text(encoding="utf-8"))
    else:
        _print_summary(result, quiet=quiet)


def _print_plan(planned: Probe, *, as_json: bool) -> None:
    import json

    from auditor.targets.timing import seconds_per_call

    calls = planned.n_draws * planned.sampling.calls
    seconds = calls * seconds_per_call(planned.target, planned.executor.batch_size)
    n_memorized = sum(map(len, planned.memorized))
    n_ordinary = sum(map(len, planned.ordinary))
    if as_json:
        answer = {
            "n_memorized": n_memorized,
            "n_ordinary": n_ordinary,
            "n_calls": calls,
            "seconds": round(seconds, 1),
        }
        typer.echo(json.dumps(answer, indent=2))
        return
    stdout.print(f"[bold]Prompts[/]  {n_memorized:,} memorized, {n_ordinary:,} ordinary")
    stdout.print(f"[bold]Calls[/]    {calls:,}")
    stdout.print(f"[bold]Time[/]     about {duration(seconds)} on {planned.target.device}")


def _print_summary(result: ProbeResult, *, quiet: bool) -> None:
    from reports import probe_wording

    record = result.record
    found = record.finding
    outcome = probe_wording.OUTCOMES[found.outcome].upper()
    stdout.print(f"[bold]{outcome}[/]  {plain(found.sentence)}")
    if quiet:
        return
    stdout.print(f"  {plain(found.headline)}")
    for name, value in probe_wording.facts(record):
        stdout.print(f"  {name}: {plain(value)}")
    stdout.print(f"\n[bold]Not tested[/]  {plain(found.untested)}")
    stdout.print("[bold]Files[/]")
    for path in result.paths.values():
        stdout.print(f"  {plain(path)}")
