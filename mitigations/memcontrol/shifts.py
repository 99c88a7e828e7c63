"""Trainable changes of a frozen weight that leave it exactly as it is while they are neutral."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class SingularShift(nn.Module):
    """Shifts the singular values of a weight (SVDiff, Han et al., arXiv:2303.11305).

    The weight becomes U diag(relu(s + delta)) V^T. It is computed as a correction of the weight,
    so that delta = 0 gives its own bits and not those of a decomposition.
    """

    u: Tensor
    s: Tensor
    vh: Tensor

    def __init__(self, weight: Tensor):
        super().__init__()
        u, s, vh = torch.linalg.svd(weight.detach().flatten(1).float(), full_matrices=False)
        for name, value in (("u", u), ("s", s), ("vh", vh)):
            self.register_buffer(name, value)
        self.delta = nn.Parameter(torch.zeros_like(s))

    def forward(self, weight: Tensor) -> Tensor:
        """The shifted weight."""
        moved = torch.relu(self.s + self.delta) - self.s
        return weight + ((self.u * moved) @ self.vh).view_as(weight)


class RowScale(nn.Module):
    """Multiplies the outputs of a layer, by scaling the rows of its weight and its bias.

    The scale gamma is shared by the weight and the bias of one layer and starts at 1.
    """

    def __init__(self, gamma: nn.Parameter):
        super().__init__()
        self.gamma = gamma

    def forward(self, weight: Tensor) -> Tensor:
        """The scaled weight or bias."""
        return weight * self.gamma.view(-1, *[1] * (weight.ndim - 1))
