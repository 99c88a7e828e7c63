"""What a finding may cite: the loader of `crosswalk.yaml`.

A row that nobody has verified (mark U) is left out unless it is asked for by name.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from attacks.errors import InternalError

FILE = Path(__file__).parent / "crosswalk.yaml"
CITABLE = ("V", "V2", "K")
MARKS = {
    "V": "checked in the primary source",
    "V2": "checked in a secondary source that quotes it",
    "K": "stable, widely known text; not read again for this version",
    "U": "not verified",
}
COVERAGE_IDS = (
    "membership-inference",
    "attribute-inference",
    "exfiltration",
    "regurgitation",
    "model-inversion",
    "reconstruction",
)
"""The classes of EDPB Opinion 28/2024, paragraph 55, in its order."""


@dataclass(frozen=True, slots=True)
class CoverageClass:
    """One attack class that every report must account for."""

    id: str
    clause: str
    name: str
    mark: str
    meaning: str


@dataclass(frozen=True, slots=True)
class Citation:
    """One clause that a finding is evidence for or against."""

    framework: str
    """Key of the framework, such as `gdpr`."""
    title: str
    version: str
    id: str
    clause: str
    says: str
    mark: str
    source: str
    retrieved: str | None


@dataclass(frozen=True, slots=True)
class Framework:
    """A framework text that is cited, with its version."""

    key: str
    title: str
    version: str
    issuer: str
    retrieved: str | None


@functools.cache
def load() -> dict[str, Any]:
    """The file as it is, checked for marks and framework keys."""
    tree: dict[str, Any] = yaml.safe_load(FILE.read_text(encoding="utf-8"))
    for kind, block in tree["kinds"].items():
        for row in block["rows"]:
            if row["mark"] not in MARKS or row["framework"] not in tree["frameworks"]:
                raise InternalError(f"crosswalk.yaml, {kind}: bad mark or framework in {row}")
    return tree


def kinds() -> dict[str, str]:
    """Finding kind -> its code, such as `membership` -> `MIA`."""
    return {kind: block["code"] for kind, block in load()["kinds"].items()}


def coverage_classes() -> tuple[CoverageClass, ...]:
    """The six classes, in the order of the paragraph."""
    return tuple(CoverageClass(**row) for row in load()["coverage"])


def citations(kind: str, *, include_unverified: bool = False) -> tuple[Citation, ...]:
    """The clauses that a finding of this kind may cite."""
    block = load()["kinds"].get(kind, {"rows": ()})
    names = load()["frameworks"]
    return tuple(
        Citation(
            title=names[row["framework"]]["title"],
            version=names[row["framework"]]["version"],
            retrieved=names[row["framework"]]["retrieved"],
            **row,
        )
        for row in block["rows"]
        if include_unverified or row["mark"] in CITABLE
    )


def frameworks() -> tuple[Framework, ...]:
    """Every framework text with its version."""
    return tuple(Framework(key=key, **block) for key, block in load()["frameworks"].items())
