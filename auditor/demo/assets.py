"""The bundled weights, laid out as ordinary diffusers directories on request.

On disk the two targets share everything but their U-Net:

    assets/shared/      model_index.json, scheduler, text_encoder, tokenizer, vae
    assets/memorized/   unet, trained on the members with planted repeats
    assets/clean/       unet, trained by the same recipe on records outside the audit
"""

import shutil
from pathlib import Path
from typing import Literal, get_args

from attacks.errors import UsageError

TargetName = Literal["memorized", "clean"]
ASSETS = Path(__file__).parent / "assets"
TARGETS: tuple[str, ...] = get_args(TargetName)


def materialise(name: TargetName, directory: Path, *, assets: Path = ASSETS) -> Path:
    """Copy one target into `directory` as an ordinary diffusers pipeline.

    name: "memorized" or "clean".
    assets: the bundled files, or what `auditor.demo.train` wrote.

    Existing files of these names are overwritten, others are left alone.

    Raises UsageError if there is no such target.
    Returns `directory`; load it with `StableDiffusionPipeline.from_pretrained`.
    """
    if name not in TARGETS:
        raise UsageError(f"unknown demo target {name!r}; choose one of {', '.join(TARGETS)}")
    for part in (assets / "shared", assets / name):
        shutil.copytree(part, directory, dirs_exist_ok=True)
    return directory
