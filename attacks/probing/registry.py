"""The catalogue of probes: a table of names, imported on first use."""

from __future__ import annotations

import importlib
from typing import Any

from attacks.errors import UsageError, did_you_mean

PROBES = {"wanda": "attacks.probing.wanda"}
"""Name on the command line -> module, in the order of their ids."""


def probe(name: str) -> Any:
    """The probe of that name; UsageError if there is none."""
    if name not in PROBES:
        raise UsageError(f"unknown probe '{name}'; {did_you_mean(name, PROBES)}")
    return importlib.import_module(PROBES[name])
