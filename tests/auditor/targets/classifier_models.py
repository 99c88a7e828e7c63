"""Small networks that tests build by name, as a user's factory would."""

from __future__ import annotations

import torch
from torch import nn


def mlp() -> nn.Module:
    """64 pixels to 10 logits, with dropout and batch normalisation that eval() must switch off."""
    return nn.Sequential(
        nn.Flatten(), nn.Linear(64, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Dropout(0.5),
        nn.Linear(32, 10),
    )  # fmt: skip


def narrow() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 16), nn.ReLU(), nn.Linear(16, 10))


def broken() -> nn.Module:
    raise ValueError("out of order")


def not_a_module() -> int:
    return 3


class Wrapped(nn.Module):
    """Returns what many libraries return: an object with logits."""

    def __init__(self) -> None:
        super().__init__()
        self.net = mlp()

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"logits": self.net(x)}


class Pooled(nn.Module):
    """No classifier: its answer is (n, 64, 2)."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.stack([x.flatten(1), x.flatten(1)], dim=2) * self.scale
