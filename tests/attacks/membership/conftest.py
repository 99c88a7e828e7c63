"""Real shadow models that several tests read, trained once."""

from __future__ import annotations

import pytest

from tests.attacks.membership.shadow_digits import Run, train_run


@pytest.fixture(scope="session")
def shadow_digits() -> Run:
    """Thirty-two small networks on halves of digits with one tenth of wrong labels."""
    return train_run(n_models=32)
