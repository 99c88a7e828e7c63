"""What a scan will ask of the target: the union over its attacks, and what each part costs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from attacks.errors import UsageError
from attacks.manifest import Capabilities
from attacks.observations import (
    GenerationQuality,
    GradientNorms,
    Request,
    calls_per_record,
    with_requirements,
)
from attacks.registry import attack, configure
from attacks.results import Cost, PlannedAttack


@dataclass(frozen=True, slots=True)
class Plan:
    """The attacks that run, their configurations, and the shared pass."""

    configs: dict[str, Any]
    """Attack name -> its frozen configuration, in the order asked for."""
    inapplicable: tuple[PlannedAttack, ...]
    """Attacks that cannot run on this target, with the reason."""
    requests: tuple[Request, ...]
    """The union of all requests, requirements first."""

    @property
    def calls_per_record(self) -> int:
        """Forward calls per record of the shared pass."""
        return calls_per_record(self.requests)

    @property
    def drawing_calls_per_record(self) -> int:
        """Those of them that draw images."""
        return sum(r.calls for r in self.requests if isinstance(r, GenerationQuality))

    @property
    def gradient_calls_per_record(self) -> int:
        """Those of them whose gradient is taken, which costs about twice as much again."""
        return sum(r.calls for r in self.requests if isinstance(r, GradientNorms))

    @property
    def is_fitted(self) -> bool:
        """Whether any attack needs a calibration part."""
        return any(attack(name).MANIFEST.fitted for name in self.configs)

    def cost(self, name: str) -> Cost:
        """Calls of one attack alone, and what leaving it out would save."""
        own = attack(name).requests(self.configs[name])
        others = [
            request
            for other, config in self.configs.items()
            if other != name
            for request in attack(other).requests(config)
        ]
        return Cost(
            calls_alone=calls_per_record(own),
            calls_marginal=self.calls_per_record - calls_per_record(others),
        )


def make_plan(
    names: tuple[str, ...],
    capabilities: Capabilities,
    overrides: Mapping[str, Mapping[str, Any]] | None = None,
    *,
    source: Path | None = None,
) -> Plan:
    """The plan of these attacks on a target.

    overrides: attack name -> configuration values of the user; source: the file that holds them.
    Raises UsageError, which names that file, for an unknown attack, key or value.
    """
    overrides = overrides or {}
    configs: dict[str, Any] = {}
    inapplicable: list[PlannedAttack] = []
    for name in [*names, *(other for other in overrides if other not in names)]:
        configured = _configured(name, capabilities, overrides.get(name), source)
        if name not in names:
            continue
        reason = attack(name).applicable(capabilities)
        if reason is None:
            configs[name] = configured
        else:
            inapplicable.append(PlannedAttack(name, reason))
    wanted = [r for name, config in configs.items() for r in attack(name).requests(config)]
    return Plan(configs, tuple(inapplicable), with_requirements(wanted))


def _configured(
    name: str,
    capabilities: Capabilities,
    values: Mapping[str, Any] | None,
    source: Path | None,
) -> Any:
    """The configuration of an attack; None for one of another family."""
    try:
        if attack(name).MANIFEST.family != capabilities.family:
            return None
        return configure(name, capabilities, dict(values or {}))
    except UsageError as error:
        if values is None or source is None:
            raise
        raise UsageError(f"{source}: attack_options: {error}") from None
