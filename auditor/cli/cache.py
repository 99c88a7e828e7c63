"""`auditor cache purge`: delete the stored observations."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from auditor.cli.console import Debug, plain, stdout


def purge(
    cache: Annotated[
        Path | None, typer.Option("--cache", help="The cache directory; default: the user's.")
    ] = None,
    debug: Debug = False,
) -> None:
    """Delete every stored observation (they are private derivations of records).

    Example: auditor cache purge
    """
    from auditor.observe.cache import default_cache
    from auditor.observe.cache import purge as delete

    root = cache or default_cache()
    freed = delete(root)
    stdout.print(f"deleted {freed / 2**20:,.1f} MB of observations in {plain(root)}")
