"""The expandable network: one generalised block, one specialised block per task, one head.

Source: MEMO section 4; f(x) = W^T [phi_s1(phi_g(x)), ..., phi_st(phi_g(x))] + b.
"""

from __future__ import annotations

import copy
import math

import torch
from torch import Generator, Tensor, nn

from auditor.methods.memo.backbones import Backbone, n_buffers, n_parameters
from auditor.methods.memo.config import Growth
from auditor.methods.memo.ledger import Ledger


class ExpandableNetwork(nn.Module):
    """A classifier over the classes seen so far, in the order in which they came."""

    def __init__(
        self,
        backbone: Backbone,
        n_classes: int,
        generator: Generator,
        *,
        growth: Growth = "specialised",
        train_base: bool = True,
    ):
        """The network of the first task, with n_classes classes."""
        super().__init__()
        self.generalised = backbone.generalised
        self.blocks = nn.ModuleList([backbone.specialised])
        self.d = backbone.d
        self.grows = growth != "none"
        self.train_base = train_base
        self.head = new_linear(self.d, n_classes, generator)
        self.auxiliary: nn.Linear | None = None
        self.n_old = 0

    @property
    def n_classes(self) -> int:
        """Classes seen so far."""
        return self.head.out_features

    def expand(self, n_new: int, generator: Generator) -> None:
        """Make room for a further task of n_new classes.

        A copy of the newest block is appended and the auxiliary head is drawn anew; in the head,
        rows of old classes keep their weights on the old blocks. Weights of old classes on the
        new block keep their random start.
        """
        self.n_old = self.n_classes
        if self.grows:
            self.blocks.append(copy.deepcopy(self.blocks[-1]))
            self.auxiliary = new_linear(self.d, n_new + 1, generator)
        former = self.head
        self.head = new_linear(len(self.blocks) * self.d, self.n_old + n_new, generator)
        with torch.no_grad():
            self.head.weight[: self.n_old, : former.in_features] = former.weight
            self.head.bias[: self.n_old] = former.bias
        self._freeze()

    def _freeze(self) -> None:
        """Only the newest block learns, and the generalised one where it may."""
        for block in self.blocks:
            block.requires_grad_(block is self.blocks[-1])
        self.generalised.requires_grad_(self._base_learns)

    @property
    def _base_learns(self) -> bool:
        return self.train_base or not self.n_old or not self.grows

    def train(self, mode: bool = True) -> ExpandableNetwork:
        """Training mode, with everything frozen left in eval mode: its statistics stay."""
        super().train(mode)
        for block in self.blocks[:-1]:
            block.eval()
        if not self._base_learns:
            self.generalised.eval()
        return self

    def block_features(self, x: Tensor) -> list[Tensor]:
        """One (n, d) tensor per specialised block."""
        shared = self.generalised(x)
        return [block(shared) for block in self.blocks]

    def features(self, x: Tensor) -> Tensor:
        """(n, t * d) features of all blocks."""
        return torch.cat(self.block_features(x), dim=1)

    def forward(self, x: Tensor) -> Tensor:
        """(n, classes seen) logits."""
        return self.head(self.features(x))

    def both_heads(self, x: Tensor) -> tuple[Tensor, Tensor | None]:
        """Logits of the head, and of the auxiliary head on the newest block if there is one."""
        blocks = self.block_features(x)
        extra = None if self.auxiliary is None else self.auxiliary(blocks[-1])
        return self.head(torch.cat(blocks, dim=1)), extra

    def align(self) -> float:
        """Weight alignment after a task: scale the new rows to the mean norm of the old ones.

        Source: Zhao et al., CVPR 2020, equation 4. Biases stay. Returns the factor gamma.
        """
        with torch.no_grad():
            norms = self.head.weight.norm(dim=1)
            gamma = norms[: self.n_old].mean() / norms[self.n_old :].mean()
            self.head.weight[self.n_old :] *= gamma
        return float(gamma)

    def ledger(self, n_exemplars: int, exemplar_size: int) -> Ledger:
        """What is kept of this network and so many exemplars."""
        heads = [self.head] if self.auxiliary is None else [self.head, self.auxiliary]
        return Ledger(
            shared_parameters=n_parameters(self.generalised),
            block_parameters=n_parameters(self.blocks[0]),
            n_blocks=len(self.blocks),
            n_exemplars=n_exemplars,
            exemplar_size=exemplar_size,
            uncounted_parameters=sum(map(n_parameters, heads)) + n_buffers(self),
        )


def new_linear(inputs: int, outputs: int, generator: Generator) -> nn.Linear:
    """A linear layer with Kaiming-uniform weights (gain of a linear unit) and zero biases."""
    layer = nn.utils.skip_init(nn.Linear, inputs, outputs)
    bound = math.sqrt(3 / inputs)
    with torch.no_grad():
        layer.weight.uniform_(-bound, bound, generator=generator)
        layer.bias.zero_()
    return layer


def auxiliary_targets(targets: Tensor, n_old: int) -> Tensor:
    """(n,) 0 for every old class and 1, 2, ... for the new ones, from positions in the head."""
    return (targets - n_old + 1).clamp(min=0)
