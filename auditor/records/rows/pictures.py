"""Labelled pictures: read, compared and sampled as pictures are, then decoded into one array."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from attacks.errors import DataError
from auditor.records.listing import LABELS, list_rows
from auditor.records.load import load_pictures
from auditor.records.model import ReadOptions, Record, reading_order
from auditor.records.rows.load import assemble
from auditor.records.rows.model import RowRecord, RowSplits
from auditor.records.rows.single import LabelledRows
from auditor.records.rows.table import Table
from auditor.records.side import Side, merge_copies

if TYPE_CHECKING:
    from auditor.records.side import Progress

_GREY_MODES = ("1", "L", "LA", "La", "F")
"""Stored modes of grey pictures, beside those of 16 and 32 bits, which begin with I."""


def load_labelled_pictures(
    members: Path,
    nonmembers: Path,
    *,
    options: ReadOptions,
    calibration_share: float,
    limit: int | None,
    seed: int,
    on_progress: Progress | None,
) -> RowSplits:
    """Members and nonmembers among labelled pictures, decoded.

    Raises DataError as `load_splits` does, and if the pictures have different sizes.
    """
    found = load_pictures(
        members,
        nonmembers,
        options=options,
        calibration_share=0.0,  # divided below, with the labels known
        limit=limit,
        seed=seed,
        on_progress=on_progress,
        beside=LABELS,
    )
    parts = (found.members, found.nonmembers, found.withheld_members)
    order = sorted((record for part in parts for record in part), key=lambda r: r.id)
    position = {record.id: i for i, record in enumerate(order)}
    own, other, withheld = (
        [_row_record(record, position[record.id]) for record in part] for part in parts
    )
    return assemble(
        (own, other),
        Table(
            _decoded(order, options, on_progress),
            [record.caption or "" for record in order],
            is_pictures=True,
        ),
        calibration_share,
        seed,
        n_cross_split_dropped=found.n_cross_split_dropped,
        n_withheld=found.n_withheld_members,
        withheld=tuple(withheld),
        label_source=found.caption_source,
        notes=found.notes,
        n_unreadable=found.n_unreadable,
        near_duplicates=found.near_duplicates,
    )


def read_pictures(
    named: Sequence[tuple[str, Path]],
    splits: Sequence[str | None],
    options: ReadOptions,
    on_progress: Progress | None,
) -> LabelledRows:
    """Labelled pictures, decoded, and perhaps test pictures.

    named: what each set is called and where it lies, one set or two; splits: for each the value of
        the split column, or None.

    Raises DataError if they cannot be read or have different sizes.
    """
    sides = []
    for (name, path), split in zip(named, splits, strict=False):
        listing = list_rows(path, options, split=split, side=name, beside=LABELS)
        sides.append(Side(name, listing, options))
        sides[-1].hash_rows(on_progress)
        sides[-1].decode(sides[-1].copies, on_progress)
        sides[-1].check_readable()
    known = {picture.pixels for picture in sides[0].pictures.values()}
    own = merge_copies(sides[0], sides[0].pictures).records
    test: tuple[Record, ...] = ()
    n_dropped = 0
    for side in sides[1:]:
        kept = [d for d, picture in side.pictures.items() if picture.pixels not in known]
        n_dropped = len(side.pictures) - len(kept)
        test = merge_copies(side, kept).records
    pictures = [*own, *test]
    records = [_row_record(picture, i) for i, picture in enumerate(pictures)]
    n_unreadable = sum(side.n_unreadable for side in sides)
    return LabelledRows(
        records=tuple(records[: len(own)]),
        test=tuple(records[len(own) :]),
        table=Table(
            _decoded(pictures, options, on_progress),
            [record.label for record in records],
            is_pictures=True,
        ),
        groups=None,
        n_test_dropped=n_dropped,
        n_unreadable=n_unreadable,
        label_source="; test: ".join(dict.fromkeys(s.listing.caption_source for s in sides)),
        notes=(f"{n_unreadable} pictures are unreadable",) if n_unreadable else (),
    )


def _row_record(record: Record, position: int) -> RowRecord:
    return RowRecord(
        id=record.id,
        content=record.pixels,
        label=record.caption or "",
        subject=record.subject,
        multiplicity=record.multiplicity,
        position=position,
        source=record.source,
    )


def _decoded(
    records: Sequence[Record], options: ReadOptions, on_progress: Progress | None
) -> NDArray[np.uint8]:
    """(n, height, width, 1 or 3) pixels. Raises DataError if sizes differ."""
    is_grey = options.picture_mode == "grey" or (
        options.picture_mode == "auto"
        and all(r.mode in _GREY_MODES or r.mode.startswith("I") for r in records)
    )
    pixels: NDArray[np.uint8] | None = None
    sizes: Counter[tuple[int, int]] = Counter()
    for n_done, i in enumerate(reading_order(records), start=1):
        picture = records[i].open()
        sizes[picture.size] += 1
        array = np.asarray(picture.convert("L") if is_grey else picture)
        array = array.reshape(picture.height, picture.width, -1)
        if pixels is None:
            pixels = np.empty((len(records), *array.shape), np.uint8)
        if array.shape == pixels.shape[1:]:
            pixels[i] = array
        if on_progress is not None and (n_done % 64 == 0 or n_done == len(records)):
            on_progress("loading pictures", n_done, len(records))
    if len(sizes) > 1:
        (width, height), n_most = sizes.most_common(1)[0]
        raise DataError(
            f"the pictures have {len(sizes)} different sizes ({n_most} of {len(records)} are "
            f"{width} x {height}); resize them as they were for training, or save the arrays that "
            "the model takes as NPZ"
        )
    assert pixels is not None
    return pixels
