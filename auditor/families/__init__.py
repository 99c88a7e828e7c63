"""Families of targets: what a scan does differently for each kind of model."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Protocol, cast

if TYPE_CHECKING:
    from auditor.prepare import PreparedScan, ScanOptions
    from auditor.progress import Progress

FAMILIES = {"diffusion": "auditor.families.diffusion"}
"""Name in `--family` -> module, imported on first use."""


class Family(Protocol):
    """What the module of a family has."""

    def prepare(self, options: ScanOptions, progress: Progress) -> PreparedScan:
        """Read and check everything that a scan of this family needs."""


def family(name: str) -> Family:
    """The module of a family."""
    return cast(Family, importlib.import_module(FAMILIES[name]))
