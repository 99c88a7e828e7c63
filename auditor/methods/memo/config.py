"""Settings of MEMO: the small version's by default, with the official code's loss and decay."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from attacks.errors import UsageError

Growth = Literal["specialised", "backbone", "none"]
"""What a new task adds: a specialised block (MEMO), a whole backbone (as DER does), nothing."""


@dataclass(frozen=True, slots=True)
class MemoConfig:
    """How one class-incremental model is trained."""

    memory: int = 20
    """Exemplars over all classes together; 0 keeps models only."""
    base: int = 2
    """Classes of the first task."""
    increment: int = 2
    """Classes of every later task."""
    growth: Growth = "specialised"
    """What a new task adds to the network."""
    backbone: str = "digits"
    """Name in `backbones.BACKBONES`."""
    epochs: int = 15
    """Epochs per task."""
    batch: int = 32
    """Records per step."""
    rate: float = 0.05
    """Learning rate at the start of each task; a cosine takes it to 0."""
    momentum: float = 0.9
    """Momentum of SGD."""
    first_decay: float = 5e-4
    """Weight decay in the first task."""
    later_decay: float = 2e-4
    """Weight decay in later tasks."""
    auxiliary_weight: float = 1.0
    """Weight of the auxiliary loss on the newest block (alpha_aux)."""
    train_base: bool = True
    """Whether the generalised block goes on learning after the first task."""
    align: bool = True
    """Whether weights are aligned after every task but the first."""

    def __post_init__(self) -> None:
        positive = ("base", "increment", "epochs", "batch", "rate")
        wrong = [name for name in positive if not getattr(self, name) > 0]
        if wrong:
            raise UsageError(f"{', '.join(wrong)} must be positive")
        if self.memory < 0:
            raise UsageError(f"memory must be 0 or more exemplars, got {self.memory}")
        if self.growth not in ("specialised", "backbone", "none"):
            raise UsageError(
                f"growth must be 'specialised', 'backbone' or 'none', got {self.growth!r}"
            )
