"""Which family of targets a path belongs to, from names alone."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal

from attacks.errors import TargetError
from auditor.records.sources import printable

PREDICTIONS = "predictions"
"""In place of a model: the data hold its saved predictions, and nothing else is asked."""

SKOPS = ".skops"
PICKLES = (".pkl", ".pickle", ".joblib")
PROGRAM = ".pt2"
WEIGHTS = ".safetensors"
ONNX = ".onnx"
SUFFIXES = (SKOPS, ONNX, WEIGHTS, PROGRAM, *PICKLES)
"""Files that hold a classifier."""

_CHECKPOINTS = (".pt", ".pth", ".bin", ".ckpt")


def recognise(model: str) -> Literal["classifier", "diffusion"]:
    """The family of the target at a path, or of a hub id.

    Raises TargetError that says what was looked for.
    """
    path = Path(model).expanduser()
    if path.is_dir():
        if (path / "model_index.json").is_file():
            return "diffusion"
        raise TargetError(
            f"the directory {printable(path.name)} holds no model that can be audited: it has no "
            f"model_index.json (a diffusers pipeline); a classifier is one file ({_list()})"
        )
    if path.exists():
        return _of_file(path)
    if model == PREDICTIONS:
        return "classifier"
    if path.suffix.lower() not in SUFFIXES and re.fullmatch(r"\w[\w.-]*/[\w.-]+", model):
        return "diffusion"  # a hub id
    raise TargetError(
        f"there is no model at '{printable(model)}'; pass a diffusers directory, a hub id "
        f"`name/model`, a file of a classifier ({_list()}), or `{PREDICTIONS}` if the data hold "
        "saved predictions"
    )


def _of_file(path: Path) -> Literal["classifier"]:
    suffix = path.suffix.lower()
    if suffix in SUFFIXES:
        return "classifier"
    if suffix in _CHECKPOINTS:
        raise TargetError(
            f"{printable(path.name)} is a pickled checkpoint, which can run code when it is loaded "
            "and is refused; save the weights of a classifier with "
            "`safetensors.torch.save_file(model.state_dict(), ...)`, and a diffusion pipeline with "
            "`save_pretrained`"
        )
    raise TargetError(
        f"{printable(path.name)} is no model that auditor knows; it reads diffusers directories "
        f"and files of classifiers ({_list()})"
    )


def _list() -> str:
    return ", ".join(SUFFIXES)
