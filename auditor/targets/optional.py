"""Packages that only some targets need, imported when they are needed."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from attacks.errors import TargetError


def import_optional(module: str, *, extra: str, purpose: str) -> Any:
    """A module of an optional package.

    extra: the extra of our package that installs it; purpose: what it is needed for.
    Raises TargetError that says how to install it.
    """
    try:
        return import_module(module)
    except ImportError as error:
        raise TargetError(
            f"{purpose} needs the package {module.split('.')[0]}, which cannot be imported; run: "
            f'pip install "memorization-auditor[{extra}]"'
        ) from error
