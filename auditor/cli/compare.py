"""`auditor compare`: two audits of the same records, before and after a change."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from auditor.cli.console import Debug, plain, progress, stdout

if TYPE_CHECKING:
    from auditor.compare import Comparison

STYLES = {"no worse": "bold green", "worse": "bold red"}
EPILOG = "Exit codes: 0 no worse, 1 worse, 2 usage or input error, 3 undecided, 4 internal error."


def compare(
    before: Annotated[Path, typer.Argument(help="An audit.json, or the folder of one.")],
    after: Annotated[Path, typer.Argument(help="Another audit of the same records.")],
    margin: Annotated[
        float, typer.Option(help="Largest rise of an AUC that counts as no worse.")
    ] = 0.02,
    out: Annotated[
        Path | None, typer.Option(help="Directory for compare.json and the reports.")
    ] = None,
    before_model: Annotated[
        str | None, typer.Option(help="The first model, to measure quality too (diffusion).")
    ] = None,
    after_model: Annotated[str | None, typer.Option(help="The second model.")] = None,
    real: Annotated[
        Path | None, typer.Option(help="Real pictures with captions, to measure quality by.")
    ] = None,
    features: Annotated[
        str | None, typer.Option(help="Of KID and FID: a TorchScript file or open_clip:MODEL.")
    ] = None,
    images: Annotated[int, typer.Option(help="Images that each model draws, at most.")] = 256,
    steps: Annotated[int, typer.Option(min=1, help="Denoising steps of an image.")] = 25,
    guidance: Annotated[float, typer.Option(help="Scale of the guidance.")] = 7.5,
    config: Annotated[
        Path | None, typer.Option(help="Column names, and `encoder` for agreement with captions.")
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1, mps.")] = "auto",
    cache: Annotated[Path | None, typer.Option(help="Directory for drawn images.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of every random choice.")] = 0,
    exit_zero: Annotated[
        bool, typer.Option("--exit-zero", help="Exit 0 for every answer.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print compare.json on stdout.")] = False,
    debug: Debug = False,
) -> None:
    """Compare two audits of the same records, before and after a change of the model.

    Both audits need the same project key: scan with both --out folders in one parent folder.

    Example: auditor compare audits/before audits/after --out audits/change
    """
    from attacks.errors import UsageError
    from auditor.compare import compare_audits
    from reports.compare_json import render

    quality = None
    if before_model and after_model and real:
        from auditor.compare.quality import QualityOptions

        quality = QualityOptions(
            before=before_model,
            after=after_model,
            real=real,
            features=features,
            config=config,
            images=images,
            steps=steps,
            guidance=guidance,
            device=device,
            seed=seed,
            cache=cache,
        )
    elif before_model or after_model or real or features:
        raise UsageError(
            "quality needs --before-model, --after-model and --real together; give all or none"
        )
    shown = progress(quiet=as_json)
    try:
        done = compare_audits(
            before, after, margin=margin, out=out, seed=seed, quality=quality, progress=shown
        )
    finally:
        shown.finish()
    if as_json:
        typer.echo(render(done.record), nl=False)
    else:
        _print(done)
    raise typer.Exit(0 if exit_zero else done.record.conclusion.exit_code)


def _print(done: Comparison) -> None:
    from reports import compare_text as text

    record = done.record
    c = record.conclusion
    stdout.print(f"[{STYLES.get(c.answer, 'bold yellow')}]{plain(c.sentence)}[/]")
    stdout.print(f"  {plain(c.headline)}")
    for warning in record.warnings:
        stdout.print(f"[bold yellow]warning:[/] {plain(warning)}")
    stdout.print(
        f"\n[bold]Paired[/] {record.pairing.n_members:,} members, "
        f"{record.pairing.n_nonmembers:,} nonmembers; verdict {record.before.outcome.value} "
        f"before, {record.after.outcome.value} after"
    )
    for one in record.attacks:
        auc, top = one.auc, one.top
        stdout.print(
            f"  {plain(one.attack)}: AUC {auc.before:.3f} -> {auc.after:.3f}, difference "
            f"{text.signed(auc.difference.value)} "
            f"({text.limits(auc.difference.low, auc.difference.high)}), {auc.change}; "
            f"members at the top {top.before:,} -> {top.after:,}, {top.change}"
        )
    if record.extraction is not None:
        found = record.extraction
        stdout.print(
            f"  {plain(found.attack)}: records that came back {found.before:,} -> {found.after:,}, "
            f"{found.change}"
        )
    for row in record.accuracy:
        stdout.print(
            f"  accuracy on {row.group}: {text.share(row.before.value)} -> "
            f"{text.share(row.after.value)}, difference "
            f"{text.share_limits(row.difference.low, row.difference.high)}"
        )
    for line in [] if record.quality is None else record.quality.rows:
        cells = text.quality_row(line)
        stdout.print(
            f"  {plain(cells[0])}: {cells[2]} -> {cells[3]}, difference {cells[4]} "
            f"({cells[5]}), {line.change}"
        )
    for note in record.notes:
        stdout.print(f"[dim]note:[/] {plain(note)}")
    stdout.print(f"\n[bold]Not tested:[/] {plain(c.untested)}")
    for path in done.paths.values():
        stdout.print(f"wrote {plain(path)}")
