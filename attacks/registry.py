"""The catalogue of attacks: a table of names, imported on first use.

Other packages add attacks through the entry-point group `auditor.attacks`: the name on the left,
a module (or any object) with the members of `Attack` on the right. One that cannot be loaded
never disturbs the others: `all_attacks` leaves it out, `broken_attacks` says why, and only
asking for it by name raises.
"""

from __future__ import annotations

import functools
import importlib
from collections.abc import Mapping
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Protocol, cast

import numpy as np
from numpy.typing import NDArray

from attacks.configuration import configured
from attacks.detection.registry import DETECTORS, detector
from attacks.errors import UsageError, did_you_mean
from attacks.manifest import Capabilities, DiffusionCapabilities, Manifest, Tier
from attacks.observations import Calibration, Observations, Request, StepError, StepResidual
from attacks.probing.registry import PROBES, probe

GROUP = "auditor.attacks"
"""Entry-point group of attacks from other packages."""

BUILT_IN = {
    "loss": "attacks.membership.loss",
    "pia": "attacks.membership.pia",
    "pian": "attacks.membership.pian",
    "sima": "attacks.membership.sima",
    "secmi": "attacks.membership.secmi",
    "secmi_nns": "attacks.membership.secmi_nns",
    "clid": "attacks.membership.clid",
    "clid_vec": "attacks.membership.clid_vec",
    "pfami": "attacks.membership.pfami",
    "rediffuse": "attacks.membership.rediffuse",
    "yeom": "attacks.membership.yeom",
    "gap": "attacks.membership.gap",
    "entropy": "attacks.membership.entropy",
    "mentr": "attacks.membership.mentr",
    "attack_p": "attacks.membership.attack_p",
    "calibrated_loss": "attacks.membership.calibrated_loss",
    "attack_r": "attacks.membership.attack_r",
    "lira": "attacks.membership.lira",
    "lira_offline": "attacks.membership.lira_offline",
    "rmia": "attacks.membership.rmia",
    "shokri": "attacks.membership.shokri",
    "quantile": "attacks.membership.quantile",
    "label_only": "attacks.membership.label_only",
    "trajectory": "attacks.membership.trajectory",
    "risk_score": "attacks.membership.risk_score",
    "boundary": "attacks.membership.boundary",
    "wu_quality": "attacks.membership.wu_quality",
    "wu_recon_pixel": "attacks.membership.wu_recon_pixel",
    "wu_recon_semantic": "attacks.membership.wu_recon_semantic",
    "wu_faithful": "attacks.membership.wu_faithful",
    "wu_combined": "attacks.membership.wu_combined",
    "pang_i": "attacks.membership.pang_i",
    "pang_ii": "attacks.membership.pang_ii",
    "pang_iii": "attacks.membership.pang_iii",
    "pang_iv": "attacks.membership.pang_iv",
    "gsa1": "attacks.membership.gsa1",
    "gsa2": "attacks.membership.gsa2",
    "cdi": "attacks.membership.cdi",
}
"""Name on the command line -> module, in the order of their ids."""

OTHERS = {
    "attribute": "attacks.attributes.attribute",
    "extraction": "attacks.extraction.generate_and_filter",
}
"""Attacks without a score for membership: no `Attack`, and run by the scan in ways of their own."""


HOW_ASKED = {
    "attribute": "name the column to guess with --sensitive",
    "extraction": "it runs on diffusion models",
}
"""How an attack of `OTHERS` is asked for."""


class Attack(Protocol):
    """What the module of an attack has."""

    MANIFEST: Manifest
    """The label."""

    def default_config(self, capabilities: Capabilities) -> Any:
        """The paper's defaults for this kind of target: a frozen, hashable dataclass."""

    def applicable(self, capabilities: Capabilities) -> str | None:
        """None if it can run on such a target, else the reason in words."""

    def requests(self, config: Any) -> tuple[Request, ...]:
        """The observations that `score` reads."""

    def score(
        self, observations: Observations, config: Any, calibration: Calibration | None = None
    ) -> NDArray[np.float64]:
        """(n,) scores; higher means more likely a member."""


MEMBERS = ("MANIFEST", "default_config", "applicable", "requests", "score")
"""What is looked for in an attack from another package."""


def names(family: str | None = None) -> tuple[str, ...]:
    """Every known name, built-in ones first; nothing is imported unless a family is asked for."""
    known = (*BUILT_IN, *sorted(set(_entry_points()) - set(BUILT_IN)))
    if family is None:
        return known
    broken = broken_attacks()
    return tuple(n for n in known if n not in broken and attack(n).MANIFEST.family == family)


def attack(name: str) -> Attack:
    """The attack of that name.

    Raises UsageError if there is none, or if the package that offers it is broken.
    """
    if name in BUILT_IN:
        return cast(Attack, importlib.import_module(BUILT_IN[name]))
    if name in _entry_points():
        return _load(_entry_points()[name])
    if name in OTHERS:
        raise UsageError(f"'{name}' gives no score for membership; {HOW_ASKED[name]}")
    raise UsageError(f"unknown attack '{name}'; {did_you_mean(name, (*names(), *OTHERS))}")


def all_attacks() -> tuple[Attack, ...]:
    """Every attack that can be loaded, built-in ones first."""
    broken = broken_attacks()
    return tuple(attack(name) for name in names() if name not in broken)


def manifests() -> tuple[Manifest, ...]:
    """The labels of everything that can be run, what gives no membership score last."""
    found = [module.MANIFEST for module in all_attacks()]
    detectors = [detector(name).MANIFEST for name in DETECTORS]
    others = [other_attack(name).MANIFEST for name in OTHERS]
    return (*found, *others, *detectors, *(probe(name).MANIFEST for name in PROBES))


def other_attack(name: str) -> Any:
    """The module of an attack of `OTHERS`."""
    return importlib.import_module(OTHERS[name])


def broken_attacks() -> dict[str, str]:
    """Name -> what is wrong, for attacks of other packages that cannot be loaded."""
    reasons: dict[str, str] = {}
    for name, entry_point in _entry_points().items():
        if name in BUILT_IN:
            reasons[f"{name} ({_origin(entry_point)})"] = "the name belongs to a built-in attack"
            continue
        try:
            _load(entry_point)
        except UsageError as error:
            reasons[name] = str(error)
    return reasons


def default_attacks(family: str) -> tuple[Attack, ...]:
    """The attacks that a scan of such a target runs unasked."""
    chosen = (attack(name) for name in names(family))
    return tuple(a for a in chosen if a.MANIFEST.tier is Tier.DEFAULT)


def configure(name: str, capabilities: Capabilities, overrides: Mapping[str, Any]) -> Any:
    """The configuration of an attack for a target, with a user's values over the defaults.

    Raises one UsageError that lists every wrong key, value and timestep.
    """
    module = attack(name)
    try:
        config = configured(module.default_config(capabilities), overrides)
        if isinstance(capabilities, DiffusionCapabilities):
            _check_schedule(module.requests(config), capabilities.n_timesteps)
    except UsageError as error:
        raise UsageError(f"attack '{name}': {error}") from None
    return config


def _check_schedule(requests: tuple[Request, ...], n_timesteps: int) -> None:
    """Refuse timesteps that lie beyond the target's noise schedule."""
    steps = max((getattr(request, "steps", 0) for request in requests), default=0)
    if steps > n_timesteps:
        raise UsageError(
            f"it would draw in {steps} steps, and the target's schedule has {n_timesteps}"
        )
    last = max((_last_timestep(request) for request in requests), default=0)
    if last >= n_timesteps:
        raise UsageError(
            f"it would reach timestep {last}, and the target's schedule ends at {n_timesteps - 1}"
        )


def _last_timestep(request: Request) -> int:
    """The highest timestep that a request feeds the model with; SecMI goes one step past t."""
    beyond = request.k if isinstance(request, (StepError, StepResidual)) else 0
    return max(getattr(request, "t", 0) + beyond, *getattr(request, "timesteps", ()), 0)


@functools.cache
def _entry_points() -> dict[str, EntryPoint]:
    return {entry_point.name: entry_point for entry_point in entry_points(group=GROUP)}


@functools.cache
def _load(entry_point: EntryPoint) -> Attack:
    where = f"attack '{entry_point.name}' of {_origin(entry_point)}"
    try:
        loaded = entry_point.load()
    except Exception as error:  # foreign code: whatever it raises is its own fault, by name
        raise UsageError(
            f"{where} cannot be loaded ({type(error).__name__}: {error}); update or remove it"
        ) from error
    missing = [member for member in MEMBERS if not hasattr(loaded, member)]
    if missing:
        raise UsageError(f"{where} lacks {', '.join(missing)}; update or remove it")
    if not isinstance(loaded.MANIFEST, Manifest):
        raise UsageError(f"{where} has a MANIFEST that is no attacks.manifest.Manifest")
    if loaded.MANIFEST.name != entry_point.name:
        raise UsageError(
            f"{where} calls itself '{loaded.MANIFEST.name}' in its manifest; the names must agree"
        )
    return cast(Attack, loaded)


def _origin(entry_point: EntryPoint) -> str:
    distribution = entry_point.dist
    return f"package {distribution.name}" if distribution else f"module {entry_point.module}"
