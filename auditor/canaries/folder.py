"""The private folder of canaries: what was planted, with hashes that show any change."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from attacks.errors import DataError
from auditor.canaries.draw import Kind, flip_coins
from auditor.records.model import ReadOptions
from auditor.records.rows.reading import read_side
from auditor.records.rows.table import Table
from auditor.records.sources import printable

PLANT = "plant.json"
SUMS = "SHA256SUMS"
SCHEMA: Literal["auditor-canary-plant/1"] = "auditor-canary-plant/1"


class Plant(BaseModel):
    """`plant.json`: how the canaries were made. Secret until the model is trained."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    schema_: Literal["auditor-canary-plant/1"] = Field(SCHEMA, alias="schema")
    version: str
    """Version of auditor."""
    kind: Kind
    n: int
    """Canaries, m."""
    seed: str
    """Hex digits of the secret seed."""
    seed_source: Literal["operating system", "given"]
    coins: str
    """m characters, 1 for a canary that is in the training file."""
    data_sha256: str
    n_rows: int
    """Rows of the data."""
    train_sha256: str
    """Hash of the file to train on."""
    n_train: int
    """Its rows."""
    rows_taken_out: tuple[int, ...]
    """Rows of the data that are not in it, from 0; a header does not count."""
    canaries_file: str
    features: tuple[str, ...]
    label: str
    has_subjects: bool


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class PlantedCanaries:
    """The canaries of one folder."""

    plant: Plant
    table: Table
    """(m) features and labels."""
    is_in: NDArray[np.bool_]
    """(m,) coins."""
    commitment: str
    """Hash of plant.json, which was printed when the canaries were planted."""


def folder_files(plant: Plant, canaries: bytes) -> tuple[dict[str, bytes], str]:
    """Name -> content of every file of the folder, and the commitment to them."""
    body = (plant.model_dump_json(by_alias=True, indent=1) + "\n").encode()
    files = {PLANT: body, plant.canaries_file: canaries}
    sums = "".join(
        f"{hashlib.sha256(content).hexdigest()}  {name}\n" for name, content in files.items()
    )
    return files | {SUMS: sums.encode()}, hashlib.sha256(body).hexdigest()


def load_folder(folder: Path) -> PlantedCanaries:
    """Read a folder of canaries.

    Raises DataError if it is none, or if anything in it is not as it was planted.
    """
    plant_bytes = _checked(folder)
    try:
        plant = Plant.model_validate_json(plant_bytes)
    except ValidationError:
        raise DataError(
            f"{printable(folder / PLANT)} is not what this version of auditor writes; plant again, "
            "or use the version that wrote it"
        ) from None
    coins = np.array([c == "1" for c in plant.coins])
    if not np.array_equal(coins, flip_coins(bytes.fromhex(plant.seed), plant.n)):
        raise _tampered(PLANT, "its coins are not those of its seed")
    options = ReadOptions(feature_columns=plant.features, label_column=plant.label)
    side = read_side(
        folder / plant.canaries_file, options, split=None, side="canaries", with_answers=False
    )
    if len(side.labels) != plant.n:
        raise _tampered(plant.canaries_file, f"it holds {len(side.labels)} of {plant.n} canaries")
    return PlantedCanaries(
        plant, Table(side.features, side.labels), coins, hashlib.sha256(plant_bytes).hexdigest()
    )


def _checked(folder: Path) -> bytes:
    """The bytes of plant.json, after every file was compared with its hash."""
    if not (folder / PLANT).is_file() or not (folder / SUMS).is_file():
        raise DataError(
            f"{printable(folder)} holds no canaries; give the `canaries` folder that "
            "`auditor canaries plant` wrote"
        )
    plant_bytes = (folder / PLANT).read_bytes()
    names = set()
    for line in (folder / SUMS).read_text(encoding="utf-8", errors="replace").splitlines():
        digest, _, name = line.partition("  ")
        if "/" in name or not (folder / name).is_file():
            raise _tampered(name, "it is missing")
        if hashlib.sha256((folder / name).read_bytes()).hexdigest() != digest:
            raise _tampered(name, "its hash has changed")
        names.add(name)
    if len(names) != 2 or PLANT not in names:
        raise _tampered(SUMS, "it does not list the two files of the folder")
    return plant_bytes


def _tampered(name: str, why: str) -> DataError:
    return DataError(
        f"{printable(name)} in the folder of canaries was changed after planting ({why}), so no "
        "bound would hold; restore the folder, or plant and train again"
    )
