"""From a file to a classifier that can be audited, or from saved predictions alone."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from attacks.errors import TargetError
from auditor.records.rows.table import Features, Table
from auditor.records.sources import printable
from auditor.targets.classifier import formats
from auditor.targets.classifier.answers import Kind, Model
from auditor.targets.classifier.target import ClassifierTarget
from auditor.targets.files import sha256_of

PRECISIONS = ("auto", "fp32")
"""Classifiers are asked in the precision of their files, networks in float32."""


def open_classifier(
    model: str | Path,
    *,
    example: Features,
    classes: Sequence[str | int] | None = None,
    device: str = "auto",
    precision: str = "auto",
    allow_pickle: bool = False,
    factory: str | None = None,
) -> ClassifierTarget:
    """Load a classifier as a target.

    model: a .skops, .onnx, .safetensors or .pt2 file, or a pickle; example: some records as
        `Table.inputs` gives them, to check that they fit.
    classes: labels in the order of the outputs, where the file does not name them; they may
        include classes that a scikit-learn model has never seen.
    device: of torch models; the others run on the CPU. factory: `module:function` that builds the
        torch module of a .safetensors file.
    allow_pickle: read files that can run code when they are loaded: pickles, exported torch
        programs, and skops files with types of others.

    Raises TargetError with what is wrong and what to do.
    """
    path = Path(model).expanduser()
    if precision not in PRECISIONS:
        raise TargetError(
            f"precision '{precision}' is not for classifiers, which are asked in the precision of "
            f"their files; use {' or '.join(PRECISIONS)}"
        )
    if formats.recognise(str(model)) != "classifier" or not path.is_file():
        raise TargetError(f"'{printable(model)}' is no file of a classifier")
    if factory is not None and path.suffix.lower() != formats.WEIGHTS:
        raise TargetError(
            f"--factory builds the module for a {formats.WEIGHTS} file; "
            f"{printable(path.name)} needs none"
        )
    hashes = {path.name: sha256_of(path)}
    loaded = _load(path, device, allow_pickle=allow_pickle, factory=factory, hashes=hashes)
    return ClassifierTarget(loaded, name=path.name, hashes=hashes, example=example, classes=classes)


def _load(
    path: Path, device: str, *, allow_pickle: bool, factory: str | None, hashes: dict[str, str]
) -> Model:
    """The model in a file; what else decides its answers is added to the hashes."""
    suffix = path.suffix.lower()
    if suffix == formats.ONNX:
        from auditor.targets.classifier.onnx import OnnxModel, external_files

        hashes |= {file.name: sha256_of(file) for file in external_files(path)}
        return OnnxModel(path)
    if suffix == formats.SKOPS or suffix in formats.PICKLES:
        from auditor.targets.classifier.estimators import Estimator, load_estimator

        return Estimator(load_estimator(path, allow_pickle=allow_pickle), path.name)
    from auditor.targets.classifier.networks import load_program, load_weights
    from auditor.targets.loading import choose_device

    chosen = choose_device(device)
    if suffix == formats.PROGRAM:
        return load_program(path, device=chosen, allow_pickle=allow_pickle)
    built = load_weights(path, factory, device=chosen)
    hashes |= built.hashes
    return built.network


class _Saved:
    """Predictions that were saved: what it is asked with is what it answers."""

    architecture = "saved predictions"
    n_parameters: int | None = None
    device = "cpu"
    can_be_queried = False

    def __init__(self, classes: tuple[str, ...] | None, kind: Kind, floor: float | None):
        self.classes = classes
        self.kind: Kind | None = kind
        self.floor = floor

    def ask(self, features: Features) -> NDArray:
        """The predictions themselves."""
        return np.asarray(features)


def open_predictions(
    table: Table, *, classes: Sequence[str | int] | None = None, name: str = formats.PREDICTIONS
) -> ClassifierTarget:
    """The target behind predictions that were saved with the records; there is no model.

    Its logits are those of `Table.inputs`, and it cannot be asked about anything else. If zeros are
    among the probabilities, half of the smallest other one is their eps.
    Raises TargetError if there are no predictions, or they are not finite or not probabilities.
    """
    saved = table.predictions
    if saved is None:
        raise TargetError(
            "the data hold no saved predictions; add columns p_0, p_1 ... or logit_0, logit_1 ..., "
            "or pass a model"
        )
    positive = saved.values[saved.values > 0]
    floor = None
    if saved.kind == "probabilities" and positive.size and (saved.values <= 0).any():
        floor = max(float(positive.min()) / 2, 1e-300)
    target = ClassifierTarget(
        _Saved(saved.classes, saved.kind, floor),
        name=name,
        hashes=_hashes([file for file in saved.files if file.is_file()]),
        example=saved.values,
        classes=classes,
    )
    target.logits(saved.values)  # every row is checked before the audit starts
    return target


def _hashes(files: Sequence[Path]) -> dict[str, str]:
    """SHA-256 by name; files of one name in two folders are numbered, so that none is lost."""
    hashes: dict[str, str] = {}
    for number, file in enumerate(files, 1):
        name = file.name if file.name not in hashes else f"{number}/{file.name}"
        hashes[name] = sha256_of(file)
    return hashes
