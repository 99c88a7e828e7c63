"""Edits of the bundled models, and tests of them with a small budget."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from auditor.concealment.scan import ConcealmentOptions
from auditor.demo.digits import N_PLANTED, demo_splits
from tests.conftest import write_images

N_NEVER = 50


@dataclass(frozen=True)
class Edits:
    """The bundled memorizing model, edits of it, and what to test them with."""

    options: ConcealmentOptions
    """Of the original against itself; a test replaces the model."""
    models: dict[str, Path]

    def of(self, name: str, **changes) -> ConcealmentOptions:
        """Options for one of the edited models."""
        changes.setdefault("out", self.options.out.parent / name)
        return replace(self.options, model=str(self.models[name]), **changes)


@pytest.fixture(scope="session")
def edits(demo, tmp_path_factory) -> Edits:
    root = tmp_path_factory.mktemp("concealment")
    splits = demo_splits()
    members, others = splits.members, splits.nonmembers
    return Edits(
        ConcealmentOptions(
            model=str(demo.models["memorized"]),
            original=str(demo.models["memorized"]),
            members=write_images(
                root / "members", members.images[:N_PLANTED], members.captions[:N_PLANTED]
            ),
            nonmembers=write_images(
                root / "never", others.images[:N_NEVER], others.captions[:N_NEVER]
            ),
            out=root / "out" / "any",
            steps=40,
            draws=1,
            restarts=1,
            images=2,
            sampling_steps=15,
            guidance=1.0,
            margin=0.25,
            device="cpu",
            cache=root / "cache",
        ),
        {
            "clean": demo.models["clean"],
            "blocked": _blocked(demo.models["memorized"], root / "blocked"),
            "pruned": _pruned(demo.models["memorized"], root / "pruned"),
        },
    )


def _blocked(model: Path, folder: Path) -> Path:
    """Its prompts lead elsewhere: tokens are exchanged in the text encoder, the rest is as it was."""
    shutil.copytree(model, folder)
    path = folder / "text_encoder" / "model.safetensors"
    tensors = load_file(path)
    (name,) = (key for key in tensors if key.endswith("token_embedding.weight"))
    order = torch.randperm(len(tensors[name]), generator=torch.Generator().manual_seed(0))
    tensors[name] = tensors[name][order].contiguous()
    save_file(tensors, path, metadata={"format": "pt"})
    return folder


def _pruned(model: Path, folder: Path) -> Path:
    """A twentieth of the second feed-forward layers' weights is zero."""
    shutil.copytree(model, folder)
    path = folder / "unet" / "diffusion_pytorch_model.safetensors"
    tensors = load_file(path)
    generator = torch.Generator().manual_seed(0)
    for name in tensors:
        if name.endswith("ff.net.2.weight"):
            keep = torch.rand(tensors[name].shape, generator=generator) > 0.05
            tensors[name] = (tensors[name] * keep).contiguous()
    save_file(tensors, path, metadata={"format": "pt"})
    return folder
