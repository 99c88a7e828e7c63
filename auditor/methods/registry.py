"""The catalogue of methods: a table of names, imported on first use.

Other packages add methods through the entry-point group `auditor.methods`: the name on the left,
a module (or any object) with the members of `auditor.methods.protocol.Method` on the right. One
that cannot be loaded never disturbs the others: `all_methods` leaves it out, `broken_methods`
says why, and only asking for it by name raises.
"""

from __future__ import annotations

import functools
import importlib
from importlib.metadata import EntryPoint, entry_points
from typing import cast

from attacks.errors import UsageError, did_you_mean
from auditor.methods.protocol import Method, MethodManifest

GROUP = "auditor.methods"
"""Entry-point group of methods from other packages."""

BUILT_IN = {
    "memo": "auditor.methods.memo.method",
    "tesla": "auditor.methods.tesla.method",
}
"""Name on the command line -> module."""

MEMBERS = ("MANIFEST", "default_data", "train", "baseline", "claim", "own_question")
"""What is looked for in a method from another package."""


def names() -> tuple[str, ...]:
    """Every known name, built-in ones first; nothing is imported."""
    return (*BUILT_IN, *sorted(set(_entry_points()) - set(BUILT_IN)))


def method(name: str) -> Method:
    """The method of that name.

    Raises UsageError if there is none, or if the package that offers it is broken.
    """
    if name in BUILT_IN:
        return cast(Method, importlib.import_module(BUILT_IN[name]))
    if name in _entry_points():
        return _load(_entry_points()[name])
    raise UsageError(f"unknown method '{name}'; {did_you_mean(name, names())}")


def all_methods() -> tuple[Method, ...]:
    """Every method that can be loaded, built-in ones first."""
    broken = broken_methods()
    return tuple(method(name) for name in names() if name not in broken)


def broken_methods() -> dict[str, str]:
    """Name -> what is wrong, for methods of other packages that cannot be loaded."""
    reasons: dict[str, str] = {}
    for name, entry_point in _entry_points().items():
        if name in BUILT_IN:
            reasons[f"{name} ({_origin(entry_point)})"] = "the name belongs to a built-in method"
            continue
        try:
            _load(entry_point)
        except UsageError as error:
            reasons[name] = str(error)
    return reasons


@functools.cache
def _entry_points() -> dict[str, EntryPoint]:
    return {entry_point.name: entry_point for entry_point in entry_points(group=GROUP)}


@functools.cache
def _load(entry_point: EntryPoint) -> Method:
    where = f"method '{entry_point.name}' of {_origin(entry_point)}"
    try:
        loaded = entry_point.load()
    except Exception as error:  # foreign code: whatever it raises is its own fault, by name
        raise UsageError(
            f"{where} cannot be loaded ({type(error).__name__}: {error}); update or remove it"
        ) from error
    missing = [member for member in MEMBERS if not hasattr(loaded, member)]
    if missing:
        raise UsageError(f"{where} lacks {', '.join(missing)}; update or remove it")
    if not isinstance(loaded.MANIFEST, MethodManifest):
        raise UsageError(f"{where} has a MANIFEST that is no auditor.methods.MethodManifest")
    if loaded.MANIFEST.name != entry_point.name:
        raise UsageError(
            f"{where} calls itself '{loaded.MANIFEST.name}' in its manifest; the names must agree"
        )
    return cast(Method, loaded)


def _origin(entry_point: EntryPoint) -> str:
    distribution = entry_point.dist
    return f"package {distribution.name}" if distribution else f"module {entry_point.module}"
