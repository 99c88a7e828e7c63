"""The record of a mitigation, `mitigation.json` beside the changed model."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from attacks.errors import UsageError
from mitigations.manifest import Guarantee

FILE = "mitigation.json"
"""Its name in the directory of the changed model."""
PRIVATE = "private"
"""Folder beside it with what must never be published."""


class MitigationRecord(BaseModel):
    """What was changed, with what, and what that does not promise."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    schema_: Literal["auditor-mitigation/1"] = "auditor-mitigation/1"
    tool: str
    """Version of this package."""
    name: str
    id: str
    title: str
    guarantee: Guarantee
    references: tuple[str, ...]
    limits: str
    config: dict[str, Any]
    """Every setting."""
    seed: int
    base: str
    """Hash of the weights that were changed."""
    given: dict[str, int]
    """What it was given -> how many."""
    changed: dict[str, tuple[int, int]]
    """Parameter -> numbers changed, and numbers in it."""
    filter: dict[str, Any] | None = None
    """Settings of an inference filter; None for other kinds."""
    private: str | None = None
    """File with the private part of a filter, relative to the model; None without one."""
    private_sha256: str | None = None
    """Hash of that file."""
    facts: dict[str, float | int | str] = {}
    notes: tuple[str, ...] = ()
    seconds: float
    earlier: tuple[MitigationRecord, ...] = ()
    """Mitigations that the model already had."""

    @property
    def filter_facts(self) -> dict[str, Any]:
        """All that decides what its inference filter does."""
        return {
            "name": self.name,
            "filter": self.filter,
            "private": self.private_sha256,
        }

    @property
    def chain(self) -> tuple[MitigationRecord, ...]:
        """All mitigations of the model, the first one first."""
        return (*self.earlier, self)


def read_record(model: Path) -> MitigationRecord | None:
    """The record beside a model; None if nothing was done to it.

    Raises UsageError for a file that is none.
    """
    path = model / FILE
    if not path.is_file():
        return None
    try:
        return MitigationRecord.model_validate_json(path.read_bytes())
    except ValidationError as error:
        raise UsageError(
            f"{FILE} beside the model is no mitigation record of this version "
            f"({error.error_count()} problems); restore the file or apply the mitigation again"
        ) from None
