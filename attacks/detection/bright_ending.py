"""Bright ending: text magnitude where the last step attends to the end of the prompt.

Idea: at the last step, the places that copy a training image attend to the end token. Under that
mask, the text magnitude also finds prompts of which only a part of the image is memorized.
Citation: Chen et al., "Exploring Local Memorization in Diffusion Models via Bright Ending
Attention", ICLR 2025, arXiv:2410.21665.
Score: mean over steps and seeds of ||(eps(x_t, prompt) - eps(x_t, "")) m||_2 / mean(m) (equation
8), where m is the attention of each place to the end token at the last step, mean over heads and
the first two down-sampling layers of the highest resolution. Higher means more likely memorized.
Cost: 2 forward calls a step and seed: the mask comes from the last step, so that nothing is known
before. Shared with `text_magnitude_mean`.
Invalid when: prompts differ in style, as for `text_magnitude`; small models have too few places.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from attacks.detection import _common
from attacks.detection._common import Recordings, Setting
from attacks.detection.text_magnitude import mean_magnitude
from attacks.manifest import Access, DiffusionCapabilities, Manifest, Tier
from attacks.observations import Request
from attacks.observations.prompts import LocalMagnitudes

MANIFEST = Manifest(
    id="DET008",
    name="bright_ending",
    title="Text magnitude under the bright ending",
    goal=_common.GOAL,
    access=Access.WHITE_BOX,
    tags=_common.TAGS,
    references=("arXiv:2410.21665",),
    tier=Tier.THOROUGH,
    kind="detection",
)
IS_DIRECTED = True


def applicable(capabilities: DiffusionCapabilities) -> str | None:
    """None for models that take text, else the reason."""
    return _common.needs_text(capabilities)


def requests(setting: Setting) -> tuple[Request, ...]:
    """The magnitudes under the mask."""
    return (LocalMagnitudes(setting.steps, setting.guidance),)


def score(recorded: Recordings, setting: Setting) -> NDArray[np.float64]:
    """(p,) mean masked magnitude over seeds and steps; higher means more likely memorized."""
    (request,) = requests(setting)
    return mean_magnitude(recorded.of(request))


def local_magnitudes(squares: ArrayLike, mask: ArrayLike) -> NDArray[np.float64]:
    """(n, t) masked norms over the mean of the mask.

    squares: (n, t, h, w) squared differences of the two predictions, summed over channels;
    mask: (n, h, w) of the same size, not negative. A constant mask gives the plain norm.
    """
    m = np.asarray(mask, dtype=np.float64)
    s = np.asarray(squares, dtype=np.float64)
    weighted = np.einsum("nthw,nhw->nt", s, m**2)
    return np.sqrt(weighted) / m.mean(axis=(1, 2))[:, None]


def resized(mask: ArrayLike, height: int, width: int) -> NDArray[np.float64]:
    """(n, height, width) masks (n, h, w) blown up by whole factors, which keeps their mean.

    Other sizes take the nearest cell.
    """
    m = np.asarray(mask, dtype=np.float64)
    rows = np.arange(height) * m.shape[1] // height
    columns = np.arange(width) * m.shape[2] // width
    return m[:, rows][:, :, columns]
