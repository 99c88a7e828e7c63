"""The layout of a diffusers directory, checked before anything in it is loaded.

A model is recognised from `model_index.json` and the `config.json` of its components alone;
whatever cannot be audited yet is refused here by name. No code and no pickle is executed.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from attacks.errors import TargetError
from auditor.targets.parametrisation import PREDICTION_TYPES

PIPELINES = {
    "StableDiffusionPipeline": "sd",
    "StableDiffusionImg2ImgPipeline": "sd",
    "StableDiffusionXLPipeline": "sdxl",
    "StableDiffusionXLImg2ImgPipeline": "sdxl",
    "DDPMPipeline": "unconditional",
    "DDIMPipeline": "unconditional",
    "PNDMPipeline": "unconditional",
    "LDMPipeline": "unconditional",
}
"""Pipeline class -> how it is conditioned."""

TRUSTED_LIBRARIES = {"diffusers", "transformers", "stable_diffusion", None}
WEIGHT_SUFFIXES = {".safetensors"}
PICKLE_SUFFIXES = {".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle", ".msgpack"}


@dataclass(frozen=True, slots=True)
class Layout:
    """A diffusers directory that auditor can load."""

    root: Path
    pipeline: str
    """Class name in model_index.json."""
    conditioning: str
    """`sd`, `sdxl` or `unconditional`."""
    components: dict[str, str]
    """Component folder -> class name."""
    vae: str | None
    """Folder of the autoencoder, None for a pixel-space model."""
    unet_config: dict[str, Any]
    scheduler_config: dict[str, Any]

    @property
    def prediction_type(self) -> str:
        """What the U-Net predicts: a member of PREDICTION_TYPES."""
        return self.scheduler_config.get("prediction_type", "epsilon")

    def weight_folders(self) -> list[str]:
        """Folders whose weights decide a prediction."""
        parts = ["unet", self.vae, "text_encoder", "text_encoder_2"]
        return [part for part in parts if part and part in self.components]


def read_layout(root: Path, *, allow_pickle: bool = False) -> Layout:
    """The checked layout of a diffusers directory.

    Raises TargetError for anything that is not a supported pipeline, saying what and why.
    """
    index = _read_json(
        root / "model_index.json",
        missing=f"'{root.name}' is not a diffusers pipeline: it has no model_index.json; "
        "pass the directory that `pipeline.save_pretrained(...)` wrote" + _hint(root),
    )
    name = index.get("_class_name")
    if name not in PIPELINES:
        raise TargetError(
            f"pipeline class {name!r} cannot be audited yet; supported: {', '.join(PIPELINES)}"
        )
    components: dict[str, str] = {}
    for part, declared in index.items():
        if part.startswith("_") or not isinstance(declared, list) or len(declared) != 2:
            continue
        library, class_name = declared
        if library not in TRUSTED_LIBRARIES:
            raise TargetError(
                f"component '{part}' asks for code of its own ({library!r}); auditor does not run "
                "remote code. Re-save the pipeline with the stock diffusers classes"
            )
        if class_name is not None:
            components[part] = class_name
    vae = next((part for part in ("vae", "vqvae") if part in components), None)
    if index.get("requires_aesthetics_score"):
        raise TargetError(f"'{root.name}' is an SDXL refiner, which cannot be audited yet")
    layout = Layout(
        root=root,
        pipeline=name,
        conditioning=PIPELINES[name],
        components=components,
        vae=vae,
        unet_config=_component_config(root, "unet"),
        scheduler_config=_component_config(root, "scheduler", "scheduler_config.json"),
    )
    _refuse_unsupported(layout)
    for part in layout.weight_folders():
        _check_weights(root / part, allow_pickle=allow_pickle)
    return layout


def weight_files(layout: Layout) -> list[Path]:
    """Weight and configuration files that decide a prediction, in a fixed order."""
    files: list[Path] = []
    for part in [*layout.weight_folders(), "scheduler", "tokenizer", "tokenizer_2"]:
        folder = layout.root / part
        if folder.is_dir():
            files += sorted(p for p in folder.rglob("*") if p.is_file())
    return files


def _component_config(root: Path, part: str, name: str = "config.json") -> dict[str, Any]:
    return _read_json(
        root / part / name,
        missing=f"'{root.name}' has no {part}/{name}; a pipeline needs a U-Net and a scheduler",
    )


def _read_json(path: Path, *, missing: str) -> dict[str, Any]:
    if not path.is_file():
        raise TargetError(missing)
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise TargetError(f"{path.parent.name}/{path.name} is not valid JSON ({error})") from error
    if not isinstance(found, dict):
        raise TargetError(f"{path.parent.name}/{path.name} does not hold a JSON object")
    return found


def _hint(root: Path) -> str:
    if root.is_file() and root.suffix in PICKLE_SUFFIXES:
        return (
            f". A single {root.suffix} checkpoint can run code when it is loaded and is refused; "
            "convert it to a diffusers directory with safetensors weights"
        )
    if root.is_file() and root.suffix == ".safetensors":
        return ". A single-file checkpoint has to be converted to a diffusers directory first"
    if (root / "config.json").is_file():
        return "; this folder holds one component only"
    return ""


def _refuse_unsupported(layout: Layout) -> None:
    unet = layout.components.get("unet")
    expected = "UNet2DModel" if layout.conditioning == "unconditional" else "UNet2DConditionModel"
    config = layout.unet_config
    vae_class = layout.components.get(layout.vae) if layout.vae else None
    channels = config.get("in_channels")
    pictures = channels
    if layout.vae is not None and (layout.root / layout.vae / "config.json").is_file():
        pictures = _component_config(layout.root, layout.vae).get("in_channels", 3)
    reasons = {
        f"its U-Net is a {unet}, not a {expected}": unet != expected,
        f"its autoencoder is a {vae_class}, which has no posterior mean (only AutoencoderKL has)": (
            layout.vae is not None and vae_class != "AutoencoderKL"
        ),
        "it has a text encoder but no autoencoder": (
            layout.conditioning != "unconditional" and layout.vae is None
        ),
        f"its scheduler ({layout.components.get('scheduler')}) has no discrete noise schedule": (
            "FlowMatch" in str(layout.components.get("scheduler"))
            or "num_train_timesteps" not in layout.scheduler_config
        ),
        f"it predicts '{layout.prediction_type}', not one of {', '.join(PREDICTION_TYPES)}": (
            layout.prediction_type not in PREDICTION_TYPES
        ),
        "its U-Net predicts a learned variance beside the noise": (
            config.get("out_channels") != channels
            or str(layout.scheduler_config.get("variance_type", "")).startswith("learned")
        ),
        f"its pictures have {pictures} channels, not 1 (grey) or 3 (RGB)": pictures not in (1, 3),
        "its U-Net is conditioned on classes": bool(
            config.get("num_class_embeds") or config.get("class_embed_type")
        ),
        f"its U-Net takes '{config.get('addition_embed_type')}' conditioning": (
            config.get("addition_embed_type") not in (None, "text_time")
            or bool(config.get("time_cond_proj_dim"))
        ),
    }
    for reason, applies in reasons.items():
        if applies:
            raise TargetError(f"'{layout.root.name}' cannot be audited yet: {reason}")


def _check_weights(folder: Path, *, allow_pickle: bool) -> None:
    files = [p for p in folder.glob("*") if p.is_file()] if folder.is_dir() else []
    if any(p.suffix in WEIGHT_SUFFIXES for p in files):
        return
    pickles = [p.name for p in files if p.suffix in PICKLE_SUFFIXES]
    if not pickles:
        raise TargetError(f"{folder.name}/ holds no weights; expected a .safetensors file")
    if not allow_pickle:
        raise TargetError(
            f"{folder.name}/{pickles[0]} is a pickle, which can run code when it is loaded; "
            "re-save the pipeline with `save_pretrained(..., safe_serialization=True)`, or pass "
            "--allow-pickle to read it with torch's weights-only loader"
        )
