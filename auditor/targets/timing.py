"""How long one forward call of a diffusion target takes."""

from __future__ import annotations

import time

import torch

from auditor.memory import is_out_of_memory
from auditor.targets.diffusion import DiffusionTarget


def seconds_per_call(target: DiffusionTarget, batch_size: int) -> float:
    """Wall seconds of one image in a batch of that size, or of the largest that fits."""
    n = batch_size
    while True:
        try:
            return _time_batch(target, n)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error) or n == 1:
                raise
            n //= 2


def _time_batch(target: DiffusionTarget, n: int) -> float:
    inputs = torch.zeros((n, *target.input_shape), device=target.device)
    timesteps = torch.full((n,), 1, device=target.device)
    conditioning = target.embed([""])
    if conditioning is not None:
        conditioning = conditioning.rows(torch.zeros(n, dtype=torch.long, device=target.device))
    for _ in range(2):
        began = time.perf_counter()
        target.predict(inputs, timesteps, conditioning).sum().item()
        passed = time.perf_counter() - began
    return passed / n
