"""The catalogue of mitigations: a table of names, imported on first use.

Other packages add mitigations through the entry-point group `auditor.mitigations`: the name on
the left, a module (or any object) with the members of `mitigations.material.Mitigation` on the
right.
"""

from __future__ import annotations

import functools
import importlib
from importlib.metadata import EntryPoint, entry_points
from typing import cast

from attacks.errors import UsageError, did_you_mean
from mitigations.material import Mitigation

GROUP = "auditor.mitigations"
"""Entry-point group of mitigations from other packages."""

BUILT_IN: dict[str, str] = {
    "prompt_adjust": "mitigations.prompt_adjust",
    "random_tokens": "mitigations.random_tokens",
    "attention_rescale": "mitigations.attention_rescale",
    "anti_memorization_guidance": "mitigations.anti_memorization_guidance",
    "delayed_guidance": "mitigations.delayed_guidance",
    "opposite_guidance": "mitigations.opposite_guidance",
    "prune": "mitigations.prune",
    "memcontrol": "mitigations.memcontrol",
    "early_stopping": "mitigations.early_stopping",
    "caption_randomisation": "mitigations.caption_randomisation",
    "norm_filter": "mitigations.norm_filter",
    "dp_sgd": "mitigations.dp_sgd",
}
"""Name on the command line -> module, in the order of their ids."""

MEMBERS = ("MANIFEST", "default_config", "applicable", "apply")
"""What is looked for in a mitigation from another package."""


def names() -> tuple[str, ...]:
    """Every known name, built-in ones first; nothing is imported."""
    return (*BUILT_IN, *sorted(set(_entry_points()) - set(BUILT_IN)))


def mitigation(name: str) -> Mitigation:
    """The mitigation of that name.

    Raises UsageError if there is none, or if the package that offers it is broken.
    """
    if name in BUILT_IN:
        return cast(Mitigation, importlib.import_module(BUILT_IN[name]))
    if name in _entry_points():
        return _load(_entry_points()[name])
    raise UsageError(f"unknown mitigation '{name}'; {did_you_mean(name, names())}")


def all_mitigations() -> tuple[Mitigation, ...]:
    """Every built-in mitigation."""
    return tuple(mitigation(name) for name in BUILT_IN)


@functools.cache
def _entry_points() -> dict[str, EntryPoint]:
    return {entry_point.name: entry_point for entry_point in entry_points(group=GROUP)}


def _load(entry_point: EntryPoint) -> Mitigation:
    try:
        loaded = entry_point.load()
    except Exception as error:  # foreign code: whatever it raises is its own fault, by name
        raise UsageError(
            f"mitigation '{entry_point.name}' cannot be loaded ({type(error).__name__}: {error}); "
            "update or remove its package"
        ) from error
    missing = [member for member in MEMBERS if not hasattr(loaded, member)]
    if missing:
        raise UsageError(
            f"mitigation '{entry_point.name}' lacks {', '.join(missing)}; "
            "update or remove its package"
        )
    return cast(Mitigation, loaded)
