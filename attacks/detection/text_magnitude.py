"""Text magnitude: a memorized prompt pulls the first prediction hard away from the empty text.

Idea: the text-conditional part of the predicted noise, eps(x_T, prompt) - eps(x_T, ""), is large
where the prompt alone decides the image, whatever the initial noise.
Citation: Wen et al., "Detecting, Explaining, and Mitigating Memorization in Diffusion Models",
ICLR 2024, arXiv:2407.21720.
Score: the Euclidean norm of that difference over the whole input at the first step, mean over
seeds. It is not multiplied by the guidance scale. Higher means more likely memorized.
Cost: 2 forward calls a seed.
Invalid when: suspect and reference prompts differ in length or style, since the norm grows with
what a prompt says; norms of other resolutions cannot be compared.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from attacks.detection import _common
from attacks.detection._common import Recordings, Setting
from attacks.manifest import Access, DiffusionCapabilities, Manifest
from attacks.observations import Request
from attacks.observations.prompts import TextMagnitudes

MANIFEST = Manifest(
    id="DET001",
    name="text_magnitude",
    title="Text magnitude, first step",
    goal=_common.GOAL,
    access=Access.GREY_BOX,
    tags=_common.TAGS,
    references=("arXiv:2407.21720",),
    kind="detection",
)
IS_DIRECTED = True


def applicable(capabilities: DiffusionCapabilities) -> str | None:
    """None for models that take text, else the reason."""
    return _common.needs_text(capabilities)


def requests(setting: Setting) -> tuple[Request, ...]:
    """The norm at the first step."""
    return (TextMagnitudes(setting.steps, setting.guidance, end=1),)


def score(recorded: Recordings, setting: Setting) -> NDArray[np.float64]:
    """(p,) mean norm over seeds at the first step; higher means more likely memorized."""
    (request,) = requests(setting)
    return mean_magnitude(recorded.of(request))


def mean_magnitude(magnitudes: ArrayLike) -> NDArray[np.float64]:
    """(p,) mean over seeds and steps of norms (p, s, t).

    The norm is taken for each generation before the mean: vectors of two seeds never cancel.
    """
    return np.asarray(magnitudes, dtype=np.float64).mean(axis=(1, 2))


def magnitude(conditional: ArrayLike, unconditional: ArrayLike) -> NDArray[np.float64]:
    """(n,) Euclidean norm of the difference of two predictions (n, ...) over all but axis 0."""
    difference = np.asarray(conditional, np.float64) - np.asarray(unconditional, np.float64)
    return np.sqrt(np.square(difference.reshape(len(difference), -1)).sum(axis=1))
