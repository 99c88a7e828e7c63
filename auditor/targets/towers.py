"""Image-text encoders with two towers (CLIP): from open_clip, or a CLIP directory on disk.

They are the attacker's own and never part of the target. Weights load from safetensors or through
torch's weights-only loader; nothing is fetched unless a hub id is given.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from attacks.errors import TargetError
from auditor.targets.files import first_line

BATCH = 32
"""Pictures or captions that are encoded at once."""
HUB = "hf-hub:"
"""What open_clip calls a hub id by."""


@dataclass(frozen=True)
class TwoTowers:
    """An encoder of `attacks.protocols.PairEncoder`."""

    name: str
    key: str
    encode_images: Callable[[list[Image.Image]], Tensor]
    encode_texts: Callable[[list[str]], Tensor]

    def images(self, pictures: Sequence[Image.Image]) -> NDArray[np.float32]:
        """(n, d) embeddings of RGB pictures, not normalised."""
        return _in_batches(self.encode_images, list(pictures))

    def texts(self, captions: Sequence[str]) -> NDArray[np.float32]:
        """(n, d) embeddings of captions, not normalised."""
        return _in_batches(self.encode_texts, list(captions))


def open_towers(name: str, checkpoint: Path | None, device: torch.device) -> TwoTowers:
    """The encoder of that name.

    name: a directory with a CLIP model (as transformers saves it), an architecture that open_clip
        knows, or `hf-hub:` and a hub id; checkpoint: weights of an architecture.

    Raises TargetError that says what is missing.
    """
    if Path(name).expanduser().is_dir():
        return _from_directory(Path(name).expanduser(), device)
    if checkpoint is None and not name.startswith(HUB):
        raise TargetError(
            f"the encoder '{name}' has no weights; name a file of them with encoder.checkpoint, "
            f"a directory with a CLIP model, or a hub id as '{HUB}organisation/model'"
        )
    if checkpoint is not None and not checkpoint.is_file():
        raise TargetError(f"there is no file of weights at encoder.checkpoint '{checkpoint}'")
    return _from_open_clip(name, checkpoint, device)


def _from_open_clip(name: str, checkpoint: Path | None, device: torch.device) -> TwoTowers:
    try:
        import open_clip
    except ImportError as error:
        raise TargetError(
            "the encoder needs the package open_clip, which cannot be imported "
            f"({first_line(error)}); run: pip install open-clip-torch"
        ) from error
    try:
        weights = None if checkpoint is None else str(checkpoint)
        model, _, prepare = open_clip.create_model_and_transforms(name, pretrained=weights)
        tokenise = open_clip.get_tokenizer(name)
    except Exception as error:  # the library raises a dozen unrelated types
        raise TargetError(
            f"the encoder '{name}' cannot be loaded ({type(error).__name__}: "
            f"{first_line(error)}); check encoder.name and encoder.checkpoint"
        ) from error
    model = model.to(device).eval()
    return TwoTowers(
        name,
        _key(name, model),
        lambda pictures: model.encode_image(torch.stack([prepare(p) for p in pictures]).to(device)),
        lambda captions: model.encode_text(tokenise(captions).to(device)),
    )


def _from_directory(folder: Path, device: torch.device) -> TwoTowers:
    from transformers import CLIPImageProcessor, CLIPModel, CLIPTokenizer

    try:
        model = CLIPModel.from_pretrained(folder, use_safetensors=True, local_files_only=True)
        prepare = CLIPImageProcessor.from_pretrained(folder, local_files_only=True)
        tokenise = CLIPTokenizer.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise TargetError(
            f"'{folder.name}' is no directory with a CLIP model, its image processor and its "
            f"tokenizer ({type(error).__name__}: {first_line(error)})"
        ) from error
    model = model.to(device).eval()

    def images(pictures: list[Image.Image]) -> Tensor:
        pixels = prepare(images=pictures, return_tensors="pt")["pixel_values"].to(device)
        return model.visual_projection(model.vision_model(pixel_values=pixels).pooler_output)

    def texts(captions: list[str]) -> Tensor:
        length = model.config.text_config.max_position_embeddings
        given = tokenise(
            captions, padding="max_length", max_length=length, truncation=True, return_tensors="pt"
        ).to(device)
        states = model.text_model(
            input_ids=given["input_ids"], attention_mask=given["attention_mask"]
        )
        return model.text_projection(states.pooler_output)

    return TwoTowers(folder.name, _key(folder.name, model), images, texts)


def _in_batches(encode: Callable[[list[Any]], Tensor], items: list[Any]) -> NDArray[np.float32]:
    with torch.inference_mode():
        parts = [encode(items[i : i + BATCH]).float().cpu() for i in range(0, len(items), BATCH)]
    return torch.cat(parts).numpy() if parts else np.empty((0, 0), np.float32)


def _key(name: str, model: torch.nn.Module) -> str:
    """Name and a hash of all weights."""
    digest = hashlib.sha256()
    for tensor_name, tensor in sorted(model.state_dict().items()):
        digest.update(tensor_name.encode())
        digest.update(tensor.detach().float().cpu().contiguous().numpy().tobytes())
    return f"{name}@{digest.hexdigest()[:16]}"
