"""What a scan of images will cost, and what its sizes can decide, before it runs."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass

from auditor.config import load_config
from auditor.images.scan import ImageScanOptions
from auditor.images.sets import FEWEST_BACKGROUND, list_sides
from auditor.matching import Prepared, best_match, open_encoder
from auditor.matching.index import KEYS, QUERIES
from auditor.matching.matcher import CANDIDATES
from auditor.policy import Policy, load_policy
from auditor.prepare import check_out
from auditor.records.images import decode_rgb
from auditor.records.side import Side
from auditor.records.sources import Unreadable
from auditor.wording import percent

N_SAMPLE = 8
"""Pictures on which the time is measured."""
N_CONTROL = 120
"""Planted copies that are matched too."""


@dataclass(frozen=True, slots=True)
class ImageOutlook:
    """Cost and reach of a scan."""

    n_generated: int
    n_training: int
    n_background: int
    encoder: str
    seconds: float
    """Expected wall seconds with an empty cache."""
    memory_mb: float
    """Of embeddings and one block of the search."""
    disk_mb: float
    """Of the stored embeddings."""
    reachable: tuple[str, ...]
    """What these sizes can decide, in sentences."""


def look_ahead(options: ImageScanOptions) -> ImageOutlook:
    """Read a few pictures, time the work on them, and extrapolate."""
    check_out(options.out)
    config = load_config(options.config)
    policy = Policy() if options.policy is None else load_policy(options.policy)
    sides = list_sides(options.generated, options.against, options.background, config.records)
    encoder = open_encoder(options.encoder, device=options.device)
    n_generated, n_training, n_background = (
        len(sides[name].listing.rows) if name in sides else 0
        for name in ("generated pictures", "training set", "background")
    )
    if options.limit is not None:
        n_generated, n_background = (min(n, options.limit) for n in (n_generated, n_background))
    pictures = _sample(sides["training set"])
    began = time.perf_counter()
    encoder.embed(pictures)
    embedding = (time.perf_counter() - began) / len(pictures)
    began = time.perf_counter()
    candidates = [Prepared.of(p) for p in pictures]
    best_match(Prepared.of(pictures[0]), candidates)
    verifying = (time.perf_counter() - began) / len(pictures) * 2 * CANDIDATES
    n_matched = n_generated + n_background + N_CONTROL
    n_vectors = n_training + n_generated + n_background
    mib = 2**20
    return ImageOutlook(
        n_generated=n_generated,
        n_training=n_training,
        n_background=n_background,
        encoder=encoder.name,
        seconds=embedding * (n_vectors + n_matched) + verifying * n_matched,
        memory_mb=(n_matched * encoder.width * 12 + 8 * KEYS * QUERIES) / mib,
        disk_mb=2 * n_vectors * encoder.width / mib,
        reachable=_reachable(n_generated, n_background, policy),
    )


def _sample(side: Side) -> list:
    """A few decoded pictures. Raises DataError through `check_readable` if none can be read."""
    pictures = []
    rows = side.listing.rows
    for row in rows[:: max(len(rows) // N_SAMPLE, 1)][:N_SAMPLE]:
        try:
            pictures.append(decode_rgb(row.source.read(), side.options.max_pixels))
        except Unreadable:
            side.n_unopened += 1
    if not pictures:
        side.n_unopened = len(rows)
        side.check_readable()
    return pictures


def _reachable(n_generated: int, n_background: int, policy: Policy) -> tuple[str, ...]:
    rule = policy.rules.extracted
    enough = math.ceil(math.log(policy.alpha_pass) / math.log1p(-rule.share))
    bound = 1 - policy.alpha_pass ** (1 / max(n_generated, 1))
    lines = [
        f"without a copy, {n_generated:,} distinct generated pictures bound the share of copies by "
        f"{percent(bound)}; a PASS needs {percent(rule.share)}, that is {enough:,} pictures"
    ]
    if n_background < FEWEST_BACKGROUND:
        lines.append(
            f"no PASS: it needs {FEWEST_BACKGROUND} or more held-out pictures (--background)"
        )
    lines.append("a FAIL needs one verified copy" if not rule.limit else "a FAIL needs copies of "
                 f"more than {rule.limit:,} training records")  # fmt: skip
    return tuple(lines)
