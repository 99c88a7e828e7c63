"""Which records each model sees at each step: a pure function of its seed and the step.

Every epoch has a generator of its own, so a training resumes at any step without a saved state.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from auditor.shadows.torch_models import mixed_seed


class Batches:
    """Shuffled epochs of each model's training set, one behind the other, cut into equal steps.

    members: for each of c models the rows of the pool that it is trained on.
    seeds: (c,) one for each model.
    rows: records of a step; the last step of an epoch runs into the next one.
    """

    def __init__(
        self, members: Sequence[Tensor], seeds: Sequence[int], rows: int, device: torch.device
    ) -> None:
        self._members, self._seeds, self._rows, self._device = members, seeds, rows, device
        self._steps = max(1, min(map(len, members)) // rows)
        self._block: tuple[int, Tensor] | None = None

    def at(self, step: int) -> Tensor:
        """(c, rows) rows of the pool for each model; drawn for about an epoch at once."""
        number, within = divmod(step, self._steps)
        if self._block is None or self._block[0] != number:
            count = self._steps * self._rows
            drawn = [
                self._stream(i, number * count, count).reshape(self._steps, self._rows)
                for i in range(len(self._members))
            ]
            self._block = number, torch.stack(drawn, dim=1).to(self._device)
        return self._block[1][within]

    def _stream(self, model: int, start: int, count: int) -> Tensor:
        size = len(self._members[model])
        first, last = start // size, (start + count - 1) // size
        epochs = torch.cat([self._epoch(model, epoch) for epoch in range(first, last + 1)])
        return epochs[start - first * size :][:count]

    def _epoch(self, model: int, epoch: int) -> Tensor:
        generator = torch.Generator().manual_seed(mixed_seed(self._seeds[model], epoch))
        members = self._members[model]
        return members[torch.randperm(len(members), generator=generator)]
