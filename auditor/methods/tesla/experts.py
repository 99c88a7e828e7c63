"""The expert buffer: how the parameters of networks move on the real data, epoch by epoch.

Source: MTT (Cazenavette et al., CVPR 2022), section 3: plain SGD without momentum, weight decay
or schedule; one snapshot per epoch, the first one before training.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.func import grad, vmap
from torch.nn import functional

from auditor.methods.tesla.augmentation import augment
from auditor.methods.tesla.config import TeslaConfig
from auditor.methods.tesla.students import FlatNetwork


def train_experts(
    network: FlatNetwork, images: Tensor, classes: Tensor, config: TeslaConfig, seed: int
) -> Tensor:
    """(m, E + 1, P) snapshots of m experts, which train together on (n, c, h, w) images.

    Every expert has weights and an order of the batches of its own; the last batch of an epoch
    may be small.
    """
    rng = np.random.default_rng(seed)
    seeds = rng.integers(2**31, size=config.n_experts)
    theta = torch.stack([network.initial(int(s)) for s in seeds]).to(images.dtype)
    step = vmap(grad(lambda t, x, y: functional.cross_entropy(network(t, x), y)))
    snapshots = [theta]
    for _ in range(config.expert_epochs):
        for rows in _batches(len(images), config, rng):
            x = images[rows]
            if config.augmentation:
                replayable = int(rng.integers(2**31))
                x = augment(x.flatten(0, 1), config.augmentation, replayable).view(x.shape)
            theta = theta - config.expert_rate * step(theta, x, classes[rows])
        snapshots.append(theta)
    return torch.stack(snapshots, dim=1).detach()


def _batches(n: int, config: TeslaConfig, rng: np.random.Generator) -> tuple[Tensor, ...]:
    """Batches of one epoch, (m, b) rows each: a permutation for every expert."""
    orders: NDArray[np.int64] = rng.permuted(np.tile(np.arange(n), (config.n_experts, 1)), axis=1)
    return torch.from_numpy(orders).split(config.expert_batch, dim=1)
