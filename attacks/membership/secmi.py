"""SecMI (statistic): one DDIM step up and down again lands where it started on a member.

Idea: the record is inverted deterministically to timestep t; one step up and one step down from
there miss the starting point by the t-error, which is small where the model was trained.
Citation: Duan et al., "Are Diffusion Models Vulnerable to Membership Inference Attacks?",
ICML 2023, arXiv:2302.01316.
Convention (the paper's text): t / k inversion steps up to t, then t -> t + k -> t; with t = 100
and k = 10 that is 0, 10, ..., 100, then 110, then 100. The released loop stops one step earlier
and tests 90 -> 100 -> 90.
Score: minus the squared l2 norm of the t-error. Higher means more likely a member.
Cost: t / k + 2 forward calls (12), the first shared with PIA, PIAN and SimA. No random noise.
Invalid when: the sampler adds noise or clips, or the step back is made with fresh noise.
Training with augmented records weakens it. The t-error says how much the prediction changes over
one step, not how wrong it is, and its orientation is an observation of the paper, not a law. On a
record that was memorized hard the model predicts next to no noise in the clean input, so that the
inverted state carries less noise than its timestep stands for, and predictions there may change
faster: then the scores are reversed, while `loss`, `pia` and `sima` are right. Seen on a
pixel-space model of smooth 16-pixel images with 12 records repeated 40 times: AUC .001, against
.996 on the 8-pixel model made in the same way, and against a slow reference that agrees to 1e-5.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from attacks.manifest import Access, DiffusionCapabilities, Manifest
from attacks.membership import _common
from attacks.observations import Calibration, Observations, Request, StepError, default_condition

MANIFEST = Manifest(
    id="MIA005",
    name="secmi",
    title="Step-wise error comparison (SecMI)",
    goal=_common.GOAL,
    access=Access.GREY_BOX,
    tags=_common.TAGS,
    references=("arXiv:2302.01316",),
)


@dataclass(frozen=True, slots=True)
class SecmiConfig:
    """Where the t-error is taken, and in which steps it is reached."""

    t: int = 100
    """Timestep of the t-error; a multiple of k."""
    k: int = 10
    """Width of one DDIM step."""
    condition: str = "caption"
    """Text that predictions are conditioned on."""

    def __post_init__(self) -> None:
        _common.check_steps(self.t, self.k)
        _common.check_condition(self.condition)


def default_config(capabilities: DiffusionCapabilities) -> SecmiConfig:
    """Ten steps to timestep 100, in the proportions of the target's schedule."""
    t, k = _common.ten_steps(capabilities)
    return SecmiConfig(t=t, k=k, condition=default_condition(capabilities))


def applicable(capabilities: DiffusionCapabilities) -> str | None:
    """None for every diffusion model, else the reason."""
    return _common.needs_diffusion(capabilities)


def requests(config: SecmiConfig) -> tuple[Request, ...]:
    """The t-error."""
    return (_request(config),)


def score(
    observations: Observations, config: SecmiConfig, calibration: Calibration | None = None
) -> NDArray[np.float64]:
    """(n,) minus the t-error; higher means more likely a member."""
    return -_common.answer(observations, _request(config))


def _request(config: SecmiConfig) -> StepError:
    return StepError(t=config.t, k=config.k, condition=config.condition)
