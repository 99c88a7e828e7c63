"""A matched hold-out, made before training: random by content, with nothing that straddles.

Rows that share pixels, a subject, or nearly equal pictures form a group, and a group goes to one
side as a whole. The order of the groups is a keyed hash of their content. The result is two Parquet
files, which both a trainer and `load_splits` read, so that what was trained on and what is audited
are the same bytes. Parquet input keeps all its columns; pictures in files become the columns
`image` (bytes, path), `text` and `subject`.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

from attacks.errors import DataError
from auditor.records.identity import keyed_rank
from auditor.records.listing import Row, list_rows
from auditor.records.model import ReadOptions
from auditor.records.near import near_pairs
from auditor.records.side import Progress, Side
from auditor.records.sources import ParquetSource, Unreadable, printable

if TYPE_CHECKING:
    import pyarrow as pa

_BATCH_BYTES = 32 * 2**20


@dataclass(frozen=True, slots=True)
class HeldOut:
    """A data set in two parts."""

    members: Path
    """Parquet file to train on."""
    nonmembers: Path
    """Parquet file to keep away from training."""
    n_members: int
    """Rows to train on, copies included."""
    n_nonmembers: int
    """Rows held out, copies included."""
    n_groups: int
    """Groups of copies, near-duplicates and subjects that were kept whole."""
    n_unreadable: int
    """Rows that are in neither file."""
    notes: tuple[str, ...]
    """What the user should know."""


def split_dataset(
    path: Path,
    out: Path,
    *,
    options: ReadOptions | None = None,
    nonmember_share: float = 0.5,
    seed: int = 0,
    on_progress: Progress | None = None,
) -> HeldOut:
    """Write members.parquet, nonmembers.parquet and split.json into a new folder (mode 700).

    nonmember_share: share of the distinct pictures to hold out, in (0, 1); a large group may
        leave it a little below.
    Raises DataError if `out` holds anything, the data are unreadable, or one part would be empty.
    """
    options, path, out = options or ReadOptions(), Path(path), Path(out)
    if not 0 < nonmember_share < 1:
        raise DataError(f"nonmember_share must lie between 0 and 1, got {nonmember_share}")
    if options.split_column is not None:
        raise DataError("split_column is set: the data are split already; read them as they are")
    if os.path.lexists(out) and not (out.is_dir() and not any(out.iterdir())):
        raise DataError(f"{printable(out)} exists and is never overwritten; name a new folder")
    side = Side("records", list_rows(path, options, split=None, side="records"), options)
    side.hash_rows(on_progress)
    side.decode(side.copies, on_progress)
    side.check_readable()
    groups, notes = _groups(side)
    held_out = _draw(groups, nonmember_share, seed)
    parts: tuple[list[Row], list[Row]] = ([], [])
    for digest, rows in side.copies.items():
        if digest in side.pictures:
            parts[side.pictures[digest].pixels in held_out].extend(rows)
    if not all(parts):
        raise DataError(
            f"the data fall into {len(groups)} groups of copies and subjects, too few for a "
            f"hold-out of {nonmember_share:.0%}; give more records or another share"
        )
    result = HeldOut(
        out / "members.parquet",
        out / "nonmembers.parquet",
        len(parts[0]),
        len(parts[1]),
        len(groups),
        side.n_unreadable,
        tuple(notes),
    )
    _write(result, parts, {"seed": seed, "nonmember_share": nonmember_share})
    return result


def _groups(side: Side) -> tuple[list[list[str]], list[str]]:
    """Lists of pixel hashes that must stay together, and notes."""
    import numpy as np
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    by_pixels = {picture.pixels: picture.thumb for picture in side.pictures.values()}
    pixels = sorted(by_pixels)
    position = {value: i for i, value in enumerate(pixels)}
    links: list[tuple[int, int]] = []
    first_of: dict[str, int] = {}
    for digest, picture in side.pictures.items():
        here = position[picture.pixels]
        for row in side.copies[digest]:
            if row.subject is not None:
                links.append((first_of.setdefault(row.subject, here), here))
    thumbs = [by_pixels[value] for value in pixels]
    pairs = near_pairs(thumbs, thumbs, side.options.near_duplicate_rms)
    a = np.concatenate([np.array([i for i, _ in links], np.int64), pairs.queries])
    b = np.concatenate([np.array([j for _, j in links], np.int64), pairs.keys])
    graph = coo_matrix((np.ones(len(a), bool), (a, b)), shape=(len(pixels), len(pixels)))
    n_groups, labels = connected_components(graph, directed=False)
    groups: list[list[str]] = [[] for _ in range(n_groups)]
    for value, label in zip(pixels, labels, strict=True):
        groups[label].append(value)
    notes = []
    if not pairs.is_complete:
        notes.append("the search for near-duplicates gave up early: too many similar pictures")
    if side.n_unreadable:
        notes.append(f"{side.n_unreadable} rows are unreadable and in neither part")
    return groups, notes


def _draw(groups: Sequence[Sequence[str]], share: float, seed: int) -> set[str]:
    """Pixel hashes of the groups that are held out: in keyed order, until the share is full."""
    wanted = round(share * sum(map(len, groups)))
    held_out: set[str] = set()
    for group in sorted(groups, key=lambda g: (keyed_rank("hold-out", seed, min(g)), min(g))):
        if len(held_out) + len(group) <= wanted:
            held_out.update(group)
    return held_out


def _write(result: HeldOut, parts: Sequence[Sequence[Row]], how: dict[str, float]) -> None:
    """Write everything beside the final folder, then move it there in one step."""
    out = result.members.parent
    staging = out.with_name(f".{out.name}.{secrets.token_hex(4)}.tmp")
    facts = {"schema": "auditor-split/1", **how}
    facts |= {
        name: getattr(result, name)
        for name in ("n_members", "n_nonmembers", "n_groups", "n_unreadable", "notes")
    }
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        staging.mkdir(mode=0o700)
        write_rows(staging / result.members.name, parts[0])
        write_rows(staging / result.nonmembers.name, parts[1])
        (staging / "split.json").write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")
        for file in staging.iterdir():
            file.chmod(0o600)
        os.rename(staging, out)
    except OSError as error:
        raise DataError(f"cannot write to {printable(out)} ({error.strerror})") from None
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def write_rows(path: Path, rows: Sequence[Row]) -> None:
    """Stream rows into one Parquet file. Raises DataError if shards have different columns."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    is_parquet = isinstance(rows[0].source, ParquetSource)
    writer = None
    try:
        for table in _parquet_tables(rows) if is_parquet else _file_tables(rows):
            writer = writer or pq.ParquetWriter(path, table.schema)
            writer.write_table(table)
    except (pa.ArrowException, ValueError):
        raise DataError("the Parquet files do not have the same columns; unite them") from None
    finally:
        if writer is not None:
            writer.close()


def _parquet_tables(rows: Sequence[Row]) -> Iterator[pa.Table]:
    """The chosen rows with all their columns, one table a row group."""
    import pyarrow.parquet as pq

    sources = [row.source for row in rows if isinstance(row.source, ParquetSource)]
    sources.sort(key=lambda s: (s.path, s.row))
    for (path, group), members in groupby(sources, key=lambda s: (s.path, s.group)):
        with pq.ParquetFile(path) as file:
            table = file.read_row_group(group, use_threads=False)
        yield table.take([source.index for source in members])


def _file_tables(rows: Sequence[Row]) -> Iterator[pa.Table]:
    """Pictures with path, caption and subject, in tables of about _BATCH_BYTES."""
    import pyarrow as pa

    schema = pa.schema(
        {
            "image": pa.struct({"bytes": pa.binary(), "path": pa.string()}),
            "text": pa.string(),
            "subject": pa.string(),
        }
    )
    # `datasets` shows the column as pictures if it is told so.
    features = {"image": {"_type": "Image"}}
    features |= {name: {"dtype": "string", "_type": "Value"} for name in ("text", "subject")}
    schema = schema.with_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    batch: list[dict[str, object]] = []
    n_bytes = 0
    for row in sorted(rows, key=lambda r: r.source.name):
        try:
            encoded = row.source.read()
        except Unreadable as reason:
            raise DataError(f"{row.source.place} changed while it was read: {reason}") from None
        name = row.source.name.encode("utf-8", "backslashreplace").decode()
        picture = {"bytes": encoded, "path": name}
        batch.append({"image": picture, "text": row.caption, "subject": row.subject})
        n_bytes += len(encoded)
        if n_bytes > _BATCH_BYTES:
            yield pa.Table.from_pylist(batch, schema=schema)
            batch, n_bytes = [], 0
    if batch:
        yield pa.Table.from_pylist(batch, schema=schema)
