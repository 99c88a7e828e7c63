"""A mask as a file, so that one found on some data can be tried on other data."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from attacks.errors import UsageError
from mitigations.memcontrol.families import FAMILIES, Tuned

FILE = "mask.json"
"""Its name beside the changed model."""
SCHEMA = "auditor-mask/1"


@dataclass(frozen=True, slots=True)
class Mask:
    """What is trained, and how fast: the learning rate belongs to the mask."""

    tuned: Tuned
    learning_rate: float
    """That the mask was found with."""
    blocks: tuple[str, ...]
    """Names of the blocks that the bits stand for, in their order."""

    @property
    def text(self) -> str:
        """The bits as text, such as 011000."""
        return bits_text(self.tuned.bits)


def bits_text(bits: tuple[int, ...]) -> str:
    """The bits of a mask as text; bit 0 comes first."""
    return "".join(str(bit) for bit in bits)


def mask_json(mask: Mask) -> bytes:
    """The content of a mask's file."""
    return (
        json.dumps(
            {
                "schema": SCHEMA,
                "family": mask.tuned.family,
                "bits": mask.text,
                "rest": mask.tuned.rest,
                "rank": mask.tuned.rank,
                "learning_rate": mask.learning_rate,
                "blocks": list(mask.blocks),
            },
            indent=2,
        )
        + "\n"
    ).encode()


def read_mask(path: Path) -> Mask:
    """The mask of a file.

    Raises UsageError for a file that is none.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"the mask {path.name} cannot be read: {error.strerror}") from None
    except ValueError:
        found = None
    try:
        return _checked(found)
    except (KeyError, TypeError, ValueError):
        raise UsageError(
            f"{path.name} is no mask of this version; pass a {FILE} that "
            "`auditor mitigate memcontrol` wrote"
        ) from None


def _checked(found: Any) -> Mask:
    bits = tuple(int(bit) for bit in found["bits"])
    blocks = tuple(str(name) for name in found["blocks"])
    rate = float(found["learning_rate"])
    is_sound = (
        found["schema"] == SCHEMA
        and found["family"] in FAMILIES
        and set(bits) <= {0, 1}
        and len(bits) == len(blocks)
        and 0 < rate < float("inf")
        and int(found["rank"]) >= 1
    )
    if not is_sound:
        raise ValueError
    tuned = Tuned(str(found["family"]), bits, bool(found["rest"]), int(found["rank"]))
    return Mask(tuned, rate, blocks)
