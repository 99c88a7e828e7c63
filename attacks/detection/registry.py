"""The catalogue of detectors: a table of names, imported on first use."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import Protocol, cast

import numpy as np
from numpy.typing import NDArray

from attacks.detection._common import Recordings, Setting
from attacks.errors import UsageError, did_you_mean
from attacks.manifest import DiffusionCapabilities, Manifest, Tier
from attacks.observations import Request

DETECTORS = {
    "text_magnitude": "attacks.detection.text_magnitude",
    "text_magnitude_mean": "attacks.detection.text_magnitude_mean",
    "denoising_confidence": "attacks.detection.denoising_confidence",
    "seed_similarity": "attacks.detection.seed_similarity",
    "edge_consistency": "attacks.detection.edge_consistency",
    "attention_entropy": "attacks.detection.attention_entropy",
    "attention_entropy_late": "attacks.detection.attention_entropy_late",
    "bright_ending": "attacks.detection.bright_ending",
}
"""Name on the command line -> module, in the order of their ids."""
PRIMARY = "text_magnitude"
"""The detector whose p-values flag prompts, chosen before any score is seen."""


class Detector(Protocol):
    """What the module of a detector has."""

    MANIFEST: Manifest
    """The label."""
    IS_DIRECTED: bool
    """True where only high scores speak for memorization; False where either end may."""

    def applicable(self, capabilities: DiffusionCapabilities) -> str | None:
        """None if it can run on such a target, else the reason in words."""

    def requests(self, setting: Setting) -> tuple[Request, ...]:
        """The recordings that `score` reads."""

    def score(self, recorded: Recordings, setting: Setting) -> NDArray[np.float64]:
        """(p,) one score for each prompt."""


def detector(name: str) -> Detector:
    """The detector of that name; UsageError if there is none."""
    if name not in DETECTORS:
        raise UsageError(f"unknown detector '{name}'; {did_you_mean(name, DETECTORS)}")
    return cast(Detector, importlib.import_module(DETECTORS[name]))


def chosen(names: Sequence[str] | None) -> tuple[str, ...]:
    """The detectors to run, the primary one first.

    names: None for the default ones, which need the first step alone; `all` for every one. The
    primary detector is always among them.
    """
    if names is None:
        wanted = [n for n in DETECTORS if detector(n).MANIFEST.tier is Tier.DEFAULT]
    elif "all" in names:
        wanted = list(DETECTORS)
    else:
        wanted = [name for name in names if detector(name)]
    return tuple(dict.fromkeys([PRIMARY, *wanted]))
