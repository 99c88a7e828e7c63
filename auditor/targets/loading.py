"""From a directory or a hub id to a diffusion target."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import Any

import torch

from attacks.errors import TargetError
from auditor.targets.diffusion import DiffusionTarget
from auditor.targets.layout import Layout, read_layout, weight_files

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

    model: directory or hub id; lora: directory or file of an adapter for it.
    Raises TargetError with what is wrong and what to do.
    """
    if precision not in PRECISIONS:
        raise TargetError(f"precision '{precision}' is unknown; use {', '.join(PRECISIONS)}")
    layout = read_layout(find_model(model), allow_pickle=allow_pickle)
    parts = _load_components(layout, allow_pickle=allow_pickle)
    hashes = {str(p.relative_to(layout.root)): _sha256(p) for p in weight_files(layout)}
    if lora is not None:
        hashes |= _apply_lora(parts, layout, Path(lora))
    return DiffusionTarget(
        layout,
        parts,
        hashes=hashes,
        device=choose_device(device),
        dtype=PRECISIONS[precision],
        resolution=resolution,
        adapter=None if lora is None else Path(lora).name,
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
            raise TargetError(
                f"{part}/ of '{layout.root.name}' cannot be loaded: {_first_line(error)}"
            ) from error
    return parts


def _apply_lora(parts: dict[str, Any], layout: Layout, lora: Path) -> dict[str, str]:
    """Merge an adapter into the U-Net (and text encoder); returns the hashes of its files."""
    if not lora.exists():
        raise TargetError(f"there is no adapter at '{lora}'; pass the directory that holds it")
    files = [lora] if lora.is_file() else sorted(p for p in lora.rglob("*") if p.is_file())
    if not any(p.suffix == ".safetensors" for p in files):
        raise TargetError(f"adapter '{lora.name}' holds no .safetensors file; pickles are refused")
    try:
        if (lora / "adapter_config.json").is_file():
            from peft import PeftModel

            parts["unet"] = PeftModel.from_pretrained(parts["unet"], lora).merge_and_unload()
        else:
            pipeline = _text_pipeline_class(layout)(**pipeline_parts(parts, layout))
            pipeline.load_lora_weights(lora, use_safetensors=True, local_files_only=True)
            pipeline.fuse_lora()
            pipeline.unload_lora_weights()
    except Exception as error:  # adapters of another base fail in many ways
        raise TargetError(
            f"adapter '{lora.name}' does not fit '{layout.root.name}': {_first_line(error)}"
        ) from error
    return {f"lora/{p.name}": _sha256(p) for p in files}


def pipeline_parts(parts: dict[str, Any], layout: Layout) -> dict[str, Any]:
    """Constructor arguments of the text-to-image pipeline over loaded components."""
    given = dict(parts)
    if layout.conditioning == "sd":
        given |= {
            "safety_checker": None,
            "feature_extractor": None,
            "requires_safety_checker": False,
        }
    return given


def _text_pipeline_class(layout: Layout) -> Any:
    import diffusers

    if layout.conditioning == "sdxl":
        return diffusers.StableDiffusionXLPipeline
    if layout.conditioning == "sd":
        return diffusers.StableDiffusionPipeline
    raise TargetError("a diffusers LoRA file needs a text-to-image base; use a peft adapter folder")


def _sha256(path: Path) -> str:
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300]
