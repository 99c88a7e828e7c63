"""Student networks as functions of one flat parameter vector.

Parameters are swapped functionally, buffers are not, so a student may have none: normalisation
is by instance (card, section 3.3).
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.func import functional_call

from attacks.errors import UsageError, did_you_mean


class FlatNetwork:
    """A network whose parameters are one vector theta of length P."""

    def __init__(self, build: Callable[[], nn.Module]):
        self._build = build
        with torch.random.fork_rng(devices=[]):
            self.module = build()
        if next(self.module.buffers(), None) is not None:
            raise UsageError(
                "a student must have no buffers, as its parameters alone are swapped; "
                "use instance or group normalisation"
            )
        self._shapes = {name: p.shape for name, p in self.module.named_parameters()}
        self.n_parameters = sum(shape.numel() for shape in self._shapes.values())

    def initial(self, seed: int) -> Tensor:
        """(P,) fresh parameters."""
        with torch.random.fork_rng(devices=[]):  # layers draw their weights from the global state
            torch.manual_seed(seed)
            fresh = self._build()
        return torch.cat([p.detach().reshape(-1) for p in fresh.parameters()])

    def parameters(self, theta: Tensor) -> dict[str, Tensor]:
        """The vector as named parameters: views of it."""
        sizes = [shape.numel() for shape in self._shapes.values()]
        pieces = theta.split(sizes)
        return {
            name: piece.view(shape)
            for (name, shape), piece in zip(self._shapes.items(), pieces, strict=True)
        }

    def __call__(self, theta: Tensor, x: Tensor) -> Tensor:
        """(n, k) logits of (n, c, h, w) pictures."""
        return functional_call(self.module, self.parameters(theta), (x,))


def mlp(shape: tuple[int, ...], n_classes: int, *, width: int = 32) -> nn.Module:
    """One hidden layer with GELU: the small version's student."""
    d = int(torch.Size(shape).numel())
    return nn.Sequential(nn.Flatten(), nn.Linear(d, width), nn.GELU(), nn.Linear(width, n_classes))


def convnet(
    shape: tuple[int, ...], n_classes: int, *, depth: int = 3, width: int = 128
) -> nn.Module:
    """The paper's ConvNet: `depth` of 3x3 convolution, instance norm, ReLU, 2x2 average pool."""
    channels, height, side = shape
    layers: list[nn.Module] = []
    for _ in range(depth):
        layers += [
            nn.Conv2d(channels, width, 3, padding=1),
            nn.GroupNorm(width, width),
            nn.ReLU(),
            nn.AvgPool2d(2),
        ]
        channels, height, side = width, height // 2, side // 2
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(width * height * side, n_classes))


STUDENTS: dict[str, Callable[[tuple[int, ...], int], nn.Module]] = {
    "mlp": mlp,
    "convnet": convnet,
}
"""Name in a configuration -> a network for pictures of a shape (c, h, w) and k classes."""


def build_student(name: str, shape: tuple[int, ...], n_classes: int) -> FlatNetwork:
    """The student of that name; raises UsageError if there is none."""
    if name not in STUDENTS:
        raise UsageError(f"unknown student '{name}'; {did_you_mean(name, STUDENTS)}")
    return FlatNetwork(lambda: STUDENTS[name](shape, n_classes))
