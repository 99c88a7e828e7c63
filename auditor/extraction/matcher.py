"""The matcher's own control: would a copy be recognised as one?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from PIL import Image

from attacks.extraction.nearest import nearest
from auditor.controls.sampling import draw
from auditor.extraction.pictures import compared
from auditor.extraction.search import Search
from auditor.records import Record
from auditor.targets.diffusion import DiffusionTarget
from auditor.targets.sampling import to_uint8

N_PLANTED = 18
"""Members that are degraded and shown to the matcher."""
NOISE = 0.02
"""Standard deviation of the noise that they get, pixels in [0, 1]."""


class Planted(NamedTuple):
    """How many degraded copies there were, and how many were claimed for the right member."""

    n: int
    found: int


def planted_found(
    target: DiffusionTarget,
    members: Sequence[Record],
    search: Search,
    threshold: float,
    seed: int,
) -> Planted:
    """Show the matcher members as a model that memorized them would draw them.

    They pass through the target's autoencoder, if it has one, and get noise; found counts those
    that are claimed for the right member.
    """
    chosen = draw(members, N_PLANTED, seed, "matcher")
    place = {record.id: i for i, record in enumerate(members)}
    pictures: list[Image.Image] = [record.open() for record in chosen]
    decoded = to_uint8(target.decode(target.prepare(pictures)))
    noise = np.random.default_rng(seed).normal(0, 255 * NOISE, decoded.shape)
    images = np.clip(decoded + noise, 0, 255).round().astype(np.uint8)
    found = nearest(compared(images, search.records.shape[1]), search.records)
    right = np.array([place[record.id] for record in chosen])
    hits = (found.record == right) & (found.of_image <= threshold)
    return Planted(len(chosen), int(hits.sum()))
