"""Settings of TESLA: the small version's by default."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from attacks.errors import UsageError

Gradient = Literal["exact", "tesla", "unrolled"]
"""`exact`: reverse sweep; `tesla`: the official code's approximation; `unrolled`: MTT's autograd."""
AUGMENTATIONS = ("color", "crop", "cutout", "flip", "scale", "rotate")
"""Operations of differentiable siamese augmentation, as the official code names them."""


@dataclass(frozen=True, slots=True)
class TeslaConfig:
    """How experts are trained, matched, and how the result is used."""

    per_class: int = 1
    """Distilled pictures per class (IPC)."""
    initial: Literal["real", "noise"] = "real"
    """What the distilled pictures start from: random records, or Gaussian noise."""
    student: str = "mlp"
    """Name in `students.STUDENTS`."""
    n_experts: int = 10
    """Expert trajectories."""
    expert_epochs: int = 20
    """Epochs of each, one snapshot per epoch."""
    expert_rate: float = 0.1
    """Learning rate of the experts: plain SGD without decay."""
    expert_batch: int = 64
    """Records per step of an expert."""
    iterations: int = 400
    """Distillation steps; 0 leaves the pictures as they start."""
    n_steps: int = 10
    """Student steps T in each of them."""
    n_target_epochs: int = 2
    """Expert epochs M that these steps are to cover."""
    max_start: int = 5
    """The expert epoch to start from is drawn below this one."""
    batch: int | None = None
    """Distilled pictures per student step; None takes all."""
    gradient: Gradient = "exact"
    """How the gradient of the matching loss is taken."""
    soft_labels: bool = False
    """Whether labels are the target expert's probabilities (SLA) rather than the classes."""
    augmentation: tuple[str, ...] = ()
    """Operations of which each student step draws one; none for digits, whose flips are others."""
    image_rate: float = 10.0
    """Learning rate of the pictures."""
    step_rate: float = 1e-3
    """Learning rate of the student's step size beta."""
    momentum: float = 0.5
    """Momentum of both."""
    initial_step: float = 0.3
    """Step size beta at the start."""
    step_limits: tuple[float, ...] = (0.01, 2.0)
    """Smallest and largest beta; the official code does not limit it."""
    student_steps: int = 300
    """Full-batch steps of a fresh network on the distilled pictures."""

    def __post_init__(self) -> None:
        positive = ("per_class", "n_experts", "expert_batch", "n_target_epochs", "max_start")
        wrong = [name for name in positive if getattr(self, name) < 1]
        if wrong:
            raise UsageError(f"{', '.join(wrong)} must be 1 or more")
        if self.max_start - 1 + self.n_target_epochs > self.expert_epochs:
            raise UsageError(
                f"experts of {self.expert_epochs} epochs end before start {self.max_start - 1} "
                f"plus {self.n_target_epochs}; lower max_start or n_target_epochs"
            )
        if self.gradient not in ("exact", "tesla", "unrolled"):
            raise UsageError(
                f"gradient must be 'exact', 'tesla' or 'unrolled', got {self.gradient!r}"
            )
        unknown = [name for name in self.augmentation if name not in AUGMENTATIONS]
        if unknown:
            raise UsageError(
                f"unknown augmentation {', '.join(unknown)}; known: {', '.join(AUGMENTATIONS)}"
            )
