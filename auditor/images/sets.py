"""The sets of a scan of images: training, generated and held-out pictures, read and checked."""

from __future__ import annotations

import os
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from attacks.errors import DataError
from auditor.records import ReadOptions, Record
from auditor.records.compare import copy_notes
from auditor.records.listing import list_rows
from auditor.records.near import near_pairs
from auditor.records.side import Merged, Progress, Side, merge_copies
from auditor.records.sources import printable

FEWEST_BACKGROUND = 40
"""Held-out pictures that a background needs: half of them set the thresholds."""
MOST_DROPPED = 0.10
"""Share of held-out pictures that may be copies of training records."""


@dataclass(frozen=True, slots=True)
class ImageSets:
    """Distinct pictures of each set, in the order of their ids."""

    training: tuple[Record, ...]
    groups: NDArray[np.int64]
    """(t,) group of near-duplicates of each training record, counted from 0."""
    copies: NDArray[np.int64]
    """(g,) rows of the training set that each group stands for."""
    generated: tuple[Record, ...]
    background: tuple[Record, ...]
    """Held-out pictures that are no copies of training records; may be empty."""
    n_background_dropped: int
    """Held-out pictures that equal, or nearly equal, a training record."""
    n_unreadable: int
    notes: tuple[str, ...]

    @property
    def n_repeated(self) -> int:
        """Groups that stand for more than one row."""
        return int(np.count_nonzero(self.copies > 1))


def list_sides(
    generated: Path, training: Path, background: Path | None, options: ReadOptions
) -> dict[str, Side]:
    """Rows of each set by name. Raises DataError for missing, empty or overlapping data sets."""
    paths = {"training set": training, "generated pictures": generated}
    if background is not None:
        paths["background"] = background
    _check_paths(paths)
    return {
        name: Side(name, list_rows(path, options, split=None, side=name), options)
        for name, path in paths.items()
    }


def read_sets(
    sides: dict[str, Side],
    options: ReadOptions,
    *,
    limit: int | None,
    seed: int,
    on_progress: Progress | None,
) -> ImageSets:
    """Read all sets; the training set wholly, of the others at most `limit` pictures at random."""
    read: dict[str, Merged] = {}
    for name, side in sides.items():
        side.hash_rows(on_progress)
        own_limit = None if name == "training set" else limit
        read[name] = read_sample(side, own_limit, seed, on_progress)
    training = read["training set"]
    groups, notes = _groups(training, options)
    notes = [f"{s.name}: {note}" for s in sides.values() for note in s.listing.notes] + notes
    notes += copy_notes("generated pictures", read["generated pictures"].records)
    background, n_dropped = _held_out(read.get("background"), training, options)
    if n_dropped:
        notes.append(
            f"{n_dropped} held-out pictures equal or nearly equal a training record and were left "
            "out"
        )
    n_unreadable = sum(side.n_unreadable for side in sides.values())
    if n_unreadable:
        notes.append(f"{n_unreadable} rows are unreadable")
    multiplicity = np.array([record.multiplicity for record in training.records], np.int64)
    return ImageSets(
        training=training.records,
        groups=groups,
        copies=np.bincount(groups, weights=multiplicity).astype(np.int64),
        generated=read["generated pictures"].records,
        background=background,
        n_background_dropped=n_dropped,
        n_unreadable=n_unreadable,
        notes=tuple(notes),
    )


def read_sample(side: Side, limit: int | None, seed: int, on_progress: Progress | None) -> Merged:
    """At most `limit` distinct pictures at random: decoded in the order of the sample."""
    order, kept, pixels = side.sample_order(seed), [], set[str]()
    wanted = len(order) if limit is None else limit
    at = 0
    while at < len(order) and len(pixels) < wanted:
        batch = order[at : at + wanted - len(pixels)]
        at += len(batch)
        side.decode(batch, on_progress)
        readable = [digest for digest in batch if digest in side.pictures]
        kept += readable
        pixels.update(side.pictures[digest].pixels for digest in readable)
    side.check_readable()
    return merge_copies(side, kept)


def _check_paths(paths: dict[str, Path]) -> None:
    """Raise DataError if two sets are one data set, or one lies inside the other."""
    real = {name: os.path.realpath(path) for name, path in paths.items()}
    for (one, a), (other, b) in combinations(real.items(), 2):
        if a == b:
            raise DataError(
                f"the {one} and the {other} are the same data set ({printable(paths[one])}); "
                "pass different ones"
            )
        if a.startswith(b + os.sep) or b.startswith(a + os.sep):
            raise DataError(
                f"the {one} and the {other} lie inside each other; folders are read with all their "
                "folders, so put them side by side"
            )


def _groups(training: Merged, options: ReadOptions) -> tuple[NDArray[np.int64], list[str]]:
    """Group of near-duplicates of each record, and notes."""
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    n = len(training.records)
    alone = np.arange(n, dtype=np.int64)
    if not options.near_duplicate_rms or n * n > options.max_near_pairs:
        return alone, ["near-duplicates inside the training set were not looked for"]
    pairs = near_pairs(training.thumbs, training.thumbs, options.near_duplicate_rms)
    graph = coo_matrix((np.ones(len(pairs.queries), bool), pairs[:2]), shape=(n, n))
    n_groups, labels = connected_components(graph, directed=False)
    notes = []
    if n_groups < n:
        notes.append(
            f"the {n} distinct pictures of the training set form {n_groups} groups of "
            f"near-duplicates (RMS up to {options.near_duplicate_rms:g} at 16 x 16)"
        )
    if not pairs.is_complete:
        notes.append("the search for near-duplicates gave up early: too many similar pictures")
    return labels.astype(np.int64), notes


def _held_out(
    background: Merged | None, training: Merged, options: ReadOptions
) -> tuple[tuple[Record, ...], int]:
    """Held-out pictures that are no copies, and how many were left out. Raises DataError."""
    if background is None:
        return (), 0
    known = {record.pixels for record in training.records}
    is_copy = np.array([record.pixels in known for record in background.records])
    if options.near_duplicate_rms and (
        len(is_copy) * len(training.records) <= options.max_near_pairs
    ):
        pairs = near_pairs(background.thumbs, training.thumbs, options.near_duplicate_rms)
        is_copy[np.unique(pairs.queries)] = True
    n, n_dropped = len(is_copy), int(is_copy.sum())
    if n_dropped > MOST_DROPPED * n + 1e-9:
        raise DataError(
            f"{n_dropped} of {n} held-out pictures are copies of training records; pass pictures "
            "that were not trained on with --background"
        )
    kept = tuple(r for r, copy in zip(background.records, is_copy, strict=True) if not copy)
    if len(kept) < FEWEST_BACKGROUND:
        raise DataError(
            f"{len(kept)} held-out pictures are too few for a background; give "
            f"{FEWEST_BACKGROUND} or more, best as many as there are generated pictures"
        )
    return kept, n_dropped
