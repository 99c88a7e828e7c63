"""Families of targets: what a scan does differently for each kind of model."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Protocol, cast

from attacks.errors import UsageError, did_you_mean

if TYPE_CHECKING:
    from auditor.prepare import PreparedScan, ScanOptions
    from auditor.progress import Progress

FAMILIES = {
    "diffusion": "auditor.families.diffusion",
    "classifier": "auditor.families.classifier",
}
"""Name in `--family` -> module, imported on first use."""


class Family(Protocol):
    """What the module of a family has."""

    def prepare(self, options: ScanOptions, progress: Progress) -> PreparedScan:
        """Read and check everything that a scan of this family needs."""


def family_of(options: ScanOptions) -> Family:
    """The module of the family that the options name, or that the model is recognised as."""
    return cast(Family, importlib.import_module(FAMILIES[family_name(options)]))


def family_name(options: ScanOptions) -> str:
    """The family that the options name, or that the model is recognised as."""
    from auditor.targets.classifier.formats import recognise

    name = recognise(options.model) if options.family == "auto" else options.family
    if name not in FAMILIES:
        raise UsageError(f"unknown family '{name}'; {did_you_mean(name, FAMILIES)}")
    return name
