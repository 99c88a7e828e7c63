"""`auditor explain NAME`: how an attack or a mitigation works, and when it lies."""

from __future__ import annotations

import dataclasses
import inspect
from typing import Annotated, Any

import typer

from auditor.cli.console import Debug, plain, stdout


def explain(
    name: Annotated[
        str, typer.Argument(help="An attack or mitigation, by name or id (`auditor list`).")
    ],
    debug: Debug = False,
) -> None:
    """Explain an attack or a mitigation: idea, source, settings, cost.

    Example: auditor explain pia
    """
    from attacks.detection.registry import DETECTORS, detector
    from attacks.manifest import Capabilities, ClassifierCapabilities, DiffusionCapabilities
    from attacks.observations import calls_per_record
    from attacks.registry import OTHERS, all_attacks, attack, other_attack

    others = {other: other_attack(other) for other in OTHERS}
    others |= {name: detector(name) for name in DETECTORS}
    if (change := _mitigation(name)) is not None:
        _explain_mitigation(change)
        return
    by_id = {found.MANIFEST.id.lower(): found for found in (*all_attacks(), *others.values())}
    found = by_id.get(name.lower()) or others.get(name) or attack(name)
    m = found.MANIFEST
    usual: dict[str, tuple[Capabilities, str]] = {
        "diffusion": (
            DiffusionCapabilities("diffusion", "", True, True, 1000, 512),
            "a 512-pixel latent model",
        ),
        "classifier": (ClassifierCapabilities("classifier", "", 2), "a classifier of table rows"),
    }
    capabilities, kind = usual[m.family]
    if m.kind == "detection":
        _explain_detector(found)
        return
    config = found.default_config(capabilities)
    stdout.print(f"[bold]{m.id} {m.name}[/]: {m.title}\n")
    stdout.print(plain(inspect.cleandoc(found.__doc__ or "")))
    stdout.print(f"\n[bold]Goal[/]      {m.goal}")
    stdout.print(f"[bold]Access[/]    {m.access.value}")
    if m.kind == "membership":
        calls = f"{calls_per_record(found.requests(config))} a record, alone"
    elif m.kind == "extraction":
        calls = f"{config.calls_per_image} an image, {config.images:,} images at most"
    else:
        calls = "one a record for each value that is tried"
    stdout.print(f"[bold]Calls[/]     {calls}")
    stdout.print(f"[bold]Sources[/]   {', '.join(m.references)}")
    stdout.print(f"[bold]Tags[/]      {', '.join(m.tags)}")
    if not dataclasses.fields(config):
        stdout.print("\n[bold]Settings[/] none")
        return
    stdout.print(f"\n[bold]Settings[/] (defaults for {kind}; `--config` changes them)")
    for setting in dataclasses.fields(config):
        stdout.print(f"  {setting.name} = {plain(getattr(config, setting.name))}")


def _explain_detector(found: Any) -> None:
    """A detector of memorized prompts: `auditor scan prompts` runs it, without settings."""
    m = found.MANIFEST
    stdout.print(f"[bold]{m.id} {m.name}[/]: {m.title}\n")
    stdout.print(plain(inspect.cleandoc(found.__doc__ or "")))
    stdout.print(f"\n[bold]Goal[/]      {m.goal}")
    stdout.print(f"[bold]Access[/]    {m.access.value}")
    stdout.print(f"[bold]Sources[/]   {', '.join(m.references)}")
    stdout.print("[bold]Runs[/]      in `auditor scan prompts`")


def _mitigation(name: str) -> Any:
    """The mitigation of that name or id; None if there is none."""
    from mitigations.registry import all_mitigations

    known = {one for found in all_mitigations() for one in (found.MANIFEST.name, found.MANIFEST.id)}
    if name not in known and name.upper() not in known:
        return None
    asked = {name, name.upper()}
    return next(m for m in all_mitigations() if asked & {m.MANIFEST.name, m.MANIFEST.id})


def _explain_mitigation(found: Any) -> None:
    """A mitigation: `auditor mitigate` applies it."""
    from attacks.manifest import DiffusionCapabilities

    m = found.MANIFEST
    config = found.default_config(DiffusionCapabilities("diffusion", "", True, True, 1000, 512))
    stdout.print(f"[bold]{m.id} {m.name}[/]: {m.title}\n")
    stdout.print(plain(inspect.cleandoc(found.__doc__ or "")))
    stdout.print(f"\n[bold]Kind[/]      {m.guarantee.value}")
    stdout.print(f"[bold]Limits[/]    {plain(m.limits)}")
    for title, needs in (("Needs", m.needs), ("One of", m.any_of), ("Takes", m.takes)):
        if needs:
            stdout.print(f"[bold]{title:<10}[/]{', '.join(f'--{need.value}' for need in needs)}")
    stdout.print(f"[bold]Sources[/]   {', '.join(m.references)}")
    stdout.print("[bold]Runs[/]      in `auditor mitigate`")
    if dataclasses.fields(config):
        stdout.print("\n[bold]Settings[/] (defaults; `--option NAME=VALUE` changes them)")
    for setting in dataclasses.fields(config):
        stdout.print(f"  {setting.name} = {plain(getattr(config, setting.name))}")
