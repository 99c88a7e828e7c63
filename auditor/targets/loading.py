"""From a directory or a hub id to a diffusion target."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import torch

from attacks.errors import TargetError
from auditor.targets.adapters import apply_lora
from auditor.targets.diffusion import DiffusionTarget
from auditor.targets.files import first_line, sha256_of
from auditor.targets.layout import Layout, read_layout, weight_files
from mitigations.deploy import open_filter
from mitigations.record import read_record

FEWEST_TOKENS = 8
"""A vocabulary of no more tokens than these holds special ones alone."""
PRECISIONS = {
    "auto": torch.float32,
    "fp32": torch.float32,
    "fp16": torch.float16,
    "bf16": torch.bfloat16,
}
"""Names of precisions; `auto` is fp32, since memorization is a small signal."""


def find_model(model: str) -> Path:
    """The directory of a local model, or of a hub id after its files were fetched.

    Raises TargetError if there is neither such a directory nor such a hub id within reach.
    """
    path = Path(model).expanduser()
    if path.exists():
        return path
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", model) or model.startswith((".", "/")):
        raise TargetError(
            f"there is no model at '{model}'; pass a diffusers directory or a hub id `name/model`"
        )
    from huggingface_hub import snapshot_download

    try:
        return Path(
            snapshot_download(model, allow_patterns=["*.json", "*.txt", "*.model", "*.safetensors"])
        )
    except Exception as error:  # the hub client raises a dozen unrelated types
        raise TargetError(
            f"'{model}' is no local directory and could not be fetched as a hub id "
            f"({type(error).__name__}); check the name and the network, or pass a local directory"
        ) from error


def choose_device(name: str = "auto") -> torch.device:
    """The torch device of a `--device` value; `auto` prefers CUDA, then MPS, then the CPU."""
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise TargetError(
            f"device '{name}' cannot be used here; try --device auto or --device cpu"
        ) from error
    return device


def open_target(
    model: str,
    *,
    device: str = "auto",
    precision: str = "auto",
    resolution: int | None = None,
    lora: Path | None = None,
    allow_pickle: bool = False,
) -> DiffusionTarget:
    """Load a diffusers pipeline as a target.

    model: directory or hub id; lora: directory or file of an adapter for it. A mitigation record
    beside the model is read with it, and its inference filters act when images are drawn.
    Raises TargetError with what is wrong and what to do.
    """
    if precision not in PRECISIONS:
        raise TargetError(f"precision '{precision}' is unknown; use {', '.join(PRECISIONS)}")
    layout = read_layout(find_model(model), allow_pickle=allow_pickle)
    parts = _load_components(layout, allow_pickle=allow_pickle)
    hashes = {str(p.relative_to(layout.root)): sha256_of(p) for p in weight_files(layout)}
    if lora is not None:
        hashes |= apply_lora(parts, layout, Path(lora))
    return DiffusionTarget(
        layout,
        parts,
        name=Path(model).resolve().name if Path(model).expanduser().exists() else model,
        hashes=hashes,
        device=choose_device(device),
        dtype=PRECISIONS[precision],
        resolution=resolution,
        adapter=None if lora is None else Path(lora).name,
        mitigation=read_record(layout.root),
        inference_filter=open_filter(layout.root),
    )


def _load_components(layout: Layout, *, allow_pickle: bool) -> dict[str, Any]:
    import diffusers
    import transformers
    from transformers.utils import logging as transformers_logging

    diffusers.utils.logging.set_verbosity_error()  # its warnings quote captions
    transformers_logging.set_verbosity_error()
    diffusers.utils.logging.disable_progress_bar()
    transformers_logging.disable_progress_bar()
    parts: dict[str, Any] = {}
    wanted = {"unet", "scheduler", layout.vae}
    if layout.conditioning != "unconditional":
        wanted |= {"text_encoder", "text_encoder_2", "tokenizer", "tokenizer_2"}
    for part in wanted - {None}:
        if part not in layout.components:
            continue
        class_name = layout.components[part]
        loader = getattr(diffusers, class_name, None) or getattr(transformers, class_name, None)
        if loader is None:
            raise TargetError(f"component '{part}' has the unknown class {class_name!r}")
        options: dict[str, Any] = {"local_files_only": True}
        if part in layout.weight_folders():
            safe = any((layout.root / part).glob("*.safetensors"))
            options |= {"use_safetensors": safe or not allow_pickle, "torch_dtype": torch.float32}
        try:
            parts[part] = loader.from_pretrained(layout.root / part, **options)
        except Exception as error:  # loaders raise whatever their file formats raise
            reason = first_line(error)
            if "Unable to load weights" in reason:  # it repeats the whole path, twice
                reason = "its weights are cut short or damaged"
            raise TargetError(
                f"{part}/ of '{layout.root.name}' cannot be loaded: {reason.rstrip('.')}; "
                "save or copy the model again"
            ) from error
        if part.startswith("tokenizer") and len(parts[part].get_vocab()) <= FEWEST_TOKENS:
            raise TargetError(
                f"{part}/ of '{layout.root.name}' has no vocabulary: files such as vocab.json and "
                "merges.txt are missing; save or copy the model again"
            )
    return parts
