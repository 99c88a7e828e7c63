"""Encoders: from pictures to unit vectors whose inner product says how alike two pictures are.

Which encoder found the candidates decides what a scan can see, so each names itself and its limits
for the report. Every claimed copy is verified by pixels afterwards, whatever the encoder.
"""

from __future__ import annotations

import abc
import hashlib
import inspect
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from attacks.errors import TargetError, UsageError

if TYPE_CHECKING:
    import torch

BATCH = 64
"""Pictures of one call of a network."""


class Encoder(abc.ABC):
    """Turns pictures into unit vectors."""

    name: str
    """For the report."""
    limits: str
    """What it is good for and what it misses, in one or two sentences."""
    key: str
    """64 hex digits: hash of everything that shapes a vector."""
    width: int
    """Length of a vector."""

    @abc.abstractmethod
    def embed(self, pictures: Sequence[Image.Image]) -> NDArray[np.float32]:
        """(n, width) unit vectors of RGB pictures, in their order."""


def open_encoder(spec: str | None = None, *, device: str = "auto") -> Encoder:
    """The encoder that `--encoder` names.

    spec: None or `pixels` for the built-in descriptor; a TorchScript file (SSCD); or
        `open_clip:MODEL`, `open_clip:MODEL:CHECKPOINT` with a file or the name of published
        weights, or `open_clip:hf-hub:ORG/MODEL`.
    Raises UsageError for anything else, TargetError if the model cannot be loaded.
    """
    if spec is None or spec == "pixels":
        return PixelEncoder()
    if spec.startswith("open_clip:"):
        return OpenClipEncoder(spec.removeprefix("open_clip:"), device=device)
    path = Path(spec).expanduser()
    if path.is_file():
        return TorchScriptEncoder(path, device=device)
    raise UsageError(
        f"--encoder '{spec}' is neither `pixels`, nor a TorchScript file, nor open_clip:MODEL; "
        "check the path or the name"
    )


class PixelEncoder(Encoder):
    """Low frequencies of the picture itself: finds exact and slightly changed copies, no more.

    32 x 32 pixels, brightness and two differences of colour, in the basis of the discrete cosine
    transform without the mean (centred), every coefficient times one plus its frequency. Spectra
    of pictures fall with the frequency, so that this makes the coefficients about equally large
    (whitened), and it needs no data. Nothing is learned.
    """

    name = "pixels (built in)"
    limits = (
        "No embedding model was given: this descriptor compares small versions of the pixels. It "
        "finds exact, re-encoded and slightly cropped copies. It misses copies that were moved, "
        "rotated, restyled or pasted into another picture; give an SSCD file with --encoder to "
        "look for those."
    )
    SIDE, BRIGHTNESS, COLOUR = 32, 12, 6

    def __init__(self) -> None:
        rows, columns = np.mgrid[: self.BRIGHTNESS, : self.BRIGHTNESS]
        self._weight = (1 + np.hypot(rows, columns)).astype(np.float32)
        positions = np.arange(self.SIDE)
        basis = np.cos(
            np.pi * np.outer(np.arange(self.BRIGHTNESS), 2 * positions + 1) / (2 * self.SIDE)
        )
        self._basis = (basis * np.sqrt(2 / self.SIDE)).astype(np.float32)
        self.width = self.BRIGHTNESS**2 + 2 * self.COLOUR**2
        settings = f"pixels/1 {self.SIDE} {self.BRIGHTNESS} {self.COLOUR}"
        self.key = hashlib.sha256(settings.encode()).hexdigest()

    def embed(self, pictures: Sequence[Image.Image]) -> NDArray[np.float32]:
        """(n, width) unit vectors; a picture of one colour becomes the first axis."""
        size = (self.SIDE, self.SIDE)
        stack = np.stack(
            [np.asarray(p.resize(size, Image.Resampling.BILINEAR)) for p in pictures]
        ).astype(np.float32)
        red, green, blue = np.moveaxis(stack / 255, -1, 0)
        planes = (
            ((red + green + blue) / 3, self.BRIGHTNESS),
            ((red - blue) / 2, self.COLOUR),
            ((2 * green - red - blue) / 4, self.COLOUR),
        )
        parts = []
        for plane, kept in planes:
            basis = self._basis[:kept]
            coefficients = np.einsum("ux,nxy,vy->nuv", basis, plane, basis, optimize=True)
            coefficients *= self._weight[:kept, :kept]
            coefficients[:, 0, 0] = 0  # the mean
            parts.append(coefficients.reshape(len(stack), -1))
        vectors = np.concatenate(parts, axis=1)
        vectors[:, 0] = 1e-3  # where there is nothing else, this axis is what is left
        return normalised(vectors)


class TorchScriptEncoder(Encoder):
    """A copy-detection network in a TorchScript file, such as SSCD (Pizzi et al. 2022)."""

    SMALL_SIDE = 288
    MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    limits = (
        "A copy-detection network from a file of the user. SSCD finds copies that were cropped, "
        "recoloured or edited; it misses templates, of which only a part is a copy."
    )

    def __init__(self, path: Path, *, device: str = "auto") -> None:
        import torch

        from auditor.targets.files import sha256_of
        from auditor.targets.loading import choose_device

        self._device = choose_device(device)
        try:
            self._network = torch.jit.load(str(path), map_location=self._device).eval()
        except (RuntimeError, ValueError, OSError) as error:
            raise TargetError(
                f"{path.name} cannot be loaded as TorchScript; download the .torchscript.pt file "
                "of SSCD, not its .pt weights"
            ) from error
        digest = sha256_of(path)
        self.name = f"TorchScript file (SHA-256 {digest[:12]})"
        self.key = hashlib.sha256(f"torchscript/1 {self.SMALL_SIDE} {digest}".encode()).hexdigest()
        self.width = self.embed([Image.new("RGB", (320, 320))]).shape[1]

    def embed(self, pictures: Sequence[Image.Image]) -> NDArray[np.float32]:
        """(n, width) unit vectors; small side 288, ImageNet normalisation, one shape a call."""
        from torchvision.transforms.v2 import functional

        def prepared(picture: Image.Image) -> torch.Tensor:
            small = functional.resize(picture, [self.SMALL_SIDE], antialias=True)
            return functional.normalize(
                functional.to_dtype(functional.to_image(small), scale=True),
                self.MEAN,
                self.DEVIATION,
            )

        return _by_shape(self._network, [prepared(p) for p in pictures], self._device)


class OpenClipEncoder(Encoder):
    """A CLIP model of open_clip: semantic similarity, for candidates only."""

    limits = (
        "CLIP measures what pictures show, not whether one is a copy: a similar scene scores high. "
        "It gives candidates; the pixels decide."
    )

    def __init__(self, spec: str, *, device: str = "auto") -> None:
        import open_clip

        from auditor.targets.loading import choose_device

        name, _, weights = (spec, "", "") if spec.startswith("hf-hub:") else spec.partition(":")
        options: dict[str, Any] = {"pretrained": weights or None}
        creator = open_clip.create_model_and_transforms
        if "load_weights_only" in inspect.signature(creator).parameters:
            options["load_weights_only"] = True
        self._device = choose_device(device)
        try:
            model, _, self._transform = creator(name, **options)
        except Exception as error:  # open_clip and the hub client raise a dozen unrelated types
            raise TargetError(
                f"open_clip cannot load '{spec}' ({type(error).__name__}); check the names of model "
                "and checkpoint, and the network for a hub id"
            ) from error
        self._model = model.to(self._device).eval()
        digest = hashlib.sha256(f"open_clip/1 {name} {self._transform}".encode())
        for part, tensor in sorted(self._model.state_dict().items()):
            digest.update(part.encode())
            digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
        self.key = digest.hexdigest()
        self.name = f"open_clip {name}"
        self.width = self.embed([Image.new("RGB", (64, 64))]).shape[1]

    def embed(self, pictures: Sequence[Image.Image]) -> NDArray[np.float32]:
        """(n, width) unit vectors."""
        tensors = [self._transform(picture) for picture in pictures]
        return _by_shape(self._model.encode_image, tensors, self._device)


def _by_shape(
    network: Any, inputs: Sequence[torch.Tensor], device: torch.device
) -> NDArray[np.float32]:
    """Unit vectors of pictures, in batches of one shape each."""
    import torch

    shapes: dict[tuple[int, ...], list[int]] = {}
    for i, tensor in enumerate(inputs):
        shapes.setdefault(tuple(tensor.shape), []).append(i)
    rows: dict[int, NDArray[np.float32]] = {}
    with torch.inference_mode():
        for members in shapes.values():
            for start in range(0, len(members), BATCH):
                part = members[start : start + BATCH]
                answer = network(torch.stack([inputs[i] for i in part]).to(device))
                vectors = answer.float().cpu().numpy().reshape(len(part), -1)
                rows |= dict(zip(part, vectors, strict=True))
    return normalised(np.stack([rows[i] for i in range(len(inputs))]))


def normalised(vectors: NDArray[np.floating]) -> NDArray[np.float32]:
    """(n, d) rows at length 1.

    Raises TargetError for a row that is not finite or has no length.
    """
    array = np.asarray(vectors, dtype=np.float32)
    length = np.linalg.norm(array, axis=1, keepdims=True)
    if not (np.isfinite(length) & (length > 0)).all():
        raise TargetError(
            "the encoder gave a vector that is not finite or has no length; check that the file is "
            "the right one"
        )
    return array / length
