"""A diffusion target as the records of audits describe it."""

from __future__ import annotations

from auditor.targets.diffusion import DiffusionTarget
from reports.record import DeclaredMitigation, DiffusionDetails, Target


def describe(target: DiffusionTarget, reference: str | None = None) -> Target:
    """Pipeline, schedule, conditioning, and the mitigations that it declares; no path.

    reference: name of the model that it is compared with.
    """
    capabilities = target.capabilities
    return Target(
        name=target.name,
        architecture=capabilities.architecture,
        family=capabilities.family,
        n_parameters=target.n_parameters,
        weights_sha256=target.hashes,
        diffusion=DiffusionDetails(
            prediction_type=target.layout.prediction_type,
            n_timesteps=capabilities.n_timesteps,
            resolution=capabilities.resolution,
            is_latent=capabilities.is_latent,
            is_text_conditional=capabilities.is_text_conditional,
        ),
        adapter=target.adapter,
        reference=reference,
        mitigations=tuple(
            DeclaredMitigation(
                id=one.id, name=one.name, title=one.title, guarantee=one.guarantee.value
            )
            for one in (target.mitigation.chain if target.mitigation else ())
        ),
    )
