"""Write the demo's records as two ordinary image folders.

Each folder has PNG files and a `metadata.jsonl` with `file_name` and `text`. The
planted members are written once per training repeat, as exact copies, so that an
audit can see their multiplicity. Which they are is told in `planted.json`, outside
both folders.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from auditor.demo.digits import N_PLANTED, SPLIT_SEED, DemoSplit, demo_splits, repeats


@dataclass(frozen=True, slots=True)
class DemoPaths:
    """Where the demo's records lie."""

    members: Path
    """Image folder of the members, the planted ones repeated."""
    nonmembers: Path
    """Image folder of the nonmembers."""
    planted: Path
    """JSON file: one list per planted record, with the names of its copies in `members`."""


def write_records(directory: Path) -> DemoPaths:
    """Write members, nonmembers and the list of planted records under a directory.

    Deterministic: two calls write the same bytes. Existing files are overwritten.
    """
    splits = demo_splits()
    paths = DemoPaths(
        members=directory / "members",
        nonmembers=directory / "nonmembers",
        planted=directory / "planted.json",
    )
    rows = np.repeat(np.arange(len(splits.members.captions)), repeats(len(splits.members.captions)))
    rows = np.random.default_rng(SPLIT_SEED).permutation(rows)  # copies do not lie together
    _write_folder(paths.members, splits.members, rows)
    _write_folder(paths.nonmembers, splits.nonmembers, np.arange(len(splits.nonmembers.captions)))
    names = [[_file_name(int(i)) for i in np.flatnonzero(rows == row)] for row in range(N_PLANTED)]
    paths.planted.write_text(json.dumps(names, indent=1) + "\n", encoding="utf-8")
    return paths


def _write_folder(folder: Path, split: DemoSplit, rows: NDArray[np.int64]) -> None:
    """Write the split's records in the order of `rows`, one file per row."""
    folder.mkdir(parents=True, exist_ok=True)
    for i, row in enumerate(rows):
        Image.fromarray(split.images[row]).save(folder / _file_name(i), format="PNG")
    _write_metadata(folder / "metadata.jsonl", (split.captions[row] for row in rows))


def _write_metadata(path: Path, captions: Iterable[str]) -> None:
    """Write one JSON line per file: its name and its caption."""
    lines = (
        json.dumps({"file_name": _file_name(i), "text": text}) for i, text in enumerate(captions)
    )
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _file_name(i: int) -> str:
    """The name of the i-th file of a folder; it does not tell planted from ordinary."""
    return f"{i:05d}.png"
