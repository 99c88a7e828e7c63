"""Settings of attacks on the command line: `--option extraction.prompts=64`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import yaml

from attacks.errors import UsageError
from auditor.config import ScanConfig


def parsed(options: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Attack name -> setting -> value, values read as in the configuration file.

    Raises UsageError for a text that is not ATTACK.SETTING=VALUE.
    """
    found: dict[str, dict[str, Any]] = {}
    for text in options:
        place, equals, value = text.partition("=")
        attack, dot, name = place.strip().partition(".")
        if not (equals and dot and attack and name and value.strip()):
            raise UsageError(
                f"--option '{text}' is not ATTACK.SETTING=VALUE, such as extraction.prompts=64"
            )
        try:
            found.setdefault(attack, {})[name] = yaml.safe_load(value)
        except yaml.YAMLError:
            raise UsageError(f"--option '{text}': the value is not valid YAML") from None
    return found


def with_options(config: ScanConfig, options: Sequence[str]) -> ScanConfig:
    """The configuration with the settings of the command line over its own."""
    merged = {name: dict(own) for name, own in config.attack_options.items()}
    for attack, settings in parsed(options).items():
        merged[attack] = merged.get(attack, {}) | settings
    return config.model_copy(update={"attack_options": merged})
