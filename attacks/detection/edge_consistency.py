"""Edge consistency: after one step, a memorized prompt shows the same sharp edges at every seed.

Idea: one step leads to a blur for an ordinary prompt, and to a picture with edges where the model
knows the image; these lie at the same places whatever the seed.
Citation: Webster, "A Reproducible Extraction of Training Images from Diffusion Models",
arXiv:2305.08694 (black-box attack, 4 seeds).
Score: share of pixels, at 256 x 256, that are edges in more than half of the seeds. Edges are where
the Sobel magnitude, summed over RGB, exceeds 1.5. In [0, 1]; higher means more likely memorized.
As in the author's code, the filter also smooths over the three channels, which makes it four times
as large as one for each channel.
Our reading: the picture is the decoded x_0hat of the trajectory's first step, so that no call is
made beside those of the other detectors.
Cost: 2 forward calls and one decoding a seed, the calls shared with `text_magnitude`.
Invalid when: there is one seed (the score is then its number of edges); small pictures are blown
up to 256 pixels, which blurs their edges below the threshold.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from attacks.detection import _common
from attacks.detection._common import Recordings, Setting
from attacks.errors import ShapeError
from attacks.manifest import Access, DiffusionCapabilities, Manifest
from attacks.observations import Request
from attacks.observations.prompts import FirstEdges

MANIFEST = Manifest(
    id="DET005",
    name="edge_consistency",
    title="Edges that agree across seeds after one step",
    goal=_common.GOAL,
    access=Access.BLACK_BOX,
    tags=_common.TAGS,
    references=("arXiv:2305.08694",),
    kind="detection",
)
IS_DIRECTED = True
SIDE = 256
THRESHOLD = 1.5
SHARE_OF_SEEDS = 0.5


def applicable(capabilities: DiffusionCapabilities) -> str | None:
    """None for models that take text, else the reason."""
    return _common.needs_text(capabilities)


def requests(setting: Setting) -> tuple[Request, ...]:
    """The edges after the first step. Raises UsageError with a single seed."""
    _common.needs_two_seeds(setting, MANIFEST.name)
    return (FirstEdges(setting.steps, setting.guidance),)


def score(recorded: Recordings, setting: Setting) -> NDArray[np.float64]:
    """(p,) share of pixels that are edges in most seeds; higher means more likely memorized."""
    (request,) = requests(setting)
    packed = recorded.raw(request)
    return np.array([consistency(unpacked(of_prompt)) for of_prompt in packed], dtype=np.float64)


def consistency(edges: ArrayLike) -> float:
    """Share of pixels that are edges in more than half of the masks (s, h, w)."""
    return float((np.asarray(edges, dtype=np.float64).mean(axis=0) > SHARE_OF_SEEDS).mean())


def edge_mask(picture: ArrayLike) -> NDArray[np.bool_]:
    """(h, w) where the Sobel magnitude of a picture (h, w, channels) in [0, 1] exceeds 1.5."""
    pixels = np.asarray(picture, dtype=np.float32)
    if pixels.ndim != 3:
        raise ShapeError(f"expected a picture of shape (h, w, channels), got {pixels.shape}")
    mixed = _smoothed(np.moveaxis(pixels, 2, 0), 0)  # (channels, h, w)
    down = _slope(_smoothed(mixed, 2), 1)
    across = _slope(_smoothed(mixed, 1), 2)
    magnitude = np.sqrt(down**2 + across**2).sum(axis=0)
    return np.asarray(magnitude > THRESHOLD)


def _smoothed(values: NDArray[np.float32], axis: int) -> NDArray[np.float32]:
    """Weights 1, 2, 1 along an axis; beyond the border, its own value is repeated."""
    before, here, after = _neighbours(values, axis)
    found: NDArray[np.float32] = before + 2 * here + after
    return found


def _slope(values: NDArray[np.float32], axis: int) -> NDArray[np.float32]:
    """The value after minus the value before."""
    before, _, after = _neighbours(values, axis)
    found: NDArray[np.float32] = after - before
    return found


def _neighbours(values: NDArray[np.float32], axis: int) -> tuple[NDArray[np.float32], ...]:
    n = values.shape[axis]
    ends = [slice(0, 1), slice(n - 1, n)]
    first, last = (values[(*[slice(None)] * axis, end)] for end in ends)
    padded = np.concatenate([first, values, last], axis=axis)
    return tuple(padded[(*[slice(None)] * axis, slice(i, i + n))] for i in range(3))


def packed(masks: ArrayLike) -> NDArray[np.uint8]:
    """(n, 8192) bits of masks (n, 256, 256)."""
    flat = np.asarray(masks, dtype=bool)
    return np.packbits(flat.reshape(len(flat), -1), axis=1)


def unpacked(bits: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """(n, 256, 256) masks of packed bits."""
    return np.unpackbits(bits, axis=1, count=SIDE * SIDE).reshape(-1, SIDE, SIDE).astype(bool)
