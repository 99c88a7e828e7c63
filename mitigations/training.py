"""Fine-tuning as every training-time mitigation does it: one loop, with places to step in.

Records are drawn as often as they occur in the data: in passes over all of them, repeats included,
each in an order of its own. The step is the target's own (`attacks.protocols.Trainable`). The same
seed gives the same batches, timesteps, noises and dropped captions whatever is trained and whatever
a `Practice` changes, so that two runs differ by that alone.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from attacks.errors import UsageError
from attacks.protocols import Noises
from mitigations.material import EditableDiffusion, Examples

if TYPE_CHECKING:
    from torch import Tensor

CLIP = 1.0
"""Largest norm of a step's gradient."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """How a network is fine-tuned."""

    steps: int = 300
    """Gradient steps."""
    batch_size: int = 16
    """Records a step."""
    learning_rate: float = 1e-4
    """Of AdamW, constant."""
    weight_decay: float = 0.0
    """Of AdamW, on what is trained alone."""
    caption_dropout: float = 0.0
    """Share of records shown with the empty text, as for classifier-free guidance."""

    def __post_init__(self) -> None:
        if self.steps < 1 or self.batch_size < 1:
            raise UsageError(
                f"training needs steps and batch_size of at least 1, got {self.steps} and "
                f"{self.batch_size}"
            )
        if not 0 < self.learning_rate < math.inf or self.weight_decay < 0:
            raise UsageError(
                "learning_rate must be positive and weight_decay not negative, got "
                f"{self.learning_rate} and {self.weight_decay}"
            )
        if not 0 <= self.caption_dropout <= 1:
            raise UsageError(f"caption_dropout is a share in [0, 1], got {self.caption_dropout}")


class Batch(NamedTuple):
    """One step's records as the network is shown them."""

    step: int
    """0 for the first."""
    rows: NDArray[np.int64]
    """(b,) positions of the records."""
    inputs: Tensor
    """(b, c, h, w) clean inputs."""
    noises: Noises
    conditioning: Any
    """Of the captions, randomised or dropped ones as they are; None without text."""
    nothing: Any
    """(1, ...) of the empty text; None without text."""


class Practice:
    """What a mitigation does otherwise than plain fine-tuning; this one does nothing otherwise."""

    def captions(self, examples: Examples, rows: NDArray[np.int64], step: int) -> Sequence[str]:
        """The captions that these records are shown with."""
        return [examples.captions[row] for row in rows]

    def weights(self, tuned: Any, batch: Batch) -> Tensor | None:
        """(b,) what each row's loss is multiplied by before they are summed; None for their mean."""
        return None

    def stops(self, tuned: Any, steps: int) -> bool:
        """Whether training ends after so many steps."""
        return False


class Fitted(NamedTuple):
    """What a training run was like."""

    steps: int
    """Steps that were taken."""
    losses: tuple[float, ...]
    """Loss of every step."""
    chunk: int
    """Rows that fitted into memory at once."""

    @property
    def is_finite(self) -> bool:
        """Whether no loss was infinite or undefined."""
        return all(math.isfinite(loss) for loss in self.losses)


def fit(
    tuned: Any,
    examples: Examples,
    recipe: Recipe,
    *,
    seed: int,
    chunk: int = 32,
    practice: Practice | None = None,
    told: Callable[[int, int], None] = lambda done, total: None,
) -> Fitted:
    """Train whatever of the target's network requires gradients, in place.

    tuned: a view of a target with its own network (`with_unet`); chunk: most rows in memory at
    once. Nothing is done to a network without trainable weights. Ends early where the loss is no
    longer a number.
    """
    import torch

    practice = practice or Practice()
    weights = [p for p in tuned.unet.parameters() if p.requires_grad]
    if not weights:
        return Fitted(0, (), chunk)
    optimiser = torch.optim.AdamW(
        weights, lr=recipe.learning_rate, weight_decay=recipe.weight_decay
    )
    batches = Batches(tuned, examples, recipe, seed, practice)
    losses: list[float] = []
    for step in range(recipe.steps):
        batch = batches.draw(step)
        done = tuned.backward(
            batch.inputs,
            batch.noises,
            batch.conditioning,
            chunk=chunk,
            weights=practice.weights(tuned, batch),
        )
        chunk = done.chunk
        losses.append(done.loss)
        if not math.isfinite(done.loss):
            break
        torch.nn.utils.clip_grad_norm_(weights, CLIP)
        optimiser.step()
        told(step + 1, recipe.steps)
        if practice.stops(tuned, step + 1):
            break
    return Fitted(len(losses), tuple(losses), chunk)


class Batches:
    """The batches of a run: rows, noises, captions."""

    def __init__(
        self, tuned: Any, examples: Examples, recipe: Recipe, seed: int, practice: Practice
    ):
        import torch

        self._tuned, self._examples, self._recipe = tuned, examples, recipe
        self._practice = practice
        self._rows = RowStream(examples.repeats, seed)
        self._generator = torch.Generator().manual_seed(seed)
        self._dropped = np.random.default_rng([seed, 1])
        self._nothing = tuned.embed_nothing()
        self._known: dict[str, int] = {}
        self._embedded: Any = None

    def draw(self, step: int) -> Batch:
        """The batch of a step; steps are asked for in order."""
        rows = self._rows.take(self._recipe.batch_size)
        inputs = self._examples.inputs[rows]
        noises = self._tuned.draw_noises(inputs, self._generator)
        captions = list(self._practice.captions(self._examples, rows, step))
        is_dropped = self._dropped.random(len(rows)) < self._recipe.caption_dropout
        return Batch(
            step, rows, inputs, noises, self._conditioning(captions, is_dropped), self._nothing
        )

    def _conditioning(self, captions: list[str], is_dropped: NDArray[np.bool_]) -> Any:
        import torch

        if self._nothing is None:
            return None
        if self._embedded is None:
            self._remember(list(dict.fromkeys(self._examples.captions)))
        if all(text in self._known for text in captions):
            held, last = self._embedded, 0
            places = [self._known[text] for text in captions]
        else:  # new texts are not kept: there may be no end of them
            held = self._tuned.embed(captions).joined(self._nothing)
            last, places = len(captions), list(range(len(captions)))
        chosen = [
            last if dropped else place for place, dropped in zip(places, is_dropped, strict=True)
        ]
        return held.rows(torch.tensor(chosen, device=self._tuned.device))

    def _remember(self, texts: list[str]) -> None:
        """Embed the records' own captions once; the empty text of guidance lies at place 0."""
        self._known = {text: i + 1 for i, text in enumerate(texts)}
        self._embedded = self._nothing
        for start in range(0, len(texts), 64):
            self._embedded = self._embedded.joined(self._tuned.embed(texts[start : start + 64]))


class RowStream:
    """Positions of records, each as often as it occurs, in passes of a fresh order each."""

    def __init__(self, repeats: Sequence[int], seed: int):
        self._all = np.repeat(np.arange(len(repeats)), repeats)
        if not len(self._all):
            raise UsageError("there is no record to train on; pass --members")
        self._seed, self._passes = seed, 0
        self._left = np.empty(0, dtype=np.int64)

    def take(self, n: int) -> NDArray[np.int64]:
        """The next n positions."""
        while len(self._left) < n:
            rng = np.random.default_rng([self._seed, 0, self._passes])
            self._left = np.concatenate([self._left, rng.permutation(self._all)])
            self._passes += 1
        taken, self._left = self._left[:n], self._left[n:]
        return taken


def whole_copy(target: EditableDiffusion) -> EditableDiffusion:
    """A view of a target with a float32 copy of its network, all of it trainable."""
    return target.with_unet(copy.deepcopy(target.unet).float().requires_grad_(True))


def changed_weights(before: Any, after: Any) -> dict[str, Tensor]:
    """Parameters and buffers of the second network that differ from those of the first."""
    import torch

    old = before.state_dict()
    return {
        name: value.detach().clone()
        for name, value in after.state_dict().items()
        if not torch.equal(value, old[name].to(value.dtype))
    }
