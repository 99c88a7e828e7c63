"""What a mitigation is given, and what it gives back."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from attacks.manifest import Capabilities, DiffusionCapabilities
from attacks.protocols import Backward, Noises
from mitigations.manifest import Manifest

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL.Image import Image
    from torch import Tensor


class EditableDiffusion(Protocol):
    """A diffusion target whose network can be read, copied and changed.

    Implemented by `auditor.targets.diffusion.DiffusionTarget`; tensors are on `device`.
    """

    capabilities: DiffusionCapabilities
    device: Any
    unet: Any
    """The U-Net itself (a torch module of diffusers), without gradients."""
    alphas_cumprod: NDArray[np.float64]
    input_shape: tuple[int, int, int]

    @property
    def key(self) -> str:
        """Hash of the weights and of all else that decides what the target predicts."""

    @property
    def text_pipeline(self) -> Any:
        """The pipeline that encodes prompts; None if the model takes no text."""

    def with_unet(self, unet: Any) -> EditableDiffusion:
        """A view of this target with another U-Net; everything else is shared."""

    def prepare(self, images: Sequence[Image], crop: float = 1.0) -> Tensor:
        """(n, c, h, w) clean inputs x_0 of RGB images."""

    def embed(self, captions: Sequence[str]) -> Any:
        """Conditioning of captions, to be indexed by `predict`; None if unconditional."""

    def embed_nothing(self) -> Any:
        """(1, ...) conditioning of the unconditional half of guidance; None without text."""

    def native(self, inputs: Tensor, timesteps: Tensor, conditioning: Any) -> Tensor:
        """(n, c, h, w) what the U-Net itself predicts, in float32, with its graph."""

    def noise(self, inputs: Tensor, timesteps: Tensor, conditioning: Any) -> Tensor:
        """(n, c, h, w) predicted noise eps in float32, with its graph."""

    def predict(self, inputs: Tensor, timesteps: Tensor, conditioning: Any) -> Tensor:
        """(n, c, h, w) predicted noise eps in float32, without a graph."""

    def decode(self, inputs: Tensor) -> Tensor:
        """(n, channels, height, width) images in [0, 1] of clean inputs."""

    def draw_noises(self, inputs: Tensor, generator: Any) -> Noises:
        """One uniform timestep and one noise for each input, from a torch CPU generator."""

    def backward(
        self,
        inputs: Tensor,
        noises: Noises,
        conditioning: Any,
        *,
        chunk: int,
        weights: Tensor | None = None,
    ) -> Backward:
        """The training step of `attacks.protocols.Trainable`."""

    def draw_images(
        self,
        prompts: Sequence[str],
        seeds: Sequence[int],
        *,
        steps: int,
        guidance: float,
        batch_size: int,
    ) -> NDArray[np.uint8]:
        """(n, height, width, channels) images, one for each prompt and seed, without filters."""


@dataclass(frozen=True, slots=True)
class Examples:
    """Images with captions, prepared for a target."""

    inputs: Tensor
    """(n, c, h, w) clean inputs x_0: pixels in [-1, 1], or scaled latents."""
    captions: tuple[str, ...]
    """n captions; empty texts for a model that takes none."""
    repeats: tuple[int, ...]
    """How often each occurs in the data."""

    def __len__(self) -> int:
        return len(self.captions)


@dataclass(frozen=True, slots=True)
class Material:
    """All that a mitigation may use."""

    target: EditableDiffusion
    prompts: tuple[str, ...] = ()
    reference: tuple[str, ...] = ()
    members: Examples | None = None
    nonmembers: Examples | None = None
    masks: Path | None = None
    """Directory that `auditor probe` wrote."""
    activity: Callable[[Sequence[str], int], Mapping[str, NDArray[np.float64]]] | None = None
    """Of prompts and a number of steps: layer of the feed-forward blocks -> (t, d) root mean square
    of its inputs while these steps of a guided drawing are taken; None if nothing can watch."""
    folder: Path | None = None
    """Private directory where a long search keeps what it can be continued from; None keeps
    nothing."""
    seed: int = 0
    batch_size: int = 32
    on_progress: Callable[[str, int, int], None] = lambda title, done, total: None
    """Told a title, the steps done and all steps."""


@dataclass(frozen=True, slots=True)
class Change:
    """What a mitigation made of a target."""

    weights: Mapping[str, Tensor] = field(default_factory=dict)
    """Name of a U-Net parameter -> its new value, whole; only what changed. Where it equals the
    loaded value, the stored bits are kept."""
    filter: Mapping[str, Any] | None = None
    """Settings of an inference filter, to be stored beside the model; None for other kinds."""
    private: Mapping[str, Tensor] = field(default_factory=dict)
    """What an inference filter needs that was derived from records: never to be published."""
    files: Mapping[str, bytes] = field(default_factory=dict)
    """Further files beside the model, such as an adapter or a curve: relative path -> content."""
    facts: Mapping[str, float | int | str] = field(default_factory=dict)
    """What was found and done, in figures: for the record."""
    notes: tuple[str, ...] = ()
    """Sentences that a reader of the record must know."""


class Mitigation(Protocol):
    """What the module of a mitigation has."""

    MANIFEST: Manifest
    """The label."""

    def default_config(self, capabilities: Capabilities) -> Any:
        """The paper's defaults for this kind of target: a frozen dataclass."""

    def applicable(self, capabilities: Capabilities) -> str | None:
        """None if it can be applied to such a target, else the reason in words."""

    def apply(self, material: Material, config: Any) -> Change:
        """What to change; the target that was given is left as it is."""
