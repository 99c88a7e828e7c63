"""GSA2: the gradients of ten losses, tensor by tensor.

Idea: a record that the model was trained on pulls its weights less, and differently from layer to
layer; here one gradient is taken for each of ten timesteps, and their norms are averaged.
Citation: Pang et al., "White-box Membership Inference Attacks against Diffusion Models", PoPETs
2025(2), arXiv:2308.06405.
Score: log-odds of membership by gradient boosting on the norms. Higher means more likely a member.
Our reading: scikit-learn's gradient boosting in place of XGBoost, each split looking at the square
root of all tensors, fitted on the calibration part in place of shadow models. Trees see the order
of a feature alone, so the paper's standardisation, which its released code takes from the very
records under test, is not needed.
Cost: 10 forward calls and 10 backward calls: about 30 forward calls' time.
Invalid when: the calibration part is small, since there are hundreds of tensors; the classifier
learned on known members does not transfer to another model.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from attacks.manifest import DiffusionCapabilities
from attacks.membership import _common, _gradient_features
from attacks.observations import Calibration, GradientNorms, Observations, Request

MANIFEST = _gradient_features.manifest("MIA037", "gsa2", "Gradients of ten losses (GSA2)")


def default_config(capabilities: DiffusionCapabilities) -> _gradient_features.GsaConfig:
    """Ten equidistant timesteps of the target's schedule."""
    return _gradient_features.default_config(capabilities)


def applicable(capabilities: DiffusionCapabilities) -> str | None:
    """None for every diffusion model, else the reason."""
    return _common.needs_diffusion(capabilities)


def requests(config: _gradient_features.GsaConfig) -> tuple[Request, ...]:
    """The mean norms of one gradient for each timestep."""
    return (_request(config),)


def score(
    observations: Observations,
    config: _gradient_features.GsaConfig,
    calibration: Calibration | None = None,
) -> NDArray[np.float64]:
    """(n,) log-odds of membership; higher means more likely a member.

    Raises Inapplicable without a calibration part.
    """
    return _gradient_features.scores(
        MANIFEST.name, _request(config), observations, config, calibration
    )


def _request(config: _gradient_features.GsaConfig) -> GradientNorms:
    return GradientNorms(config.timesteps, each=True, condition=config.condition)
