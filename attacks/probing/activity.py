"""How active each input of a layer is: root mean squares, streamed over any number of prompts.

The inputs of a layer are rows of d features, one for each token of each image. Every row is scaled
to length 1 first, so that a row counts by its direction alone and half precision never overflows.
Axis names: r rows, t steps of the sampler, d features.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from attacks.errors import ShapeError

if TYPE_CHECKING:
    from torch import Tensor


class Activity:
    """Sums over all rows seen so far, by layer and step; its size does not depend on the rows.

    Sums stay on the device of the inputs, in double precision where it has that.
    """

    def __init__(self) -> None:
        self._squares: dict[str, dict[int, Tensor]] = {}
        self._rows: dict[str, dict[int, int]] = {}

    @property
    def layers(self) -> tuple[str, ...]:
        """Names of the layers, in the order in which they were first seen."""
        return tuple(self._squares)

    def steps(self, layer: str) -> int:
        """Steps that were seen of a layer."""
        return len(self._squares[layer])

    def rows(self, layer: str, step: int) -> int:
        """Rows that were seen at a layer and step."""
        return self._rows[layer][step]

    def add(self, layer: str, step: int, inputs: Tensor) -> None:
        """Take in the inputs (..., d) of a layer at a step.

        Raises ShapeError if d is not that of the inputs before.
        """
        squares = column_squares(inputs)
        known = self._squares.setdefault(layer, {})
        if step in known:
            if known[step].shape != squares.shape:
                raise ShapeError(
                    f"layer '{layer}' had {len(known[step])} inputs and now has {len(squares)}; "
                    "keep one accumulator for each model"
                )
            known[step] += squares
        else:
            known[step] = squares
        counts = self._rows.setdefault(layer, {})
        counts[step] = counts.get(step, 0) + inputs.numel() // max(inputs.shape[-1], 1)

    def rms(self, layer: str) -> NDArray[np.float64]:
        """(t, d) root mean square of the scaled inputs over all rows; never a sum.

        A mean does not grow with the number of prompts, so that lists of different lengths can be
        compared. The squares of a step add up to 1 if no row is zero.
        """
        steps = sorted(self._squares[layer])
        means = [
            self._squares[layer][t].cpu().numpy().astype(np.float64) / self._rows[layer][t]
            for t in steps
        ]
        return np.sqrt(np.stack(means))


def merged(parts: Iterable[Activity]) -> Activity:
    """The activity of all rows of the parts together, as if they had been one stream."""
    whole = Activity()
    for part in parts:
        for layer, by_step in part._squares.items():
            squares = whole._squares.setdefault(layer, {})
            counts = whole._rows.setdefault(layer, {})
            for t, added in by_step.items():
                squares[t] = squares[t] + added if t in squares else added.clone()
                counts[t] = counts.get(t, 0) + part._rows[layer][t]
    return whole


def column_squares(inputs: Tensor) -> Tensor:
    """(d,) sum over rows of the squared entries of inputs (..., d), each row scaled to length 1.

    Rows of zeros stay zero; so does a row whose squares underflow in single precision.
    """
    import torch

    rows = inputs.detach().reshape(-1, inputs.shape[-1]).float()
    squares = rows.square()
    energy = squares.sum(dim=1)
    weights = torch.where(energy > 0, 1 / energy, torch.zeros_like(energy))
    total = weights @ squares
    return total if total.device.type == "mps" else total.double()
