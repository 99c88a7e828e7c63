"""What attacks and controls drive: declared here, implemented by targets."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from attacks.manifest import ClassifierCapabilities, DiffusionCapabilities

if TYPE_CHECKING:
    from PIL.Image import Image
    from torch import Tensor


class NoisePredictor(Protocol):
    """A diffusion model seen as a predictor of the noise in its input.

    Tensors are on `device`; inputs of the model (pixels or scaled latents) have shape
    (n, c, h, w) and are float32 whatever precision the network runs in.
    """

    capabilities: DiffusionCapabilities
    device: Any
    input_shape: tuple[int, int, int]

    alphas_cumprod: NDArray[np.float64]
    """(T,) cumulative products of the model's own noise schedule."""

    def prepare(self, images: Sequence[Image], crop: float = 1.0) -> Tensor:
        """(n, c, h, w) clean inputs x_0 of RGB images, cropped at the centre and resized."""

    def decode(self, inputs: Tensor) -> Tensor:
        """(n, channels, height, width) images in [0, 1] of clean inputs."""

    def embed(self, captions: Sequence[str]) -> Any:
        """Conditioning of captions, to be indexed by `predict`; None if unconditional."""

    def predict(self, inputs: Tensor, timesteps: Tensor, conditioning: Any) -> Tensor:
        """(n, c, h, w) predicted noise eps in float32; one forward call per row."""

    def gradient_norms(
        self,
        clean: Tensor,
        noises: Tensor,
        timesteps: Tensor,
        conditioning: Any,
        *,
        each: bool,
        batch_size: int,
    ) -> NDArray[np.float32]:
        """(p,) norms of the gradient of one record's noise error in each weight tensor.

        clean: (c, h, w); noises: (t, c, h, w), one for each of the (t,) timesteps; each: average
        the norms of one gradient a timestep; otherwise take the norms of their mean.
        """


class FreeConditioning(Protocol):
    """Conditioning of n texts, the embeddings of which can be replaced."""

    def tensors(self) -> tuple[Tensor, ...]:
        """The embeddings, n rows each; what a search may change."""

    def replaced(self, tensors: Sequence[Tensor]) -> Self:
        """The same with other embeddings; gradients flow back to them."""

    def rows(self, index: Tensor) -> Self:
        """The conditioning of the texts at these positions, repeats allowed."""


class DifferentiablePredictor(NoisePredictor, Protocol):
    """A noise predictor that tells how its answer depends on the conditioning."""

    def noise(self, inputs: Tensor, timesteps: Tensor, conditioning: Any) -> Tensor:
        """As `predict`; gradients flow to the conditioning. Weights are not to be changed."""


class Tuning(NamedTuple):
    """How a copy is fine-tuned, beside the number of exposures."""

    rate: float = 1.0
    """Multiple of the learning rate that the target uses for its kind of network."""
    is_averaged: bool = False
    """Whether the copy's weights are a moving average over the steps, as in most published models."""


class Dose(NamedTuple):
    """A fine-tuned copy after every record was seen `exposures` times."""

    exposures: int
    predictor: NoisePredictor
    loss_before: float
    """Mean squared noise error on the injected records before fine-tuning."""
    loss_after: float
    """The same, same noises, at this dose."""
    learning_rate: float
    """Of the fine-tuning."""


class Noises(NamedTuple):
    """What n clean inputs are mixed with in one training step."""

    timesteps: Tensor
    """(n,) indices into the model's noise schedule."""
    noise: Tensor
    """(n, c, h, w) standard normal."""


class Backward(NamedTuple):
    """Gradients were computed; they lie in the network's weights."""

    loss: float
    """Mean loss of the batch, weighted if weights were given."""
    chunk: int
    """Rows that fitted into memory at once."""


class Trainable(Protocol):
    """A target that can be copied, re-initialised and fine-tuned; the original never changes."""

    def reinitialised(self, seed: int) -> NoisePredictor:
        """The same architecture with fresh random weights."""

    def draw_noises(self, inputs: Tensor, generator: Any) -> Noises:
        """One uniform timestep and one noise for each of n inputs, from a torch CPU generator."""

    def backward(
        self,
        inputs: Tensor,
        noises: Noises,
        conditioning: Any,
        *,
        chunk: int,
        weights: Tensor | None = None,
    ) -> Backward:
        """Replace the gradients of the network's trainable weights by those of the loss.

        The loss is the mean square error of the network's own prediction, averaged over the rows,
        or, with weights (n,), the sum of weights times row errors. chunk: most rows in memory at
        once; halved while memory runs out.
        """

    def finetune(
        self,
        inputs: Tensor,
        conditioning: Any,
        *,
        doses: Sequence[int],
        seed: int,
        batch_size: int = 64,
        tuning: Tuning = Tuning(),
    ) -> Iterator[Dose]:
        """A copy trained on the inputs, yielded at each cumulative dose (ascending)."""


class Classifier(Protocol):
    """A model that tells k classes apart."""

    @property
    def capabilities(self) -> ClassifierCapabilities:
        """What it can be asked."""

    def logits(self, features: Any) -> NDArray[np.floating]:
        """(n, k) logits of n records, column c for class index c.

        A model that gives probabilities answers with their logarithms; a class that it has never
        seen gets a very low finite value.
        """


class ClassifierTrainer(Protocol):
    """A recipe that trains classifiers of the target's kind on subsets of one pool of records."""

    def train(
        self,
        features: NDArray,
        classes: NDArray[np.integer],
        keep: NDArray[np.bool_],
        seeds: Sequence[int],
    ) -> Sequence[Classifier]:
        """One model for each row of keep.

        features: (n, ...) of the pool; classes: (n,) class indices; keep: (m, n) which records
        each of m models is trained on; seeds: (m,) initial weights and order of the batches.
        The same arguments give the same models, however many are trained at once.
        """


class PairEncoder(Protocol):
    """Two towers that put images and texts into one space, such as CLIP."""

    @property
    def key(self) -> str:
        """Name and hash of the weights; part of every request that it answers."""

    def images(self, pictures: Sequence[Image]) -> NDArray[np.float32]:
        """(n, d) embeddings of RGB pictures, not normalised."""

    def texts(self, captions: Sequence[str]) -> NDArray[np.float32]:
        """(n, d) embeddings of captions, not normalised."""
