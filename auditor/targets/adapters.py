"""LoRA adapters: merged into the networks wholly, or refused.

An adapter whose keys do not fit is silently ignored by the loaders; auditing the base in its place
would be a false all-clear. So every weight of the file must arrive, and something must change.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from attacks.errors import TargetError
from auditor.targets.files import first_line, sha256_of
from auditor.targets.layout import Layout

NETWORKS = ("unet", "text_encoder", "text_encoder_2")


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


def apply_lora(parts: dict[str, Any], layout: Layout, lora: Path) -> dict[str, str]:
    """Merge an adapter into the networks; returns the hashes of its files.

    lora: a peft adapter folder, a folder written by `save_lora_weights`, or its file. Raises
    TargetError unless every weight of the adapter fits the model and changes it.
    """
    if not lora.exists():
        raise TargetError(f"there is no adapter at '{lora}'; pass the directory that holds it")
    root = lora.parent if lora.is_file() else lora
    files = [lora] if lora.is_file() else sorted(p for p in lora.rglob("*") if p.is_file())
    if not any(p.suffix == ".safetensors" for p in files):
        raise TargetError(f"adapter '{lora.name}' holds no .safetensors file; pickles are refused")
    before = {name: _fingerprint(parts[name]) for name in NETWORKS if name in parts}
    try:
        if (lora / "adapter_config.json").is_file():
            loaded, expected = _merge_peft(parts, lora)
        else:
            loaded, expected = _merge_diffusers(parts, layout, lora)
    except TargetError:
        raise
    except Exception as error:  # adapters of another base fail in many ways
        raise TargetError(
            f"adapter '{lora.name}' does not fit '{layout.root.name}': {first_line(error)}"
        ) from error
    changed = any(_fingerprint(parts[name]) != was for name, was in before.items())
    if loaded != expected or not changed:
        raise TargetError(
            f"adapter '{lora.name}' does not fit '{layout.root.name}': {loaded} of {expected} of "
            f"its weights have a place in the model{'' if changed else ' and nothing changed'}; "
            "check the base model, and that the adapter was saved by diffusers or peft"
        )
    return {f"lora/{p.relative_to(root).as_posix()}": sha256_of(p) for p in files}


def _merge_peft(parts: dict[str, Any], lora: Path) -> tuple[int, int]:
    """Merge a peft folder into the U-Net; returns weights that fitted, weights that should."""
    from peft import PeftConfig, get_peft_model
    from peft.utils import load_peft_weights, set_peft_model_state_dict

    config = PeftConfig.from_pretrained(str(lora))
    config.init_lora_weights = True
    model = get_peft_model(parts["unet"], config)
    weights = load_peft_weights(str(lora), device="cpu")
    result = set_peft_model_state_dict(model, weights)
    missing = [key for key in result.missing_keys if "lora_" in key]
    loaded = len(weights) - len(result.unexpected_keys)
    parts["unet"] = model.merge_and_unload()
    return loaded, len(weights) + len(missing)


def _merge_diffusers(parts: dict[str, Any], layout: Layout, lora: Path) -> tuple[int, int]:
    """Merge a diffusers (or kohya) file; returns weights that fitted, weights in the file."""
    from peft.utils import get_peft_model_state_dict

    pipeline = _text_pipeline_class(layout)(**pipeline_parts(parts, layout))
    state = pipeline.lora_state_dict(lora, use_safetensors=True, local_files_only=True)
    expected = sum(
        1 for key in (state[0] if isinstance(state, tuple) else state) if _is_factor(key)
    )
    pipeline.load_lora_weights(lora, use_safetensors=True, local_files_only=True)
    loaded = 0
    for name in NETWORKS:
        network = getattr(pipeline, name, None)
        for adapter in getattr(network, "peft_config", None) or {}:
            adapted = get_peft_model_state_dict(network, adapter_name=adapter)
            loaded += sum(1 for key in adapted if _is_factor(key))
    pipeline.fuse_lora()
    pipeline.unload_lora_weights()
    return loaded, expected


def _is_factor(key: str) -> bool:
    return any(
        part in key for part in ("lora_A", "lora_B", "lora_up", "lora_down", "lora.up", "lora.down")
    )


def _text_pipeline_class(layout: Layout) -> Any:
    import diffusers

    if layout.conditioning == "sdxl":
        return diffusers.StableDiffusionXLPipeline
    if layout.conditioning == "sd":
        return diffusers.StableDiffusionPipeline
    raise TargetError("a diffusers LoRA file needs a text-to-image base; use a peft adapter folder")


def _fingerprint(network: Any) -> float:
    """A number that changes when weights do."""
    total = torch.zeros((), dtype=torch.float64)
    for i, weight in enumerate(network.parameters()):
        total += (i + 1) * weight.detach().double().abs().sum()
    return float(total)
