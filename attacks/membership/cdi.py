"""CDI: was this collection used in training? One p-value for all of its records together.

Idea: on large models no single record can be told from others, but many weak signals add up over
a collection; a classifier weighs the signals, and a test compares the mean score of the published
collection with that of unpublished records from the same source.
Citation: Dubinski et al., "CDI: Copyrighted Data Identification in Diffusion Models", CVPR 2025,
arXiv:2411.12858.
Score: log-odds by logistic regression on the errors at ten timesteps, the error at t = 100 averaged
over five noises, PIA, PIAN and SecMI, fitted on the calibration part. Higher means more likely a
member; the claim is a one-sided Welch test of its mean on the records that nothing was fitted on.
Our reading: one held-out test in place of 1,000 tests on overlapping subsets, whose p-values depend
on each other; the grey-box features without gradient masking and noise optimisation; PIAN as its
authors' code scales it.
Cost: 28 forward calls, 24 of them those of the default attacks.
Invalid when: the unpublished records are not from the source of the published ones: the test then
finds the source. So no claim is made unless the blind baseline ran and could not tell them apart.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from attacks.manifest import Access, DiffusionCapabilities, Manifest, Tier
from attacks.membership import _common, _logistic
from attacks.observations import (
    Calibration,
    NoiseError,
    Observations,
    ProximalError,
    Request,
    StepError,
    default_condition,
)

MANIFEST = Manifest(
    id="MIA038",
    name="cdi",
    title="Dataset inference (CDI)",
    goal="decide whether a collection of records was in the training set",
    access=Access.GREY_BOX,
    tags=_common.TAGS,
    references=("arXiv:2411.12858",),
    tier=Tier.THOROUGH,
    fitted=True,
    kind="dataset inference",
)


@dataclass(frozen=True, slots=True)
class CdiConfig:
    """Where the signals are taken."""

    timesteps: tuple[int, ...] = tuple(range(0, 1000, 100))
    """Timesteps of the errors, one noise each."""
    t_loss: int = 100
    """Timestep of the error that is averaged over noises."""
    repetitions: int = 5
    """Noises of that error."""
    t_pia: int = 200
    """Timestep of PIA and PIAN."""
    p: int = 5
    """Exponent of PIA and PIAN."""
    t_secmi: int = 100
    """Timestep of SecMI; a multiple of k."""
    k: int = 10
    """Width of one DDIM step of SecMI."""
    strength: float = 1.0
    """Inverse weight of the penalty of the logistic regression."""
    condition: str = "caption"
    """Text that predictions are conditioned on."""

    def __post_init__(self) -> None:
        _common.check_timesteps(*self.timesteps, name="timesteps")
        _common.check_timesteps(self.t_loss, self.t_pia)
        _common.check_steps(self.t_secmi, self.k)
        _common.check_exponent(self.p)
        _common.check_condition(self.condition)
        _common.check_positive(repetitions=self.repetitions, strength=self.strength)


def default_config(capabilities: DiffusionCapabilities) -> CdiConfig:
    """The paper's timesteps, in proportion to the target's schedule."""
    t_loss, t_pia = capabilities.scaled(100, 200)
    t_secmi, k = _common.ten_steps(capabilities)
    return CdiConfig(
        timesteps=_common.scaled(capabilities, range(0, 1000, 100)),
        t_loss=t_loss,
        t_pia=t_pia,
        t_secmi=t_secmi,
        k=k,
        condition=default_condition(capabilities),
    )


def applicable(capabilities: DiffusionCapabilities) -> str | None:
    """None for every diffusion model, else the reason."""
    return _common.needs_diffusion(capabilities)


def requests(config: CdiConfig) -> tuple[Request, ...]:
    """All signals; most are those of the default attacks."""
    wanted = (*_curve(config), *_repeated(config), *_proximal(config), _step(config))
    return tuple(dict.fromkeys(wanted))


def score(
    observations: Observations, config: CdiConfig, calibration: Calibration | None = None
) -> NDArray[np.float64]:
    """(n,) log-odds by logistic regression; higher means more likely a member.

    Raises Inapplicable without a calibration part.
    """
    part = _common.fitting_part(calibration, MANIFEST.name)
    evaluated = features(observations, config)
    fitted = _common.canonical(features(part.observations, config), part.is_member)
    model = _logistic.fit(
        fitted.features.astype(np.float64), fitted.is_member, strength=config.strength
    )
    return model.log_odds(evaluated)


def features(observations: Observations, config: CdiConfig) -> NDArray[np.float64]:
    """(n, d) error norms at each timestep, mean error over noises, PIA, PIAN, SecMI."""
    curve = np.sqrt(_common.answers(observations, _curve(config)))
    repeated = _common.answers(observations, _repeated(config)).mean(axis=1)
    proximal = [_common.norm(observations, r, p=config.p) for r in _proximal(config)]
    columns: NDArray[np.float64] = np.column_stack(
        [curve, repeated, *proximal, _common.answer(observations, _step(config))]
    )
    return columns


def _curve(config: CdiConfig) -> tuple[NoiseError, ...]:
    return tuple(NoiseError(t=t, condition=config.condition) for t in config.timesteps)


def _repeated(config: CdiConfig) -> tuple[NoiseError, ...]:
    return tuple(
        NoiseError(t=config.t_loss, repetition=i, condition=config.condition)
        for i in range(config.repetitions)
    )


def _proximal(config: CdiConfig) -> tuple[ProximalError, ...]:
    return tuple(
        ProximalError(t=config.t_pia, normalisation=n, condition=config.condition)
        for n in (None, "unit")
    )


def _step(config: CdiConfig) -> StepError:
    return StepError(t=config.t_secmi, k=config.k, condition=config.condition)
