"""The bundled model for mitigations."""

from __future__ import annotations

import pytest

from auditor.demo.assets import materialise
from auditor.demo.digits import demo_splits
from auditor.targets.diffusion import DiffusionTarget
from auditor.targets.loading import open_target


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory):
    return materialise("memorized", tmp_path_factory.mktemp("model") / "memorized")


@pytest.fixture(scope="session")
def target(model_folder) -> DiffusionTarget:
    return open_target(str(model_folder), device="cpu")


@pytest.fixture(scope="session")
def prompts() -> list[str]:
    return list(dict.fromkeys(demo_splits().others.captions))[:4]
