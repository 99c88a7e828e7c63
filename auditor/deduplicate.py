"""De-duplicate a data set before training: one row of each group of close pictures stays.

Exact copies are those of the same pixels. Candidates for other copies come from an index of
embeddings, mirrored pictures included, and each is measured by the tiled pixel distance under the
best registration (`auditor.matching.verify`): a similar scene is not a copy.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from attacks.errors import DataError
from auditor.config import load_config
from auditor.matching import EmbeddingStore, Matcher, open_encoder
from auditor.matching.encoders import Encoder
from auditor.matching.verify import CONVENTION
from auditor.observe.cache import default_cache
from auditor.prepare import reading
from auditor.progress import Progress
from auditor.records.listing import Row, list_rows
from auditor.records.model import Record
from auditor.records.side import Side, merge_copies
from auditor.records.sources import printable
from auditor.records.split import write_rows
from mitigations.deduplicate import close_captions, keep_one

DISTANCE = 0.08
"""Largest distance of a copy. Of 800 digits the nearest pair lies at 0.091, of 6,000 CIFAR-10
pictures 1 % lie below 0.12; JPEG at quality 50 moves both by at most 0.082, noise of 0.02 by 0.023."""


@dataclass(frozen=True, slots=True)
class DeduplicateOptions:
    """Everything that `auditor deduplicate` can be told, under the same names."""

    data: Path
    out: Path
    encoder: str | None = None
    """`pixels`, a TorchScript file, or open_clip:MODEL."""
    distance: float = DISTANCE
    captions: Literal["keep", "drop"] = "keep"
    """Whether different pictures with nearly equal captions count as repeats."""
    captions_above: float = 0.8
    """Jaccard similarity of 5-character shingles from which captions nearly agree."""
    config: Path | None = None
    cache: Path | None = None
    fresh: bool = False
    device: str = "auto"


@dataclass(frozen=True, slots=True)
class Deduplicated:
    """What stayed and what went, in rows."""

    data: Path
    """Parquet file to train on."""
    n_rows: int
    n_kept: int
    n_exact: int
    """Rows dropped because another has the same pixels."""
    n_close: int
    """Rows dropped because a picture that stays is close."""
    n_same_caption: int
    """Rows dropped because of their caption alone; 0 if captions are kept."""
    n_repeated_captions: int
    """Pictures that stay (or would) although an earlier one has nearly the same caption."""
    n_unreadable: int
    encoder: str
    """What found the candidates."""
    limits: str
    """What it misses."""


@dataclass(frozen=True, slots=True)
class _Outcome:
    """Which records stay, and why others go."""

    stays: NDArray[np.bool_]
    why: dict[int, tuple[str, int]]
    """Position of a record that goes -> reason, and position of the one that was close."""


def deduplicate(options: DeduplicateOptions, progress: Progress) -> Deduplicated:
    """Write deduplicated.parquet, dropped.jsonl and deduplicate.json into a new folder (mode 700).

    Raises DataError for data that cannot be read and for a folder that holds anything.
    """
    _check(options)
    reader = load_config(options.config).records
    side = Side("records", list_rows(options.data, reader, split=None, side="records"), reader)
    encoder = open_encoder(options.encoder, device=options.device)
    on_progress = reading(progress)
    side.hash_rows(on_progress)
    side.decode(side.copies, on_progress)
    side.check_readable()
    records = merge_copies(side, side.pictures).records
    outcome = _close_pictures(records, encoder, options, progress)
    repeated = _close_texts(records, outcome.stays, options.captions_above)
    if options.captions == "drop":
        for position, first in repeated.items():
            outcome.stays[position] = False
            outcome.why[position] = ("caption", first)
    dropped = [why for why, _ in outcome.why.values()]
    n_sound = sum(record.multiplicity for record in records)
    done = Deduplicated(
        data=options.out / "deduplicated.parquet",
        n_rows=n_sound,
        n_kept=int(outcome.stays.sum()),
        n_exact=n_sound - len(records),
        n_close=dropped.count("picture"),
        n_same_caption=dropped.count("caption"),
        n_repeated_captions=len(repeated),
        n_unreadable=side.n_unreadable,
        encoder=encoder.name,
        limits=encoder.limits,
    )
    _write(done, options, side, records, outcome)
    return done


def _check(options: DeduplicateOptions) -> None:
    out = options.out
    if os.path.lexists(out) and not (out.is_dir() and not any(out.iterdir())):
        raise DataError(f"{printable(out)} exists and is never overwritten; name a new folder")
    for name, value, low, high in (
        ("--distance", options.distance, 0.0, 0.5),
        ("--captions-above", options.captions_above, 0.1, 1.0),
    ):
        if not low <= value <= high:
            raise DataError(f"{name} must lie between {low:g} and {high:g}, got {value:g}")
    if options.captions not in ("keep", "drop"):
        raise DataError(f"--captions is keep or drop, not '{options.captions}'")


def _close_pictures(
    records: Sequence[Record], encoder: Encoder, options: DeduplicateOptions, progress: Progress
) -> _Outcome:
    """Rounds of nearest pictures, until none of those that stay is close to another that stays.

    What has no close picture in one round has none later, so that a round asks only for those
    whose nearest picture went.
    """
    stays = np.ones(len(records), dtype=bool)
    why: dict[int, tuple[str, int]] = {}
    store = EmbeddingStore(options.cache or default_cache(), encoder, options.fresh)
    asked = np.arange(len(records))
    title = "comparing pictures"
    while len(asked) and stays.sum() > 1:
        kept = np.flatnonzero(stays)
        matcher = Matcher([records[i] for i in kept.tolist()], store)
        store.embed_all(matcher.training, progress, "embedding pictures")
        own = np.searchsorted(kept, asked)
        found = matcher.match(
            [records[i] for i in asked.tolist()],
            progress,
            title,
            groups=np.arange(len(kept)),
            own=own,
        )
        is_close = found.distance <= options.distance
        first, second = asked[is_close], kept[found.record[is_close]]
        after = keep_one(len(records), first, second)
        for i, j in (*zip(first, second, strict=True), *zip(second, first, strict=True)):
            if not after[i] and after[j]:
                why.setdefault(int(i), ("picture", int(j)))
        stays &= after
        asked = first[stays[first] & ~stays[second]]
        title = "comparing the remaining pictures"
    return _Outcome(stays, why)


def _close_texts(
    records: Sequence[Record], stays: NDArray[np.bool_], above: float
) -> dict[int, int]:
    """Position of each picture that stays, with an earlier one of nearly the same caption."""
    kept = np.flatnonzero(stays)
    first, second = close_captions([records[i].caption or "" for i in kept.tolist()], above)
    alone = keep_one(len(kept), first, second)
    found: dict[int, int] = {}
    for a, b in zip(first.tolist(), second.tolist(), strict=True):
        if alone[a] and not alone[b]:
            found.setdefault(int(kept[b]), int(kept[a]))
    return found


def _write(
    done: Deduplicated,
    options: DeduplicateOptions,
    side: Side,
    records: Sequence[Record],
    outcome: _Outcome,
) -> None:
    """Write everything beside the final folder, then move it there in one step."""
    kept = {id(records[i].source) for i in np.flatnonzero(outcome.stays).tolist()}
    rows: list[Row] = []
    for copies in side.copies.values():
        rows += [row for row in copies if id(row.source) in kept]
    out = done.data.parent
    staging = out.with_name(f".{out.name}.{secrets.token_hex(4)}.tmp")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        staging.mkdir(mode=0o700)
        write_rows(staging / done.data.name, rows)
        (staging / "dropped.jsonl").write_text(_dropped(records, outcome), encoding="utf-8")
        facts = json.dumps(_facts(done, options), indent=2)
        (staging / "deduplicate.json").write_text(facts + "\n", encoding="utf-8")
        for file in staging.iterdir():
            file.chmod(0o600)
        os.rename(staging, out)
    except OSError as error:
        raise DataError(f"cannot write to {printable(out)} ({error.strerror})") from None
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _dropped(records: Sequence[Record], outcome: _Outcome) -> str:
    """A line for each distinct picture that went; the file is private like the data."""
    lines = []
    for position, (reason, kept) in sorted(outcome.why.items()):
        names = {"dropped": records[position].source.name, "for": records[kept].source.name}
        lines.append(json.dumps({**names, "close": reason}) + "\n")
    return "".join(lines)


def _facts(done: Deduplicated, options: DeduplicateOptions) -> dict[str, Any]:
    facts: dict[str, Any] = {"schema": "auditor-deduplicate/1", "mitigation": "MIT001"}
    facts |= {
        "guarantee": "training-time heuristic",
        "distance": options.distance,
        "distance_convention": CONVENTION,
        "captions": options.captions,
        "captions_above": options.captions_above,
    }
    names = (
        *("n_rows", "n_kept", "n_exact", "n_close", "n_same_caption", "n_repeated_captions"),
        *("n_unreadable", "encoder", "limits"),
    )
    return facts | {name: getattr(done, name) for name in names}
