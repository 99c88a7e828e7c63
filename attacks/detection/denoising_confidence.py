"""Denoising confidence: after one step, a memorized prompt has already moved far from the noise.

Idea: where the model knows the image, its first prediction leads far away from the initial noise.
Citation: Webster, "A Reproducible Extraction of Training Images from Diffusion Models",
arXiv:2305.08694 (denoising confidence score).
Score: mean over the input of (x_T - x_0hat)^2, mean over seeds, where x_0hat is what the first
guided prediction leads to. Higher means more likely memorized.
Our reading: the author's code takes one Heun step of another sampler from its largest noise level;
here it is the one DDIM step from the first timestep of the trajectory that the other detectors
share, and all seeds count where the code keeps the last one.
Cost: 2 forward calls a seed, shared with `text_magnitude`.
Invalid when: the guidance scale differs between runs; the score is grey-box, since pipelines do
not show the latent after one step.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from attacks.detection import _common
from attacks.detection._common import Recordings, Setting
from attacks.manifest import Access, DiffusionCapabilities, Manifest
from attacks.observations import Request
from attacks.observations.prompts import FirstChange

MANIFEST = Manifest(
    id="DET003",
    name="denoising_confidence",
    title="Denoising confidence after one step",
    goal=_common.GOAL,
    access=Access.GREY_BOX,
    tags=_common.TAGS,
    references=("arXiv:2305.08694",),
    kind="detection",
)
IS_DIRECTED = True


def applicable(capabilities: DiffusionCapabilities) -> str | None:
    """None for models that take text, else the reason."""
    return _common.needs_text(capabilities)


def requests(setting: Setting) -> tuple[Request, ...]:
    """The change of the first step."""
    return (FirstChange(setting.steps, setting.guidance),)


def score(recorded: Recordings, setting: Setting) -> NDArray[np.float64]:
    """(p,) mean change over seeds; higher means more likely memorized."""
    (request,) = requests(setting)
    return recorded.of(request).mean(axis=1)


def change(before: ArrayLike, after: ArrayLike) -> NDArray[np.float64]:
    """(n,) mean of (before - after)^2 over all but axis 0; 0 where nothing moved."""
    difference = np.asarray(before, np.float64) - np.asarray(after, np.float64)
    return np.square(difference.reshape(len(difference), -1)).mean(axis=1)
