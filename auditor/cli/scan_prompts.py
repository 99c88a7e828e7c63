"""`auditor scan prompts`: which prompts make a model emit what it memorized?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from auditor.cli.console import Debug, duration, plain, progress, stdout
from auditor.cli.scan_model import _batch_size, _names

if TYPE_CHECKING:
    from auditor.prompts.outlook import PromptOutlook
    from auditor.prompts.scan import PromptScanResult


def scan_prompts(
    model: Annotated[str, typer.Argument(help="A diffusers directory or a hub id.")],
    prompts: Annotated[
        Path, typer.Option(help="Prompts: .txt (one a line), .csv, .jsonl or .parquet.")
    ],
    out: Annotated[Path, typer.Option(help="Directory for prompts.json and the reports.")],
    reference: Annotated[
        Path | None, typer.Option(help="Prompts of the same style, believed not memorized.")
    ] = None,
    policy: Annotated[Path | None, typer.Option(help="Policy file (YAML), `auditor init`.")] = None,
    detectors: Annotated[
        str | None, typer.Option(help="Names by commas, or `all`; default: the first step alone.")
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Initial noises for each prompt.")] = 4,
    steps: Annotated[int, typer.Option(min=1, help="Denoising steps of an image.")] = 50,
    guidance: Annotated[float, typer.Option(help="Scale of the guidance, above 1.")] = 7.5,
    lora: Annotated[Path | None, typer.Option(help="An adapter on top of MODEL.")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, mps.")] = "auto",
    precision: Annotated[str, typer.Option(help="auto, fp32, fp16, bf16.")] = "auto",
    batch_size: Annotated[str, typer.Option(help="Rows per forward call, or auto.")] = "auto",
    resolution: Annotated[
        int | None, typer.Option(help="Side in pixels; default: the model's own.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of every random choice.")] = 0,
    limit: Annotated[int | None, typer.Option(min=1, help="At most N prompts, at random.")] = None,
    cache: Annotated[Path | None, typer.Option(help="Directory for recordings.")] = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="Ignore stored recordings.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show cost and what these numbers can decide.")
    ] = False,
    reveal: Annotated[
        bool, typer.Option("--reveal", help="Also write the prompts to a private file.")
    ] = False,
    exit_zero: Annotated[
        bool, typer.Option("--exit-zero", help="Exit 0 for every verdict.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print prompts.json on stdout.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="Print the verdict alone.")] = False,
    allow_pickle: Annotated[
        bool, typer.Option("--allow-pickle", help="Read pickled weights (weights only).")
    ] = False,
    debug: Debug = False,
) -> None:
    """Find prompts for which a model emits memorized images; no training image is needed.

    A column `label` with `suspect` and `reference` may name the reference prompts instead of
    --reference. Interrupted, the same command continues.

    Example: auditor scan prompts ./model --prompts p.txt --reference ordinary.txt --out prompts
    """
    from auditor.prompts.outlook import look_ahead
    from auditor.prompts.scan import PromptScanOptions, plan_prompt_scan, run_prompt_scan

    options = PromptScanOptions(
        model=model,
        prompts=prompts,
        out=out,
        reference=reference,
        policy=policy,
        detectors=_names(detectors),
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
        cache=cache,
        fresh=fresh,
        reveal=reveal,
        allow_pickle=allow_pickle,
    )
    shown = progress(quiet=quiet or as_json)
    try:
        scan = plan_prompt_scan(options, shown)
        if dry_run:
            outlook = look_ahead(scan)
            shown.finish()
            _print_outlook(outlook, as_json=as_json)
            raise typer.Exit(0)
        result = run_prompt_scan(scan, shown)
    finally:
        shown.finish()
    if as_json:
        typer.echo(result.paths["json"].read_text(encoding="utf-8"))
    else:
        _print_summary(result, quiet=quiet)
    raise typer.Exit(0 if exit_zero else result.record.verdict.exit_code)


def _print_outlook(o: PromptOutlook, *, as_json: bool) -> None:
    import dataclasses
    import json

    if as_json:
        typer.echo(json.dumps(dataclasses.asdict(o), indent=2))
        return
    stdout.print(f"[bold]Detectors[/] {', '.join(o.detectors)}")
    stdout.print(
        f"[bold]Prompts[/]   {o.n_prompts:,}, and {o.n_references:,} references ({o.references})"
    )
    stdout.print(
        f"[bold]Calls[/]     {o.calls_per_prompt:,} a prompt, at most {o.n_calls:,} in all"
    )
    stdout.print(f"[bold]Time[/]      at most about {duration(o.seconds)} on {o.device}")
    stdout.print("[bold]What these numbers can decide[/]")
    for line in o.reachable:
        stdout.print(f"  {plain(line)}")


def _print_summary(result: PromptScanResult, *, quiet: bool) -> None:
    """The verdict; published ids alone, since prompts are private."""
    from reports import prompts_wording, wording

    record = result.record
    verdict = record.verdict
    stdout.print(f"[bold]{wording.OUTCOMES[verdict.outcome].upper()}[/]  {plain(verdict.sentence)}")
    if quiet:
        return
    rule = record.rules[0]
    stdout.print(f"  {plain(verdict.headline)}")
    stdout.print(f"  {plain(rule.explanation)}")
    if rule.needed:
        stdout.print(f"  needed: {plain(rule.needed)}")
    blind = prompts_wording.blind_auc(record)
    stdout.print(f"\n[bold]Detectors[/] (captions alone: AUC {plain(blind)})")
    for one in record.detectors:
        mark = ", primary" if one.is_primary else ""
        stdout.print(
            f"  {one.detector}{mark}: {one.n_flagged:,} flagged, smallest p {one.smallest_p:.3g}, "
            f"AUC against references {one.auc.value:.3f}, scores {one.side}"
        )
    flagged = [one for one in record.top if one.is_flagged]
    if flagged:
        stdout.print("\n[bold]Flagged prompts[/] (private/prompts.jsonl says which they are)")
    for found in flagged:
        confirmed = "confirmed" if found.is_confirmed else "not confirmed"
        stdout.print(f"  {found.prompt_id}  {confirmed}  {plain(prompts_wording.triggers(found))}")
    stdout.print("\n[bold]Controls[/]")
    for control in record.controls:
        stdout.print(f"  {control.name}, {control.status.value}: {plain(control.summary)}")
    stdout.print(f"\n[bold]Not tested[/]  {plain(verdict.untested)}")
    stdout.print("[bold]Files[/]")
    for path in result.paths.values():
        stdout.print(f"  {plain(path)}")
