"""What a diffusion model predicts, converted once, here, to the noise eps.

With x_t = sqrt(abar_t) x_0 + sqrt(1 - abar_t) eps, a model predicts `epsilon`, `sample` (x_0) or
`v_prediction` (v = sqrt(abar_t) eps - sqrt(1 - abar_t) x_0; Salimans and Ho, arXiv:2202.00512).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

PREDICTION_TYPES = ("epsilon", "sample", "v_prediction")
"""Prediction types that can be audited."""


class Coefficients(NamedTuple):
    """sqrt(abar_t) and sqrt(1 - abar_t): (T,) for a whole schedule, (n, 1, 1, 1) for rows."""

    signal: Tensor
    noise: Tensor

    def at(self, timesteps: Tensor) -> Coefficients:
        """The coefficients of each row's timestep, shaped to multiply (n, c, h, w)."""
        shape = (-1, 1, 1, 1)
        return Coefficients(
            self.signal[timesteps].reshape(shape), self.noise[timesteps].reshape(shape)
        )


def coefficients(alphas_cumprod: NDArray[np.float64], device: torch.device) -> Coefficients:
    """Float32 coefficients of a schedule (T,), computed in float64: 1 - abar cancels near t = 0."""
    abar = torch.from_numpy(alphas_cumprod)
    return Coefficients(
        abar.sqrt().float().to(device), (1 - abar).clamp_min(0).sqrt().float().to(device)
    )


def to_epsilon(output: Tensor, inputs: Tensor, at: Coefficients, prediction_type: str) -> Tensor:
    """(n, c, h, w) noise prediction of a native model output at inputs x_t."""
    if prediction_type == "epsilon":
        return output
    if prediction_type == "v_prediction":
        return at.signal * output + at.noise * inputs
    return (inputs - at.signal * output) / at.noise


def native_goal(clean: Tensor, noise: Tensor, at: Coefficients, prediction_type: str) -> Tensor:
    """(n, c, h, w) what the model is trained to output, for fine-tuning."""
    if prediction_type == "epsilon":
        return noise
    if prediction_type == "v_prediction":
        return at.signal * noise - at.noise * clean
    return clean


def add_noise(clean: Tensor, noise: Tensor, at: Coefficients) -> Tensor:
    """(n, c, h, w) x_t of clean inputs and noises."""
    return at.signal * clean + at.noise * noise
