"""`auditor init`: a commented configuration and policy to start from."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from attacks.errors import UsageError
from auditor.cli.console import Debug, plain, stdout


def init(
    directory: Annotated[Path, typer.Argument(help="Where to write.")] = Path("."),
    force: Annotated[bool, typer.Option("--force", help="Overwrite existing files.")] = False,
    debug: Debug = False,
) -> None:
    """Write auditor.yaml (configuration) and policy.yaml, every line explained, and its schema.

    Example: auditor init audits
    """
    from auditor.config import TEMPLATE
    from auditor.policy import DEFAULT_POLICY_YAML, policy_json_schema
    from reports.files import write_atomic

    schema = json.dumps(policy_json_schema(), indent=2) + "\n"
    policy = f"# yaml-language-server: $schema=policy.schema.json\n{DEFAULT_POLICY_YAML}"
    texts = {"auditor.yaml": TEMPLATE, "policy.yaml": policy, "policy.schema.json": schema}
    existing = [name for name in texts if (directory / name).exists()]
    if existing and not force:
        raise UsageError(
            f"{directory / existing[0]} is already there; pass --force to overwrite it"
        )
    for name, text in texts.items():
        write_atomic(directory / name, text)
        stdout.print(f"wrote {plain(directory / name)}")
    stdout.print(
        "use them with: auditor scan model MODEL ... --config auditor.yaml --policy policy.yaml"
    )
