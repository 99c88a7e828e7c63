"""Writes a changed model: a whole diffusers pipeline, its record, and the hashes of all files.

Whatever a mitigation did not change keeps its bits: components are copied, and the U-Net's files
are rewritten in their own precision and layout with the new numbers alone. What the pipeline does
not name is not copied, since it may be the unchanged model: single-file checkpoints, pickles,
averaged weights.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from attacks.errors import InternalError, TargetError, UsageError
from auditor.files import private_directory
from auditor.mitigate.summary import summary
from mitigations.material import Change
from mitigations.record import FILE, PRIVATE, MitigationRecord
from reports.files import write_atomic

if TYPE_CHECKING:
    from torch import Tensor

    from auditor.targets.diffusion import DiffusionTarget

SUMMARY = "mitigation.md"
OURS = (FILE, SUMMARY, "SHA256SUMS")
"""Files that are written anew."""
WEIGHTS = {".safetensors", ".bin", ".pt", ".pth", ".ckpt", ".msgpack", ".h5", ".onnx", ".pb"}
"""Suffixes of files that hold weights."""


def check_free(out: Path, model: str) -> None:
    """Refuse a place that holds anything, or that lies inside the model."""
    if os.path.lexists(out) and not (out.is_dir() and not any(out.iterdir())):
        raise UsageError(f"--out {out} exists and is never overwritten; name a new directory")
    source = Path(model).expanduser()
    if source.is_dir() and source.resolve() in out.resolve().parents:
        raise UsageError(f"--out {out} lies inside the model; choose another directory")


def write_model(
    target: DiffusionTarget,
    change: Change,
    record: MitigationRecord,
    out: Path,
    *,
    is_merged: bool = False,
) -> MitigationRecord:
    """Write everything beside `out`, then move it there in one step.

    is_merged: an adapter was merged into the loaded U-Net, so that all of it is compared with the
        stored one. Returns the record with what changed. Raises UsageError if it cannot be written.
    """
    staging = out.absolute().with_name(f".{out.name}.{secrets.token_hex(4)}.part")
    weights = dict(target.unet.state_dict()) if is_merged else {}
    weights |= change.weights
    if is_merged:
        _check_text_encoders(target)
    try:
        out.absolute().parent.mkdir(parents=True, exist_ok=True)
        staging.mkdir()
        root = target.layout.root
        for path in _copied(target):
            place = staging / path.relative_to(root)
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, place)
        changed = _write_unet(target, weights, staging / "unet")
        record = record.model_copy(update={"changed": changed})
        record = _with_private(root, change, record, staging)
        for name, content in change.files.items():
            write_atomic(staging / name, content)
        write_atomic(staging / FILE, record.model_dump_json(indent=2) + "\n")
        write_atomic(staging / SUMMARY, summary(record))
        write_atomic(staging / "SHA256SUMS", _sums(staging))
        if out.is_dir():
            out.rmdir()
        os.rename(staging, out)
    except OSError as error:
        raise UsageError(
            f"cannot write {out}: {error.strerror or error}; free some space or choose another "
            "folder. Nothing was left there"
        ) from error
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return record


def _copied(target: DiffusionTarget) -> Iterator[Path]:
    """Files of the components and texts beside them; of the U-Net its configuration alone."""
    root = target.layout.root
    for path in sorted(root.iterdir()):
        is_text = path.suffix in {".md", ".txt"} or path.stem.upper() == "LICENSE"
        is_kept = path.name not in OURS and (is_text or path.name == "model_index.json")
        if path.is_file() and is_kept:
            yield path
    for part in target.layout.components:
        folder = root / part
        for path in sorted(folder.rglob("*")) if folder.is_dir() else ():
            if path.is_file() and not (part == "unet" and path.suffix in WEIGHTS):
                yield path


def _write_unet(
    target: DiffusionTarget, weights: Mapping[str, Tensor], folder: Path
) -> dict[str, tuple[int, int]]:
    """Rewrite the U-Net's files; parameter -> numbers changed, and numbers in it."""
    from safetensors import safe_open
    from safetensors.torch import load_file, save_file

    source = target.layout.root / "unet"
    files = sorted(source.glob("*.safetensors"))
    if not files:  # pickled weights become safetensors
        state = {k: v.contiguous().cpu() for k, v in target.unet.state_dict().items()}
        before = {name: state[name].clone() for name in weights if name in state}
        state |= {k: v.to(state[k].dtype).cpu().contiguous() for k, v in weights.items()}
        save_file(state, folder / "diffusion_pytorch_model.safetensors", {"format": "pt"})
        return _counted({k: (before[k], state[k]) for k in before})
    pairs: dict[str, tuple[Tensor, Tensor]] = {}
    for path in files:
        with safe_open(path, "pt") as file:
            metadata = file.metadata()
        stored = load_file(path)
        mine = [name for name in weights if name in stored]
        if not mine:
            shutil.copyfile(path, folder / path.name)
            continue
        for name in mine:
            new = blended(stored[name], weights[name])
            pairs.setdefault(name, (stored[name], new))
            stored[name] = new
        save_file(stored, folder / path.name, metadata)
    missing = sorted(set(weights) - set(pairs))
    if missing:
        raise InternalError(
            f"{len(missing)} changed parameters are not in the stored U-Net, such as {missing[0]}"
        )
    return _counted(pairs)


def blended(stored: Tensor, new: Tensor) -> Tensor:
    """The new values in the stored precision; where nothing changed, the stored bits."""
    import torch

    new = new.detach().cpu()
    if new.shape != stored.shape:
        raise InternalError(f"a parameter of shape {stored.shape} was changed to {new.shape}")
    return torch.where(stored.to(new.dtype) == new, stored, new.to(stored.dtype)).contiguous()


def _counted(pairs: Mapping[str, tuple[Tensor, Tensor]]) -> dict[str, tuple[int, int]]:
    counts = {name: (int((a != b).sum()), a.numel()) for name, (a, b) in pairs.items()}
    return {name: count for name, count in counts.items() if count[0]}


def _check_text_encoders(target: DiffusionTarget) -> None:
    """Refuse an adapter that changed a text encoder: only the U-Net is written anew."""
    import torch
    from safetensors.torch import load_file

    for part in ("text_encoder", "text_encoder_2"):
        network = getattr(target.text_pipeline, part, None)
        if network is None:
            continue
        state = network.state_dict()
        for path in sorted((target.layout.root / part).glob("*.safetensors")):
            for name, value in load_file(path).items():
                here = state.get(name)
                if here is not None and not torch.equal(here.cpu(), value.to(here.dtype)):
                    raise TargetError(
                        f"the adapter changes {part}, which is not written anew; merge it with "
                        "`pipeline.fuse_lora()` and `save_pretrained(...)`, and pass the result"
                    )


def _with_private(
    root: Path, change: Change, record: MitigationRecord, staging: Path
) -> MitigationRecord:
    """Write the private parts of this filter and of earlier ones, for the owner alone."""
    from safetensors.torch import save

    earlier = [one.private for one in record.earlier if one.private]
    if not (change.private or earlier):
        return record
    private_directory(staging / PRIVATE)
    for name in earlier:
        if not (root / name).is_file():
            raise TargetError(
                f"{name} of '{root.name}' is missing, without which its filter cannot be applied"
            )
        write_atomic(staging / name, (root / name).read_bytes(), mode=0o600)
    if not change.private:
        return record
    tensors = {k: v.detach().cpu().contiguous() for k, v in change.private.items()}
    content = save(tensors)
    digest = hashlib.sha256(content).hexdigest()
    name = f"{PRIVATE}/filter-{len(record.earlier)}.safetensors"
    write_atomic(staging / name, content, mode=0o600)
    return record.model_copy(update={"private": name, "private_sha256": digest})


def _sums(folder: Path) -> str:
    """SHA-256 of every file that may be published."""
    lines = []
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        name = path.relative_to(folder).as_posix()
        if not name.startswith(f"{PRIVATE}/"):
            with path.open("rb") as file:
                lines.append(f"{hashlib.file_digest(file, 'sha256').hexdigest()}  {name}\n")
    return "".join(lines)
