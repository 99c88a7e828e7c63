"""Verification of candidate pairs by pixels: the tiled distance under the best registration.

Both pictures become 64 x 64 pixels by the same filter. A generation may be a mirrored or cropped
copy, so it is laid over each candidate as it is, mirrored, and as crops that keep at least 80 % of
each side: all of them coarsely, and finely around the best. The smallest tiled distance counts,
and held-out pictures are measured in the same way, since a minimum over many placements is smaller
for everything.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from attacks.extraction.distances import TILES, tiled_convention

SIDE = 64
"""Pixels a side at which pictures are compared."""
CANVAS = 128
"""Pixels a side from which crops are cut."""
COARSE = 16
"""Pixels a side at which all crops are compared."""
SMALLEST_CROP = 0.8
"""Share of each side that a crop keeps at least."""
CONVENTION = f"{tiled_convention()} of {SIDE} x {SIDE} pixels, best registration"
"""What a verified distance is measured in."""
VERSION = 1
"""Raised when the same two pictures may get another distance: stored matches are then not used."""
GOOD_ENOUGH = 0.02
"""Distance below which no crop is tried."""
HOPELESS = 0.15
"""Coarse rms above which a crop is not refined."""
MOST_REFINED = 2
"""Crops, over all candidates, that are refined."""
_STEPS = (0.02, 0.02, 0.01, 0.01, 0.005)
_MOVES = (
    *((1, 0, 0), (-1, 0, 0), (0, 1, 0), (0, -1, 0)),
    *((-0.5, -0.5, 1), (0.5, 0.5, -1)),
)
"""Steps to the right, downwards, and in size around the centre."""
_FILTER = Image.Resampling.BILINEAR


class Verified(NamedTuple):
    """The candidate that a generation is nearest to."""

    candidate: int
    """Its position among the candidates."""
    distance: float
    """In the convention CONVENTION."""
    registration: str
    """`as it is`, `mirrored`, `cropped` or `mirrored and cropped`."""


class _Box(NamedTuple):
    """A crop of a square picture, in shares of its side."""

    left: float
    top: float
    width: float
    height: float

    def on(self, side: int) -> tuple[float, float, float, float]:
        """Left, upper, right and lower edge in a picture with sides of so many pixels."""
        edges = (self.left, self.top, self.left + self.width, self.top + self.height)
        left, top, right, bottom = (min(max(edge, 0.0), 1.0) * side for edge in edges)
        return left, top, right, bottom

    def is_allowed(self) -> bool:
        """Whether it lies inside the picture and keeps enough of it."""
        sides = (self.left, self.top, 1 - self.left - self.width, 1 - self.top - self.height)
        return min(sides) >= -1e-9 and min(self.width, self.height) >= SMALLEST_CROP - 1e-9


def _grid() -> tuple[_Box, ...]:
    """Crops of four sizes, their edges 5 % of a side apart."""
    boxes = []
    for steps in (1, 2, 3, 4):
        size = 1 - 0.05 * steps
        edges = [0.05 * i for i in range(steps + 1)]
        boxes += [_Box(left, top, size, size) for left, top in itertools.product(edges, repeat=2)]
    return tuple(boxes)


_BOXES = _grid()


@dataclass(frozen=True)
class Prepared:
    """A picture in the sizes that are compared."""

    full: NDArray[np.float32]
    """(SIDE, SIDE, 3) in [0, 1]."""
    coarse: NDArray[np.float32]
    """(COARSE, COARSE, 3) in [0, 1]."""
    canvas: Image.Image
    """CANVAS pixels a side."""

    @classmethod
    def of(cls, picture: Image.Image) -> Prepared:
        """Prepare an RGB picture; sides are made equal by squashing."""
        canvas = picture.resize((CANVAS, CANVAS), _FILTER)
        return cls(_unit(picture, SIDE), _unit(picture, COARSE), canvas)

    @cached_property
    def crops(self) -> NDArray[np.float32]:
        """(b, COARSE * COARSE * 3) every crop of the grid, in [0, 1]."""
        small = self.canvas.resize((SIDE, SIDE), _FILTER)
        return np.stack([_unit(small, COARSE, box).ravel() for box in _BOXES])


def _unit(picture: Image.Image, side: int, box: _Box | None = None) -> NDArray[np.float32]:
    where = None if box is None else box.on(picture.width)
    resized = picture.resize((side, side), _FILTER, box=where)
    return np.asarray(resized, dtype=np.float32) / np.float32(255)


def best_match(generated: Prepared, candidates: Sequence[Prepared]) -> Verified:
    """The candidate at the smallest tiled distance over all placements.

    There must be at least one. Of equal distances the earlier candidate and simpler placement win.
    """
    views = [
        ("", generated.full, generated.coarse),
        ("mirrored", generated.full[:, ::-1], generated.coarse[:, ::-1]),
    ]
    best = Verified(0, np.inf, "")
    for (i, candidate), (name, full, _) in itertools.product(enumerate(candidates), views):
        distance = _tile_maximum(full, candidate.full)
        if distance < best.distance:
            best = Verified(i, distance, name or "as it is")
    if best.distance <= GOOD_ENOUGH:
        return best
    coarse = np.stack([one.ravel() for _, _, one in views])
    places: list[tuple[float, int, int, int]] = []
    for i, candidate in enumerate(candidates):
        errors = _mean_squares(coarse, candidate.crops)
        places += [(float(e.min()), i, v, int(e.argmin())) for v, e in enumerate(errors)]
    for rough, i, v, b in sorted(places)[:MOST_REFINED]:
        if rough <= HOPELESS**2:
            name, full, _ = views[v]
            distance = _refined(full, candidates[i].canvas, _BOXES[b])
            if distance < best.distance:
                best = Verified(i, distance, f"{name} and cropped" if name else "cropped")
    return best


def _mean_squares(a: NDArray[np.float32], b: NDArray[np.float32]) -> NDArray[np.float32]:
    """(n, m) mean squared differences of (n, d) and (m, d) rows; good to about 1e-6."""
    squares = np.einsum("nd,nd->n", a, a)[:, None] + np.einsum("md,md->m", b, b)
    return np.maximum(squares - 2 * a @ b.T, 0) / np.float32(a.shape[1])


def _refined(full: NDArray[np.float32], canvas: Image.Image, box: _Box) -> float:
    """Smallest distance over crops around a box, one move at a time in steps that get smaller."""
    distance = _tile_maximum(full, _unit(canvas, SIDE, box))
    for step in _STEPS:
        for dx, dy, grow in _MOVES:
            moved = _Box(
                box.left + step * dx,
                box.top + step * dy,
                box.width + step * grow,
                box.height + step * grow,
            )
            if moved.is_allowed():
                found = _tile_maximum(full, _unit(canvas, SIDE, moved))
                if found < distance:
                    distance, box = found, moved
    return distance


def _tile_maximum(a: NDArray[np.float32], b: NDArray[np.float32]) -> float:
    """`attacks.extraction.tiled_rms` of two prepared pictures, without its checks."""
    edge = SIDE // TILES
    difference = (a - b).reshape(TILES, edge, TILES, edge * 3)
    squares = np.einsum("ahbw,ahbw->ab", difference, difference)
    return float(np.sqrt(squares.max() / (edge * edge * 3)))
