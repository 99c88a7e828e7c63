"""`auditor doctor`: what this machine has, and what a target supports."""

from __future__ import annotations

import importlib
import os
import shutil
from typing import Annotated

import typer

from auditor.cli.console import Debug, plain, stdout


def doctor(
    model: Annotated[
        str | None, typer.Argument(help="A diffusers directory or hub id to look at.")
    ] = None,
    debug: Debug = False,
) -> None:
    """Show device, versions and, for a model, which attacks can run on it and why others cannot.

    Example: auditor doctor ./model
    """
    _check_torch_pair()
    from auditor.assemble import device_name, versions
    from auditor.observe.cache import default_cache
    from auditor.targets.loading import choose_device

    device = choose_device("auto")
    stdout.print(f"[bold]Device[/]    {device_name(device)}")
    stdout.print(f"[bold]Cores[/]     {os.cpu_count()}")
    for package, number in versions().items():
        stdout.print(f"[bold]Version[/]   {package} {number}")
    root = default_cache()
    free = shutil.disk_usage(next(p for p in (root, *root.parents) if p.exists())).free
    stdout.print(f"[bold]Cache[/]     {plain(root)} ({free / 2**30:,.1f} GB free)")
    if model is not None:
        _describe(model)


def _check_torch_pair() -> None:
    """Torch and torchvision from different builds fail at import; say what to do."""
    from attacks.errors import UsageError

    try:
        importlib.import_module("torchvision")
    except (ImportError, RuntimeError) as error:
        raise UsageError(
            "torch and torchvision do not fit together "
            f"({str(error).splitlines()[0] if str(error) else type(error).__name__}); install both "
            "from the same place: pip install --force-reinstall torch torchvision"
        ) from error


def _describe(model: str) -> None:
    from attacks.observations import calls_per_record
    from attacks.registry import all_attacks
    from auditor.targets.classifier.formats import PREDICTIONS, SUFFIXES
    from auditor.targets.loading import open_target

    if model == PREDICTIONS or model.lower().endswith(SUFFIXES):
        stdout.print(
            "\n[bold]Target[/]    a classifier, which is looked at together with records that it "
            "takes: `auditor scan model ... --dry-run` shows what it supports"
        )
        return
    target = open_target(model)
    c = target.capabilities
    kind = "latent" if c.is_latent else "pixel"
    text = "text-conditional" if c.is_text_conditional else "unconditional"
    stdout.print(f"\n[bold]Target[/]    {plain(target.layout.root.name)}: {c.architecture}")
    stdout.print(
        f"          {kind}, {text}, predicts {target.layout.prediction_type}, {c.resolution} px, "
        f"T = {c.n_timesteps}, {target.n_parameters:,} parameters in the U-Net"
    )
    for found in all_attacks():
        m = found.MANIFEST
        if m.family != c.family:
            continue
        reason = found.applicable(c)
        if reason is None:
            calls = calls_per_record(found.requests(found.default_config(c)))
            stdout.print(f"  [green]can run[/]  {m.name}: {calls} calls a record")
        else:
            stdout.print(f"  [yellow]cannot[/]   {m.name}: {plain(reason)}")
