"""Mean text magnitude: the text-conditional part of the prediction, over the whole trajectory.

Idea and citation: those of `text_magnitude` (Wen et al., ICLR 2024, arXiv:2407.21720); the mean
over all steps is the setting that the authors' notebook reports.
Score: mean over seeds and steps of ||eps(x_t, prompt) - eps(x_t, "")||_2. Higher means more likely
memorized.
Cost: 2 forward calls a step and seed, as for drawing the images.
Invalid when: as for `text_magnitude`; it also depends on the guidance scale, which steers x_t.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from attacks.detection import _common
from attacks.detection._common import Recordings, Setting
from attacks.detection.text_magnitude import mean_magnitude
from attacks.manifest import Access, DiffusionCapabilities, Manifest, Tier
from attacks.observations import Request
from attacks.observations.prompts import TextMagnitudes

MANIFEST = Manifest(
    id="DET002",
    name="text_magnitude_mean",
    title="Text magnitude, mean over steps",
    goal=_common.GOAL,
    access=Access.GREY_BOX,
    tags=_common.TAGS,
    references=("arXiv:2407.21720",),
    tier=Tier.THOROUGH,
    kind="detection",
)
IS_DIRECTED = True


def applicable(capabilities: DiffusionCapabilities) -> str | None:
    """None for models that take text, else the reason."""
    return _common.needs_text(capabilities)


def requests(setting: Setting) -> tuple[Request, ...]:
    """The norms of all steps."""
    return (TextMagnitudes(setting.steps, setting.guidance, end=setting.steps),)


def score(recorded: Recordings, setting: Setting) -> NDArray[np.float64]:
    """(p,) mean norm over seeds and steps; higher means more likely memorized."""
    (request,) = requests(setting)
    return mean_magnitude(recorded.of(request))
