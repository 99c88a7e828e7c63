"""Requests for observations, by family of target, and what answers them."""

from attacks.observations.base import (
    Calibration,
    Observations,
    Request,
    calls_per_record,
    with_requirements,
)
from attacks.observations.classifier import (
    Classes,
    Features,
    Floor,
    Logits,
    NoisyCorrectness,
    ShadowConfidence,
    ShadowKeep,
    ShadowLogits,
    ShadowTrajectory,
    Trajectory,
)
from attacks.observations.diffusion import (
    CONDITIONS,
    NORMS,
    CleanNorms,
    NoiseError,
    ProximalError,
    StepError,
    StepResidual,
    VariationDistance,
    default_condition,
)

__all__ = [
    "CONDITIONS",
    "NORMS",
    "Calibration",
    "Classes",
    "CleanNorms",
    "Features",
    "Floor",
    "Logits",
    "NoiseError",
    "NoisyCorrectness",
    "Observations",
    "ProximalError",
    "Request",
    "ShadowConfidence",
    "ShadowKeep",
    "ShadowLogits",
    "ShadowTrajectory",
    "StepError",
    "StepResidual",
    "Trajectory",
    "VariationDistance",
    "calls_per_record",
    "default_condition",
    "with_requirements",
]
