"""Images and records brought to one size, so that they can be compared."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from attacks.extraction.distances import TILES
from auditor.records import Record
from auditor.targets.diffusion import DiffusionTarget
from auditor.targets.sampling import to_uint8

LARGEST_SIDE = 64
"""Side in pixels at which images are compared at most: bounds memory and ignores fine grain."""


def side_of(target: DiffusionTarget) -> int:
    """Side at which images of this target are compared: a multiple of the number of tiles."""
    return max(TILES, min(LARGEST_SIDE, target.capabilities.resolution) // TILES * TILES)


def compared(images: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    """(n, side, side, channels) of (n, height, width, channels) images, averaged down."""
    if images.shape[1:3] == (side, side):
        return images
    return np.stack([_shrunk(_picture(image), side) for image in images])


def compared_records(
    target: DiffusionTarget,
    records: Sequence[Record],
    side: int,
    batch_size: int,
    on_done: Callable[[int], None] = lambda n: None,
) -> NDArray[np.uint8]:
    """(n, side, side, channels) records as the model would draw them, averaged down.

    They pass through the autoencoder of a latent model, whose own error is no distance.
    """
    found = []
    for start in range(0, len(records), batch_size):
        part = records[start : start + batch_size]
        drawn = to_uint8(target.decode(target.prepare([record.open() for record in part])))
        found.append(compared(drawn, side))
        on_done(len(part))
    return np.concatenate(found)


def _shrunk(picture: Image.Image, side: int) -> NDArray[np.uint8]:
    if picture.size != (side, side):
        picture = picture.resize((side, side), Image.Resampling.BOX)
    array = np.asarray(picture, dtype=np.uint8)
    return array[:, :, None] if array.ndim == 2 else array


def _picture(image: NDArray[np.uint8]) -> Image.Image:
    return Image.fromarray(image[:, :, 0] if image.shape[2] == 1 else image)
